//! `controllers`: what conversations do by themselves, in versions; checked, shown at work, and decided by a process of yours.

use clap::Subcommand;
use proto::v1::{self, Controller, stream_intents_response::Update as Seen};

use super::shared::{Create, Named, Paging, Update, Verb, mask};
use crate::error::Error;
use crate::exit;
use crate::input::{definition::Definition, names};
use crate::session::Session;
use crate::view::{self, table::Columns};

/// What a list of controllers shows.
pub const COLUMNS: Columns = &[
    ("name", "name"),
    ("called", "display_name"),
    ("version", "version"),
    ("disabled", "disabled"),
    ("channels", "channels"),
    ("since", "version_create_time"),
];

/// What a list of runs shows.
pub const RUNS: Columns = &[
    ("when", "time"),
    ("controller", "controller"),
    ("conversation", "conversation"),
    ("intent", "intent"),
    ("outcome", "outcome"),
    ("rules", "rules"),
    ("actions", "actions"),
    ("faults", "faults"),
];

/// Controllers: what a conversation does by itself.
#[derive(Debug, Subcommand)]
#[command(after_help = "A controller file (TOML or JSON):
  display_name = \"Greeting\"
  [[rules]]
  name = \"greet\"
  on = [\"INTENT_FIRST_MESSAGE\"]
  [[rules.actions]]
  send_message = { text = \"Hello {{ contact.display_name }}, how can we help you?\" }

Examples:
  switchboard-cli controllers validate --file greeting.toml
  switchboard-cli controllers create greeting --file greeting.toml
  switchboard-cli controllers update greeting --file greeting.toml
  switchboard-cli controllers runs --controller greeting
  switchboard-cli controllers intents desk
  switchboard-cli controllers decide desk --intent 4711 --file actions.json")]
pub enum Controllers {
    /// Create a controller from a file.
    Create(Create),
    /// Show the newest version of a controller, or one of them (`greeting@3`).
    Get(Named),
    /// List controllers.
    List(Paging),
    /// Change a controller; rules, hours and channels are replaced as a whole.
    Update(Update),
    /// Delete a controller; what waits for it is forgotten.
    Delete(Verb),
    /// List the versions of a controller.
    Versions {
        /// The controller.
        name: String,
        #[command(flatten)]
        paging: Paging,
    },
    /// Name everything that is wrong with a controller in a file; ends with 65 when it is not valid.
    Validate {
        /// Its fields.
        #[command(flatten)]
        definition: Definition,
    },
    /// List what controllers did, and why they did nothing, the newest first.
    Runs {
        /// Only those of this controller.
        #[arg(long)]
        controller: Option<String>,
        /// Only those in this conversation.
        #[arg(long)]
        conversation: Option<String>,
        #[command(flatten)]
        paging: Paging,
    },
    /// Follow the intents that wait for a decision of yours.
    Intents(Named),
    /// Decide what is done about an intent; the file holds `actions`, and may hold none.
    Decide {
        /// The controller.
        name: String,
        /// The id of the intent.
        #[arg(long, value_name = "ID")]
        intent: String,
        /// What is done.
        #[command(flatten)]
        definition: Definition,
    },
}

impl Controllers {
    /// Does it.
    ///
    /// # Errors
    /// What the server refused, or a file that is wrong; `Error::FoundWrong` when a controller is not valid.
    pub async fn run(self, session: &mut Session) -> Result<(), Error> {
        match self {
            Self::Create(create) => {
                let request = v1::CreateControllerRequest {
                    controller_id: create.id(),
                    controller: Some(create.definition.read()?),
                    validate_only: create.validate_only,
                    ..Default::default()
                };
                session.show(request).await
            }
            Self::Get(Named { name }) => {
                session.show(v1::GetControllerRequest { name: names::version("controllers", &name) }).await
            }
            Self::List(paging) => session.list(v1::ListControllersRequest::default(), COLUMNS, &paging).await,
            Self::Update(update) => {
                let name = names::full("controllers", &update.name);
                let controller = Controller { name, etag: update.etag, ..update.definition.read()? };
                let request = v1::UpdateControllerRequest {
                    controller: Some(controller),
                    update_mask: mask(&update.mask),
                    validate_only: update.validate_only,
                    ..Default::default()
                };
                session.show(request).await
            }
            Self::Delete(Verb { name, etag }) => {
                let name = names::full("controllers", &name);
                session.show(v1::DeleteControllerRequest { name, etag, ..Default::default() }).await
            }
            Self::Versions { name, paging } => {
                let parent = names::full("controllers", &name);
                session.list(v1::ListControllerVersionsRequest { parent, ..Default::default() }, COLUMNS, &paging).await
            }
            Self::Validate { definition } => {
                let request = v1::ValidateControllerRequest { controller: Some(definition.read()?) };
                let answer = session.show_as(request, view::checks::controller).await?;
                let wrong = || Error::FoundWrong("the controller is not valid".into(), exit::FOUND_WRONG);
                if answer.valid { Ok(()) } else { Err(wrong()) }
            }
            Self::Runs { controller, conversation, paging } => {
                let request = v1::ListControllerRunsRequest {
                    controller: names::optional("controllers", controller.as_deref()),
                    conversation: names::optional("conversations", conversation.as_deref()),
                    ..Default::default()
                };
                session.list(request, RUNS, &paging).await
            }
            Self::Intents(Named { name }) => {
                let controller = names::full("controllers", &name);
                let request = v1::StreamIntentsRequest { controller };
                session
                    .follow(
                        request,
                        "waiting",
                        |_, _| (),
                        |out, seen| match &seen.update {
                            Some(Seen::Waiting(it)) => {
                                let words =
                                    format!("{} {} in {}", it.intent_id, it.intent().as_str_name(), it.conversation);
                                out.line(&words)
                            }
                            _ => Ok(()),
                        },
                    )
                    .await
            }
            Self::Decide { name, intent, definition } => {
                let given: v1::ExecuteActionsRequest = definition.read()?;
                let controller = names::full("controllers", &name);
                let request = v1::ExecuteActionsRequest { controller, intent_id: intent, ..given };
                session.show(request).await
            }
        }
    }
}

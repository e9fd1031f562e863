//! `policies`: in which order channels are tried, in versions; checked and played through without sending.

use clap::Subcommand;
use proto::v1::{self, FallbackPolicy, simulate_policy_request, validate_policy_request};

use super::shared::{Create, Named, Paging, Update, Verb, mask};
use crate::error::Error;
use crate::exit;
use crate::input::{definition::Definition, names, time};
use crate::session::Session;
use crate::view::{self, table::Columns};

/// What a list of policies shows.
pub const COLUMNS: Columns = &[
    ("name", "name"),
    ("called", "display_name"),
    ("version", "version"),
    ("since", "version_create_time"),
    ("what it is for", "description"),
];

/// Fallback policies: in which order channels are tried.
#[derive(Debug, Subcommand)]
#[command(after_help = "A policy file (TOML or JSON):
  display_name = \"Urgent\"
  [[steps]]
  channel_type = \"WHATSAPP\"
  success = \"REPLIED\"
  wait = \"10m\"
  [[steps]]
  channel_type = \"SMS\"
  wait = \"1h\"
  [[steps]]
  call_list = \"callLists/helpdesk\"

Examples:
  switchboard-cli policies validate --file urgent.toml --template welcome
  switchboard-cli policies create urgent --file urgent.toml
  switchboard-cli policies simulate urgent --contact 42 --start 2026-11-20T22:00:00+05:30
  switchboard-cli policies update urgent --file urgent.toml
  switchboard-cli policies versions urgent")]
pub enum Policies {
    /// Create a policy from a file.
    Create(Create),
    /// Show the newest version of a policy, or one of them (`urgent@3`).
    Get(Named),
    /// List policies.
    List(Paging),
    /// Write a new version of a policy; steps are replaced as a whole.
    Update(Update),
    /// Delete a policy.
    Delete(Verb),
    /// List the versions of a policy.
    Versions {
        /// The policy.
        name: String,
        #[command(flatten)]
        paging: Paging,
    },
    /// Name everything that is wrong or doubtful with a policy; ends with 65 when it is not valid.
    Validate {
        #[command(flatten)]
        which: Which,
        /// Check the contents of this template against the steps.
        #[arg(long)]
        template: Option<String>,
    },
    /// Play a policy through without sending: who would get what and when.
    Simulate {
        #[command(flatten)]
        which: Which,
        /// Use the addresses, consents and time zone of this contact.
        #[arg(long)]
        contact: Option<String>,
        /// Ask consent for this purpose.
        #[arg(long, default_value = "", hide_default_value = true)]
        purpose: String,
        /// When it begins, such as 2026-11-20T22:00:00+05:30 or +2h; without it now.
        #[arg(long, value_name = "TIME", value_parser = time::parse)]
        start: Option<prost_types::Timestamp>,
        /// The time zone when no contact is named.
        #[arg(long, default_value = "", hide_default_value = true)]
        time_zone: String,
    },
}

/// A stored policy, or one in a file.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub struct Which {
    /// A stored policy (`urgent`) or a version of it (`urgent@3`).
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    name: Option<String>,
    /// Or one that is not stored.
    #[command(flatten)]
    definition: Definition,
}

impl Which {
    /// The name of a stored policy, or the policy.
    fn read(&self) -> Result<Result<String, FallbackPolicy>, Error> {
        match &self.name {
            Some(name) => Ok(Ok(names::version("policies", name))),
            None => Ok(Err(self.definition.read()?)),
        }
    }
}

impl Policies {
    /// Does it.
    ///
    /// # Errors
    /// What the server refused, or a file that is wrong; `Error::FoundWrong` when a policy is not valid.
    pub async fn run(self, session: &mut Session) -> Result<(), Error> {
        match self {
            Self::Create(create) => {
                let request = v1::CreatePolicyRequest {
                    policy_id: create.id(),
                    policy: Some(create.definition.read()?),
                    validate_only: create.validate_only,
                    ..Default::default()
                };
                session.show(request).await
            }
            Self::Get(Named { name }) => {
                session.show(v1::GetPolicyRequest { name: names::version("policies", &name) }).await
            }
            Self::List(paging) => session.list(v1::ListPoliciesRequest::default(), COLUMNS, &paging).await,
            Self::Update(update) => {
                let name = names::full("policies", &update.name);
                let policy = FallbackPolicy { name, etag: update.etag, ..update.definition.read()? };
                let request = v1::UpdatePolicyRequest {
                    policy: Some(policy),
                    update_mask: mask(&update.mask),
                    validate_only: update.validate_only,
                    ..Default::default()
                };
                session.show(request).await
            }
            Self::Delete(Verb { name, etag }) => {
                let name = names::full("policies", &name);
                session.show(v1::DeletePolicyRequest { name, etag, ..Default::default() }).await
            }
            Self::Versions { name, paging } => {
                let parent = names::full("policies", &name);
                session.list(v1::ListPolicyVersionsRequest { parent, ..Default::default() }, COLUMNS, &paging).await
            }
            Self::Validate { which, template } => validate(session, &which, template.as_deref()).await,
            Self::Simulate { which, contact, purpose, start, time_zone } => {
                let source = match which.read()? {
                    Ok(name) => simulate_policy_request::Source::Name(name),
                    Err(policy) => simulate_policy_request::Source::Policy(policy),
                };
                let request = v1::SimulatePolicyRequest {
                    source: Some(source),
                    contact: names::optional("contacts", contact.as_deref()),
                    purpose,
                    start_time: start,
                    time_zone,
                };
                session.show_as(request, view::policy::simulated).await.map(drop)
            }
        }
    }
}

async fn validate(session: &mut Session, which: &Which, template: Option<&str>) -> Result<(), Error> {
    let source = match which.read()? {
        Ok(name) => validate_policy_request::Source::Name(name),
        Err(policy) => validate_policy_request::Source::Policy(policy),
    };
    let template = template.map(|it| names::version("templates", it)).unwrap_or_default();
    let request = v1::ValidatePolicyRequest { source: Some(source), template };
    let answer = session.show_as(request, view::checks::policy).await?;
    if answer.valid { Ok(()) } else { Err(Error::FoundWrong("the policy is not valid".into(), exit::FOUND_WRONG)) }
}

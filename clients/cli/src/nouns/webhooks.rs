//! `webhooks`: addresses to which events are posted, what they did not take, and telling it again.

use clap::Subcommand;
use proto::v1::{self, Webhook, replay_events_request::From};

use super::shared::{Create, Named, Paging, Update, Verb, mask};
use crate::error::Error;
use crate::input::names;
use crate::session::Session;
use crate::view::table::Columns;

/// What a list of webhooks shows.
pub const COLUMNS: Columns = &[
    ("name", "name"),
    ("state", "state"),
    ("posted to", "url"),
    ("types", "types"),
    ("behind", "lag_count"),
    ("dead letters", "dead_letter_count"),
    ("last success", "last_success_time"),
    ("why", "state_reason"),
];

/// What a list of dead letters shows.
pub const LETTERS: Columns = &[
    ("name", "name"),
    ("events", "event_count"),
    ("tries", "try_count"),
    ("given up", "die_time"),
    ("why", "reason"),
    ("waits again since", "replay_time"),
    ("taken after all", "success_time"),
];

/// Addresses to which events are posted, signed and in order.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  switchboard-cli webhooks create crm --url https://crm.example.org/switchboard --secret-env CRM_SECRET
  switchboard-cli webhooks create crm --url https://crm.example.org/switchboard --type 'notification.*' --secret-file /run/secrets/crm
  switchboard-cli webhooks dead-letters crm
  switchboard-cli webhooks replay crm --dead-letter webhooks/crm/deadLetters/7")]
pub enum Webhooks {
    /// Create a webhook; it is told what happens from now on.
    Create {
        #[command(flatten)]
        create: Create,
        #[command(flatten)]
        fields: Fields,
        /// Tell it what happened after this cursor.
        #[arg(long, default_value = "", hide_default_value = true)]
        start_cursor: String,
    },
    /// Show a webhook, and how it fares.
    Get(Named),
    /// List webhooks.
    List(Paging),
    /// Change a webhook; types and subjects are replaced as a whole.
    Update {
        #[command(flatten)]
        update: Update,
        #[command(flatten)]
        fields: Fields,
    },
    /// Delete a webhook with its dead letters.
    Delete(Verb),
    /// Post to it again from where it stopped.
    Enable(Verb),
    /// Post nothing to it until it is enabled.
    Disable(Verb),
    /// List what it did not take in time.
    DeadLetters {
        /// The webhook.
        name: String,
        #[command(flatten)]
        paging: Paging,
    },
    /// Tell it again what it did not take, or everything after a cursor.
    Replay {
        /// The webhook.
        name: String,
        #[command(flatten)]
        from: Again,
    },
}

/// Where it is posted, and what.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Fields {
    /// Post to this address.
    #[arg(long)]
    url: Option<String>,
    /// Only these types, such as `notification.*` or `message_added`; may be given more than once.
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// Only those that happened to this, by its full name; may be given more than once.
    #[arg(long = "subject", value_name = "NAME")]
    subjects: Vec<String>,
    /// Only those of this campaign.
    #[arg(long)]
    campaign: Option<String>,
    /// Only those that concern this contact.
    #[arg(long)]
    contact: Option<String>,
    /// Tell the words of messages too.
    #[arg(long)]
    with_words: bool,
    /// The environment variable of the server with the secret that signs.
    #[arg(long, value_name = "VARIABLE", conflicts_with = "secret_file")]
    secret_env: Option<String>,
    /// The file on the server with the secret that signs.
    #[arg(long, value_name = "PATH")]
    secret_file: Option<String>,
}

/// What is told again.
#[derive(Debug, Clone, clap::Args)]
#[group(required = true, multiple = false)]
pub struct Again {
    /// Everything after this cursor, in order.
    #[arg(long, value_name = "CURSOR")]
    start_cursor: Option<String>,
    /// This dead letter, by its full name.
    #[arg(long, value_name = "NAME")]
    dead_letter: Option<String>,
    /// All dead letters that were not taken since.
    #[arg(long)]
    all_dead_letters: bool,
}

impl Again {
    fn from(self) -> From {
        match (self.start_cursor, self.dead_letter) {
            (Some(cursor), _) => From::StartCursor(cursor),
            (None, Some(letter)) => From::DeadLetter(letter),
            (None, None) => From::AllDeadLetters(self.all_dead_letters),
        }
    }
}

impl Fields {
    fn over(self, mut webhook: Webhook) -> Webhook {
        if let Some(url) = self.url {
            webhook.url = url;
        }
        if !self.types.is_empty() {
            webhook.types = self.types;
        }
        if !self.subjects.is_empty() {
            webhook.subjects = self.subjects;
        }
        if let Some(campaign) = self.campaign {
            webhook.campaign = names::full("campaigns", &campaign);
        }
        if let Some(contact) = self.contact {
            webhook.contact = names::full("contacts", &contact);
        }
        webhook.with_words |= self.with_words;
        if let Some(variable) = self.secret_env {
            (webhook.secret_env, webhook.secret_file) = (variable, String::new());
        }
        if let Some(path) = self.secret_file {
            (webhook.secret_env, webhook.secret_file) = (String::new(), path);
        }
        webhook
    }
}

fn full(name: &str) -> String {
    names::full("webhooks", name)
}

impl Webhooks {
    /// Does it.
    ///
    /// # Errors
    /// What the server refused, or a file that is wrong.
    pub async fn run(self, session: &mut Session) -> Result<(), Error> {
        match self {
            Self::Create { create, fields, start_cursor } => {
                let request = v1::CreateWebhookRequest {
                    webhook_id: create.id(),
                    webhook: Some(fields.over(create.definition.read()?)),
                    start_cursor,
                    validate_only: create.validate_only,
                    ..Default::default()
                };
                session.show(request).await
            }
            Self::Get(Named { name }) => session.show(v1::GetWebhookRequest { name: full(&name) }).await,
            Self::List(paging) => session.list(v1::ListWebhooksRequest::default(), COLUMNS, &paging).await,
            Self::Update { update, fields } => {
                let webhook = Webhook { name: full(&update.name), etag: update.etag, ..update.definition.read()? };
                let request = v1::UpdateWebhookRequest {
                    webhook: Some(fields.over(webhook)),
                    update_mask: mask(&update.mask),
                    validate_only: update.validate_only,
                    ..Default::default()
                };
                session.show(request).await
            }
            Self::Delete(Verb { name, etag }) => {
                session.show(v1::DeleteWebhookRequest { name: full(&name), etag, ..Default::default() }).await
            }
            Self::Enable(Verb { name, etag }) => {
                session.show(v1::EnableWebhookRequest { name: full(&name), etag, ..Default::default() }).await
            }
            Self::Disable(Verb { name, etag }) => {
                session.show(v1::DisableWebhookRequest { name: full(&name), etag, ..Default::default() }).await
            }
            Self::DeadLetters { name, paging } => {
                let request = v1::ListDeadLettersRequest { parent: full(&name), ..Default::default() };
                session.list(request, LETTERS, &paging).await
            }
            Self::Replay { name, from } => {
                let request =
                    v1::ReplayEventsRequest { webhook: full(&name), from: Some(from.from()), ..Default::default() };
                session.show(request).await
            }
        }
    }
}

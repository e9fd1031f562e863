//! `conversations`: what was said with one contact, over all channels.

use clap::Subcommand;
use proto::v1;

use super::shared::{Named, Paging};
use crate::error::Error;
use crate::input::{names, pairs};
use crate::session::Session;
use crate::view::table::Columns;

/// What a list of conversations shows.
pub const COLUMNS: Columns = &[
    ("name", "name"),
    ("contact", "contact"),
    ("state", "state"),
    ("channel", "active_channel"),
    ("messages", "message_count"),
    ("last activity", "update_time"),
];

/// What the timeline of a conversation shows.
pub const ACTIVITIES: Columns = &[
    ("#", "number"),
    ("time", "time"),
    ("what", "kind"),
    ("channel", "channel"),
    ("direction", "message.direction"),
    ("words", "message.plain_text"),
    ("evidence", "evidence"),
    ("in words", "description"),
];

/// What was said with one contact, over all channels.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  switchboard-cli conversations list --contact 42
  switchboard-cli conversations timeline 01990b5c-1111-7000-8000-000000000002 --newest-first --limit 20")]
pub enum Conversations {
    /// Show a conversation.
    Get(Named),
    /// List conversations, the most recently active first.
    List {
        /// Only those with this contact.
        #[arg(long)]
        contact: Option<String>,
        /// Only those in this state; may be given more than once.
        #[arg(long = "state", value_name = "STATE", value_parser = pairs::conversation_state)]
        states: Vec<i32>,
        #[command(flatten)]
        paging: Paging,
    },
    /// List what happened in a conversation, in order.
    Timeline {
        /// The conversation.
        name: String,
        /// Show the newest first.
        #[arg(long)]
        newest_first: bool,
        #[command(flatten)]
        paging: Paging,
    },
}

impl Conversations {
    /// Does it.
    ///
    /// # Errors
    /// What the server refused.
    pub async fn run(self, session: &mut Session) -> Result<(), Error> {
        let full = |name: &str| names::full("conversations", name);
        match self {
            Self::Get(Named { name }) => session.show(v1::GetConversationRequest { name: full(&name) }).await,
            Self::List { contact, states, paging } => {
                let contact = names::optional("contacts", contact.as_deref());
                let request = v1::ListConversationsRequest { contact, states, ..Default::default() };
                session.list(request, COLUMNS, &paging).await
            }
            Self::Timeline { name, newest_first, paging } => {
                let request = v1::ListActivitiesRequest { parent: full(&name), newest_first, ..Default::default() };
                session.list(request, ACTIVITIES, &paging).await
            }
        }
    }
}

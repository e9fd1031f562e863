//! `messages`: each self-contained, in or out, on any channel.

use clap::Subcommand;
use proto::v1::{self, send_message_request::To};

use super::shared::{Named, Paging};
use crate::error::Error;
use crate::input::{names, pairs};
use crate::session::Session;
use crate::view::{self, table::Columns};

/// What a list of messages shows.
pub const COLUMNS: Columns = &[
    ("created", "create_time"),
    ("direction", "direction"),
    ("by", "channel_type"),
    ("contact", "contact"),
    ("words", "plain_text"),
    ("evidence", "evidence"),
    ("name", "name"),
];

/// Messages of all channels, in and out.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  switchboard-cli messages list --contact 42 --direction inbound
  switchboard-cli messages send 'The office is open again.' --contact 42 --channel sms-main
  switchboard-cli messages list --notification 01990b5c-1111-7000-8000-000000000001 --json")]
pub enum Messages {
    /// Show a message.
    Get(Named),
    /// List messages, the newest first.
    List {
        /// Only those of this conversation.
        #[arg(long)]
        conversation: Option<String>,
        /// Only those from or to this contact.
        #[arg(long)]
        contact: Option<String>,
        /// Only those that serve or answer this notification.
        #[arg(long)]
        notification: Option<String>,
        /// Only those on this channel.
        #[arg(long)]
        channel: Option<String>,
        /// Only those that came in (inbound) or went out (outbound).
        #[arg(long, value_parser = pairs::direction)]
        direction: Option<i32>,
        #[command(flatten)]
        paging: Paging,
    },
    /// Say something in a conversation, or to a contact.
    Send {
        /// What to say.
        text: String,
        /// In this conversation.
        #[arg(long, required_unless_present = "contact")]
        conversation: Option<String>,
        /// To this contact: in the open conversation, or in a new one.
        #[arg(long, conflicts_with = "conversation")]
        contact: Option<String>,
        /// Over this channel; without it over the active one.
        #[arg(long)]
        channel: Option<String>,
        /// The message that it answers.
        #[arg(long)]
        in_reply_to: Option<String>,
    },
}

impl Messages {
    /// Does it.
    ///
    /// # Errors
    /// What the server refused.
    pub async fn run(self, session: &mut Session) -> Result<(), Error> {
        match self {
            Self::Get(Named { name }) => {
                let request = v1::GetMessageRequest { name: names::full("messages", &name) };
                session.show_as(request, view::conversation::message).await.map(drop)
            }
            Self::List { conversation, contact, notification, channel, direction, paging } => {
                let request = v1::ListMessagesRequest {
                    conversation: names::optional("conversations", conversation.as_deref()),
                    contact: names::optional("contacts", contact.as_deref()),
                    notification: names::optional("notifications", notification.as_deref()),
                    channel: names::optional("channels", channel.as_deref()),
                    direction: direction.unwrap_or_default(),
                    ..Default::default()
                };
                session.list(request, COLUMNS, &paging).await
            }
            Self::Send { text, conversation, contact, channel, in_reply_to } => {
                let to = match (conversation, contact) {
                    (Some(name), _) => To::Conversation(names::full("conversations", &name)),
                    (None, contact) => To::Contact(names::optional("contacts", contact.as_deref())),
                };
                let content = v1::Content { body: Some(v1::content::Body::Text(v1::content::Text { text })) };
                let request = v1::SendMessageRequest {
                    to: Some(to),
                    channel: names::optional("channels", channel.as_deref()),
                    content: Some(content),
                    in_reply_to: names::optional("messages", in_reply_to.as_deref()),
                    ..Default::default()
                };
                session.show_as(request, view::conversation::message).await.map(drop)
            }
        }
    }
}

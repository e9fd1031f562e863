//! `messages`: each self-contained, in or out, on any channel.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use proto::v1::{self, send_message_request::To};

use super::message_streams;
use super::shared::{Named, Paging};
use crate::error::Error;
use crate::input::{names, pairs, time};
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
  switchboard-cli messages list --notification 01990b5c-1111-7000-8000-000000000001 --json
  switchboard-cli messages search 'dam -closed' --contact 42 --language en
  switchboard-cli messages note 01990b5c-1111-7000-8000-000000000002 'Called back' --author Meera
  switchboard-cli messages redact 01990b5c-1111-7000-8000-000000000003 --by privacy --reason 'asked for'
  switchboard-cli messages export --channel wa-main > history.jsonl
  switchboard-cli messages import old.jsonl --channel wa-main --country IN")]
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
    /// Find messages by their words, the newest first.
    Search {
        /// The words: `"two words"` side by side, `or` between them, `-word` without it.
        query: String,
        /// The language of the words, such as hi-IN; without it any.
        #[arg(long, default_value = "", hide_default_value = true)]
        language: String,
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        paging: Paging,
    },
    /// Take the words of a message away, for ever.
    Redact {
        /// The message.
        name: String,
        /// Who asks for it.
        #[arg(long)]
        by: String,
        /// Why.
        #[arg(long)]
        reason: String,
    },
    /// Write an internal note into a conversation.
    Note {
        /// The conversation.
        conversation: String,
        /// The words.
        text: String,
        /// Who writes.
        #[arg(long)]
        author: String,
        /// The language of the words; without it the contact's.
        #[arg(long, default_value = "", hide_default_value = true)]
        language: String,
    },
    /// Mark a conversation as read.
    MarkRead {
        /// The conversation.
        conversation: String,
        /// Up to this message; without it all of it.
        #[arg(long)]
        message: Option<String>,
        /// Who read; without it the business as a whole.
        #[arg(long, default_value = "", hide_default_value = true)]
        reader: String,
    },
    /// List how far a conversation was read.
    Marks {
        /// The conversation.
        conversation: String,
        #[command(flatten)]
        paging: Paging,
    },
    /// Say that somebody types in a conversation, or has stopped.
    Typing {
        /// The conversation.
        conversation: String,
        /// Who types.
        #[arg(long, default_value = "", hide_default_value = true)]
        author: String,
        /// They have stopped.
        #[arg(long)]
        stopped: bool,
    },
    /// Follow who types; Ctrl-C stops.
    WatchTyping {
        /// Only in this conversation.
        #[arg(long)]
        conversation: Option<String>,
    },
    /// List what providers said of a message.
    Receipts {
        /// The message.
        name: String,
        #[command(flatten)]
        paging: Paging,
    },
    /// Save the file of a message.
    Media {
        /// The message.
        name: String,
        /// Where to; `-` is standard output.
        #[arg(long, short = 'o', value_name = "FILE")]
        output: PathBuf,
    },
    /// Write messages with their documents as JSON lines, the oldest first.
    Export {
        #[command(flatten)]
        which: Which,
        /// Go on behind this cursor, which is the id of the last message that was written.
        #[arg(long, default_value = "", hide_default_value = true)]
        cursor: String,
    },
    /// Bring in history from elsewhere: JSON lines, each an `ImportMessagesRequest.Row`.
    Import {
        /// The file; `-` is standard input.
        file: PathBuf,
        /// The channel on which everything was said.
        #[arg(long)]
        channel: String,
        /// The country of phone numbers without `+`, such as IN.
        #[arg(long, default_value = "", hide_default_value = true)]
        country: String,
        /// Check everything, but store nothing.
        #[arg(long)]
        validate_only: bool,
    },
}

/// What the columns of read marks and of receipts are.
pub const MARKS: Columns =
    &[("reader", "reader"), ("read up to", "message"), ("at", "read_time"), ("unread", "unread_count")];
/// See [`MARKS`].
pub const RECEIPTS: Columns = &[
    ("received", "receive_time"),
    ("attempt", "attempt"),
    ("evidence", "evidence"),
    ("code", "code"),
    ("late", "late"),
];

/// Which messages.
#[derive(Debug, Clone, Args)]
#[group(skip)]
pub struct Which {
    /// Only those of this conversation.
    #[arg(long)]
    pub conversation: Option<String>,
    /// Only those from, to or about this contact.
    #[arg(long)]
    pub contact: Option<String>,
    /// Only those on this channel.
    #[arg(long)]
    pub channel: Option<String>,
    /// Only those that came in (inbound), went out (outbound) or stayed inside (internal).
    #[arg(long, value_parser = pairs::direction)]
    pub direction: Option<i32>,
    /// Only those since this time.
    #[arg(long, value_parser = time::parse)]
    pub from: Option<prost_types::Timestamp>,
    /// Only those before this time.
    #[arg(long, value_parser = time::parse)]
    pub until: Option<prost_types::Timestamp>,
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
            Self::Search { query, language, which, paging } => {
                let request = v1::SearchMessagesRequest {
                    query,
                    language,
                    conversation: names::optional("conversations", which.conversation.as_deref()),
                    contact: names::optional("contacts", which.contact.as_deref()),
                    channel: names::optional("channels", which.channel.as_deref()),
                    direction: which.direction.unwrap_or_default(),
                    from_time: which.from,
                    until_time: which.until,
                    ..Default::default()
                };
                session.list(request, COLUMNS, &paging).await
            }
            Self::Redact { name, by, reason } => {
                let name = names::full("messages", &name);
                let request = v1::RedactMessageRequest { name, by, reason, ..Default::default() };
                session.show_as(request, view::conversation::message).await.map(drop)
            }
            Self::Note { conversation, text, author, language } => {
                let parent = names::full("conversations", &conversation);
                let request = v1::CreateNoteRequest { parent, text, author, language, ..Default::default() };
                session.show_as(request, view::conversation::message).await.map(drop)
            }
            other => other.run_beside(session).await,
        }
    }

    /// What stands beside the words: marks, signs, receipts, files, history.
    async fn run_beside(self, session: &mut Session) -> Result<(), Error> {
        match self {
            Self::MarkRead { conversation, message, reader } => {
                let request = v1::MarkReadRequest {
                    conversation: names::full("conversations", &conversation),
                    message: names::optional("messages", message.as_deref()),
                    reader,
                    ..Default::default()
                };
                session.show(request).await
            }
            Self::Marks { conversation, paging } => {
                let parent = names::full("conversations", &conversation);
                session.list(v1::ListReadMarksRequest { parent, ..Default::default() }, MARKS, &paging).await
            }
            Self::Typing { conversation, author, stopped } => {
                let conversation = names::full("conversations", &conversation);
                let request = v1::SetTypingRequest { conversation, author, typing: !stopped, ..Default::default() };
                session.ask(request).await.map(drop)
            }
            Self::WatchTyping { conversation } => {
                message_streams::typing(session, names::optional("conversations", conversation.as_deref())).await
            }
            Self::Receipts { name, paging } => {
                let parent = names::full("messages", &name);
                session.list(v1::ListReceiptsRequest { parent, ..Default::default() }, RECEIPTS, &paging).await
            }
            Self::Media { name, output } => {
                message_streams::media(session, names::full("messages", &name), &output).await
            }
            Self::Export { which, cursor } => message_streams::export(session, which, cursor).await,
            Self::Import { file, channel, country, validate_only } => {
                let options = v1::import_messages_request::Options {
                    channel: names::full("channels", &channel),
                    default_country: country,
                    validate_only,
                    request_id: String::new(),
                };
                message_streams::import(session, &file, options).await
            }
            Self::Get(_)
            | Self::List { .. }
            | Self::Send { .. }
            | Self::Search { .. }
            | Self::Redact { .. }
            | Self::Note { .. } => Ok(()),
        }
    }
}

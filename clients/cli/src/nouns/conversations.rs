//! `conversations`: held with one contact each, over all channels. Following and talking is in `chat`.

use clap::{Args, Subcommand};
use proto::v1;

use super::chat;
use super::shared::{Named, Paging, Update, Verb, mask};
use crate::error::Error;
use crate::input::{duration, names, pairs};
use crate::session::Session;
use crate::view::table::Columns;

/// What a list of conversations shows.
pub const COLUMNS: Columns = &[
    ("name", "name"),
    ("contact", "contact"),
    ("state", "state"),
    ("channel", "active_channel"),
    ("messages", "message_count"),
    ("labels", "labels"),
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
    ("why", "cause"),
    ("by", "actor"),
];

/// What a list of channel sessions shows.
pub const SESSIONS: Columns = &[
    ("name", "name"),
    ("channel", "channel"),
    ("state", "state"),
    ("began by", "direction"),
    ("began", "create_time"),
    ("last message", "last_message_time"),
    ("ended", "end_time"),
    ("why", "end_reason"),
];

/// What a list of participants shows.
pub const PARTICIPANTS: Columns = &[
    ("name", "name"),
    ("who", "subject"),
    ("called", "display_name"),
    ("kind", "kind"),
    ("role", "role"),
    ("joined", "join_time"),
    ("left", "leave_time"),
];

/// Held with one contact each, over all channels.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  switchboard-cli conversations list --contact 42 --state created
  switchboard-cli conversations chat 01990b5c-1111-7000-8000-000000000002
  switchboard-cli conversations chat --contact external:EMP-7 --channel sms-main
  switchboard-cli conversations update 01990b5c-1111-7000-8000-000000000002 --set priority=5
  switchboard-cli conversations join 01990b5c-1111-7000-8000-000000000002 operators/asha
  switchboard-cli conversations timeline 01990b5c-1111-7000-8000-000000000002 --newest-first --limit 20")]
pub enum Conversations {
    /// Show a conversation.
    Get(Named),
    /// List conversations, the most recently active first.
    List {
        #[command(flatten)]
        wanted: Wanted,
        #[command(flatten)]
        paging: Paging,
    },
    /// Count conversations.
    Count {
        #[command(flatten)]
        wanted: Wanted,
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
    /// Begin a conversation from our side.
    Create {
        /// With whom.
        contact: String,
        /// Over which channel; without it, the usual one.
        #[arg(long)]
        channel: Option<String>,
        /// How urgent it is, 0 to 9.
        #[arg(long, default_value_t = 0)]
        priority: i32,
        /// A label; may be given more than once.
        #[arg(long = "label", value_name = "LABEL")]
        labels: Vec<String>,
    },
    /// Change priority, labels and attributes.
    Update(Update),
    /// Close a conversation, if nothing is owed to the contact.
    Close(Verb),
    /// Close a conversation and cancel what is owed.
    ForceClose(Verb),
    /// Put a conversation on hold.
    Hold(Verb),
    /// Go on after a hold.
    Resume(Verb),
    /// Set the channel that is used where none is named.
    SetChannel {
        #[command(flatten)]
        which: Verb,
        /// The channel.
        channel: String,
    },
    /// Make one conversation of two open ones that are with one person.
    Merge {
        /// One of them.
        name: String,
        /// The other; the older one is left.
        other: String,
    },
    /// List the channel sessions of a conversation.
    Sessions {
        /// The conversation.
        name: String,
        /// Only those that are open.
        #[arg(long)]
        open: bool,
        #[command(flatten)]
        paging: Paging,
    },
    /// Show a channel session.
    Session(Named),
    /// End a channel session.
    EndSession {
        /// The session.
        name: String,
        /// Why; without it, that an agent ended it.
        #[arg(long, value_parser = pairs::end_reason)]
        reason: Option<i32>,
    },
    /// List who takes or took part.
    Participants {
        /// The conversation.
        name: String,
        /// Only those who take part now.
        #[arg(long)]
        present: bool,
        #[command(flatten)]
        paging: Paging,
    },
    /// Let someone take part.
    Join {
        /// The conversation.
        name: String,
        /// Who, such as operators/asha, bots/faq or applications/crm.
        subject: String,
        /// In which role; without it, the usual one.
        #[arg(long, value_parser = pairs::role)]
        role: Option<i32>,
        /// What people call it.
        #[arg(long, default_value = "", hide_default_value = true)]
        display_name: String,
    },
    /// Let a participant leave.
    Leave {
        /// The participant.
        name: String,
        /// Why.
        #[arg(long, default_value = "", hide_default_value = true)]
        reason: String,
    },
    /// Give a participant another role.
    Role {
        /// The participant.
        name: String,
        /// The role.
        #[arg(value_parser = pairs::role)]
        role: i32,
    },
    /// Make a token that says who a contact is, for a link that only that contact is given.
    Token {
        /// The contact.
        contact: String,
        /// How long it holds, such as 30d; without it a week.
        #[arg(long, value_parser = duration::parse_proto)]
        valid_for: Option<prost_types::Duration>,
    },
    /// Follow a conversation, or with conditions many of them; Ctrl-C stops.
    Watch {
        /// The conversation; without it, all that the conditions mean.
        name: Option<String>,
        /// From where; without it, a snapshot comes first.
        #[arg(long, default_value = "", hide_default_value = true)]
        cursor: String,
        #[command(flatten)]
        wanted: Wanted,
    },
    /// Talk: shows what is said, and sends each line that is typed; Ctrl-C or the end of the input stops.
    Chat(chat::Chat),
}

/// Conditions; all that are given must hold.
#[derive(Debug, Clone, Args)]
#[group(skip)]
pub struct Wanted {
    /// Only those with this contact.
    #[arg(long)]
    contact: Option<String>,
    /// Only those in this state; may be given more than once.
    #[arg(long = "state", value_name = "STATE", value_parser = pairs::conversation_state)]
    states: Vec<i32>,
    /// Only those with this label; may be given more than once.
    #[arg(long = "label", value_name = "LABEL")]
    labels: Vec<String>,
    /// Only those that use this channel.
    #[arg(long)]
    channel: Option<String>,
}

impl Wanted {
    fn contact(&self) -> String {
        names::optional("contacts", self.contact.as_deref())
    }

    fn channel(&self) -> String {
        names::optional("channels", self.channel.as_deref())
    }
}

fn full(name: &str) -> String {
    names::full("conversations", name)
}

impl Conversations {
    /// Does it.
    ///
    /// # Errors
    /// What the server refused.
    pub async fn run(self, session: &mut Session) -> Result<(), Error> {
        match self {
            Self::Get(Named { name }) => session.show(v1::GetConversationRequest { name: full(&name) }).await,
            Self::List { wanted, paging } => {
                let request = v1::ListConversationsRequest {
                    contact: wanted.contact(),
                    active_channel: wanted.channel(),
                    states: wanted.states,
                    labels: wanted.labels,
                    ..Default::default()
                };
                session.list(request, COLUMNS, &paging).await
            }
            Self::Count { wanted } => {
                let request = v1::CountConversationsRequest {
                    contact: wanted.contact(),
                    active_channel: wanted.channel(),
                    states: wanted.states,
                    labels: wanted.labels,
                };
                session.show(request).await
            }
            Self::Timeline { name, newest_first, paging } => {
                let request = v1::ListActivitiesRequest { parent: full(&name), newest_first, ..Default::default() };
                session.list(request, ACTIVITIES, &paging).await
            }
            Self::Watch { name, cursor, wanted } => watch(session, name, cursor, wanted).await,
            Self::Chat(it) => it.run(session).await,
            other => other.change(session).await,
        }
    }

    /// What changes the conversation itself.
    async fn change(self, session: &mut Session) -> Result<(), Error> {
        match self {
            Self::Create { contact, channel, priority, labels } => {
                let request = v1::CreateConversationRequest {
                    contact: names::full("contacts", &contact),
                    channel: names::optional("channels", channel.as_deref()),
                    conversation: Some(v1::Conversation { priority, labels, ..Default::default() }),
                    ..Default::default()
                };
                session.show(request).await
            }
            Self::Update(update) => {
                let given: v1::Conversation = update.definition.read()?;
                let conversation = v1::Conversation { name: full(&update.name), etag: update.etag, ..given };
                let request = v1::UpdateConversationRequest {
                    conversation: Some(conversation),
                    update_mask: mask(&update.mask),
                    ..Default::default()
                };
                session.show(request).await
            }
            Self::Close(Verb { name, etag }) => {
                session.show(v1::CloseConversationRequest { name: full(&name), etag, ..Default::default() }).await
            }
            Self::ForceClose(Verb { name, etag }) => {
                session.show(v1::ForceCloseConversationRequest { name: full(&name), etag, ..Default::default() }).await
            }
            Self::Hold(Verb { name, etag }) => {
                session.show(v1::HoldConversationRequest { name: full(&name), etag, ..Default::default() }).await
            }
            Self::Resume(Verb { name, etag }) => {
                session.show(v1::ResumeConversationRequest { name: full(&name), etag, ..Default::default() }).await
            }
            Self::SetChannel { which: Verb { name, etag }, channel } => {
                let channel = names::full("channels", &channel);
                let request = v1::SetActiveChannelRequest { name: full(&name), channel, etag, ..Default::default() };
                session.show(request).await
            }
            Self::Merge { name, other } => {
                let request =
                    v1::MergeConversationsRequest { name: full(&name), other: full(&other), ..Default::default() };
                session.show(request).await
            }
            Self::Token { contact, valid_for } => {
                let contact = names::full("contacts", &contact);
                session.show(v1::CreateContactTokenRequest { contact, valid_for, ..Default::default() }).await
            }
            other => other.presence(session).await,
        }
    }

    /// Who is there.
    async fn presence(self, session: &mut Session) -> Result<(), Error> {
        match self {
            Self::Sessions { name, open, paging } => {
                let request =
                    v1::ListChannelSessionsRequest { parent: full(&name), open_only: open, ..Default::default() };
                session.list(request, SESSIONS, &paging).await
            }
            Self::Session(Named { name }) => {
                session.show(v1::GetChannelSessionRequest { name: names::full("channelSessions", &name) }).await
            }
            Self::EndSession { name, reason } => {
                let request = v1::EndChannelSessionRequest {
                    name: names::full("channelSessions", &name),
                    reason: reason.unwrap_or_default(),
                    ..Default::default()
                };
                session.show(request).await
            }
            Self::Participants { name, present, paging } => {
                let request =
                    v1::ListParticipantsRequest { parent: full(&name), present_only: present, ..Default::default() };
                session.list(request, PARTICIPANTS, &paging).await
            }
            Self::Join { name, subject, role, display_name } => {
                let participant = v1::Participant {
                    kind: kind_of(&subject).into(),
                    subject,
                    display_name,
                    role: role.unwrap_or_default(),
                    ..Default::default()
                };
                let request = v1::AddParticipantRequest {
                    parent: full(&name),
                    participant: Some(participant),
                    ..Default::default()
                };
                session.show(request).await
            }
            Self::Leave { name, reason } => {
                let name = names::full("participants", &name);
                session.show(v1::RemoveParticipantRequest { name, reason, ..Default::default() }).await
            }
            Self::Role { name, role } => {
                let name = names::full("participants", &name);
                session.show(v1::ChangeParticipantRoleRequest { name, role, ..Default::default() }).await
            }
            // The others are done by the two functions that call this one.
            _ => Ok(()),
        }
    }
}

/// What a resource name is the name of; unspecified for others, which the server refuses.
fn kind_of(subject: &str) -> v1::participant::Kind {
    match subject.split_once('/').map(|(of, _)| of) {
        Some("operators") => v1::participant::Kind::Operator,
        Some("bots") => v1::participant::Kind::Bot,
        Some("controllers") => v1::participant::Kind::Controller,
        Some("applications") => v1::participant::Kind::Application,
        _ => v1::participant::Kind::Unspecified,
    }
}

async fn watch(session: &mut Session, name: Option<String>, start_cursor: String, wanted: Wanted) -> Result<(), Error> {
    if let Some(name) = name {
        let request = v1::WatchConversationRequest { name: full(&name), start_cursor };
        return session
            .follow(request, "event", chat::resume_one, |out, update| match &update.update {
                Some(v1::watch_conversation_response::Update::Event(event)) => chat::happened(out, event),
                _ => Ok(()),
            })
            .await;
    }
    let request = v1::WatchConversationsRequest {
        contact: wanted.contact(),
        active_channel: wanted.channel(),
        states: wanted.states,
        labels: wanted.labels,
        start_cursor,
    };
    session
        .follow(request, "event", chat::resume_many, |out, update| match &update.update {
            Some(v1::watch_conversations_response::Update::Event(event)) => chat::happened(out, event),
            _ => Ok(()),
        })
        .await
}

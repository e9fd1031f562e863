//! Following conversations as they are spoken, and talking in one: the business side of a chat.

use std::io;

use clap::Args;
use futures::StreamExt;
use prost::Message as _;
use prost::bytes::Bytes;
use proto::v1::{
    self, ConversationEvent, send_message_request::To, watch_conversation_response::Update as One,
    watch_conversations_response::Update as Many,
};
use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin};

use crate::client::{normal, retry::Retries};
use crate::contract;
use crate::error::{Error, clean};
use crate::input::names;
use crate::out::{Out, Tone};
use crate::session::{Session, answer};
use crate::view::value::{clock, word};

/// With whom one talks.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  switchboard-cli conversations chat 01990b5c-1111-7000-8000-000000000002
  switchboard-cli conversations chat --contact +42 --channel sms-main
  echo 'The office is closed today.' | switchboard-cli conversations chat --contact external:EMP-7")]
pub struct Chat {
    /// The conversation.
    #[arg(required_unless_present = "contact")]
    name: Option<String>,
    /// A contact, in place of a conversation: the open one is taken, or one is begun.
    #[arg(long, conflicts_with = "name")]
    contact: Option<String>,
    /// Send over this channel; without it over the active one.
    #[arg(long)]
    channel: Option<String>,
}

impl Chat {
    /// Shows what is said, and sends what is typed, until Ctrl-C or the end of the input.
    ///
    /// # Errors
    /// What the server refused, or that the output is closed.
    pub async fn run(self, session: &mut Session) -> Result<(), Error> {
        let channel = names::optional("channels", self.channel.as_deref());
        let name = match (&self.name, &self.contact) {
            (Some(name), _) => names::full("conversations", name),
            (None, Some(contact)) => open_with(session, names::full("contacts", contact), &channel).await?,
            (None, None) => return Err(Error::Usage("a conversation or --contact must be given".into())),
        };
        session.out.note(&format!("{name}; each line is sent, Ctrl-C stops"))?;
        tokio::select! {
            ended = talk(session, name, channel) => ended,
            stopped = tokio::signal::ctrl_c() => Ok(stopped?),
        }
    }
}

/// The open conversation with a contact; one is begun where there is none.
async fn open_with(session: &Session, contact: String, channel: &str) -> Result<String, Error> {
    let states = [v1::conversation::State::Closing, v1::conversation::State::Closed];
    let request = v1::ListConversationsRequest { contact: contact.clone(), page_size: 10, ..Default::default() };
    let found = session.ask(request).await?.typed.conversations;
    if let Some(open) = found.into_iter().find(|it| !states.contains(&it.state())) {
        return Ok(open.name);
    }
    let request = v1::CreateConversationRequest { contact, channel: channel.to_owned(), ..Default::default() };
    Ok(session.ask(request).await?.typed.name)
}

async fn talk(session: &mut Session, name: String, channel: String) -> Result<(), Error> {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut request = v1::WatchConversationRequest { name, ..Default::default() };
    let mut retries = Retries::new(session.client.retries());
    loop {
        let broken = match follow(session, &mut request, &mut lines, &channel, &mut retries).await {
            Err(Error::Refused(status)) => *status,
            ended => return ended,
        };
        match retries.pause(&broken) {
            None => return Err(broken.into()),
            Some(pause) => {
                session.out.note(&format!("{}; connecting again", broken.message()))?;
                tokio::time::sleep(pause).await;
            }
        }
    }
}

/// One connection: shows and sends until it breaks, or the input ends and what was sent is shown.
async fn follow(
    session: &mut Session,
    request: &mut v1::WatchConversationRequest,
    lines: &mut Lines<BufReader<Stdin>>,
    channel: &str,
    retries: &mut Retries,
) -> Result<(), Error> {
    let method = contract::method_of::<v1::WatchConversationRequest>()?;
    let message: Bytes = request.encode_to_vec().into();
    let mut stream = session.client.stream(&method, futures::stream::iter([message])).await?;
    loop {
        tokio::select! {
            update = stream.next() => {
                let Some(update) = update else { return Ok(()) };
                let update = answer::<v1::WatchConversationResponse>(&method, update.map_err(normal)?)?.typed;
                retries.reset();
                resume_one(request, &update);
                if let Some(One::Event(event)) = &update.update {
                    happened(&mut session.out, event)?;
                    session.out.flush()?;
                }
            }
            line = lines.next_line() => {
                let Some(line) = line? else { return Ok(()) };
                if !line.trim().is_empty() {
                    say(session, &request.name, channel, line).await?;
                }
            }
        }
    }
}

/// Sends one line. What the server refuses is said, and the talk goes on.
async fn say(session: &mut Session, name: &str, channel: &str, text: String) -> Result<(), Error> {
    let content = v1::Content { body: Some(v1::content::Body::Text(v1::content::Text { text })) };
    let request = v1::SendMessageRequest {
        to: Some(To::Conversation(name.to_owned())),
        channel: channel.to_owned(),
        content: Some(content),
        ..Default::default()
    };
    match session.ask(request).await {
        Ok(_) => Ok(()),
        Err(Error::Refused(status)) if status.code() != tonic::Code::Unavailable => {
            Ok(session.out.note(&format!("not sent: {}", clean(status.message())))?)
        }
        Err(error) => Err(error),
    }
}

/// Writes what happened: words as they were said, everything else faintly.
///
/// # Errors
/// What the system says.
pub fn happened(out: &mut Out, it: &ConversationEvent) -> io::Result<()> {
    let Some(event) = &it.event else { return Ok(()) };
    let time = out.paint(Tone::Faint, &clock(event.time.as_ref()));
    if let Some(message) = &it.message {
        let outbound = message.direction() == v1::message::Direction::Outbound;
        let who =
            if outbound { out.paint(Tone::Faint, "we") } else { out.paint(Tone::Strong, &clean(&message.contact)) };
        return out.line(&format!("{time}  {who} over {}: {}", clean(&message.channel), clean(&message.plain_text)));
    }
    let state = it.conversation.as_ref().map(|c| word("Conversation.State", c.state)).unwrap_or_default();
    let what = out.paint(Tone::Faint, &format!("{} ({}; {state})", clean(&event.r#type), clean(&event.subject)));
    out.line(&format!("{time}  {what}"))
}

/// Moves a request to after what was seen of one conversation.
pub fn resume_one(request: &mut v1::WatchConversationRequest, seen: &v1::WatchConversationResponse) {
    let cursor = match &seen.update {
        Some(One::Event(it)) => it.event.as_ref().map(|event| &event.cursor),
        Some(One::SnapshotComplete(it)) => Some(&it.cursor),
        Some(One::Checkpoint(it)) => Some(&it.cursor),
        Some(One::Conversation(_)) | None => None,
    };
    if let Some(cursor) = cursor.filter(|cursor| !cursor.is_empty()) {
        request.start_cursor.clone_from(cursor);
    }
}

/// The same of many.
pub fn resume_many(request: &mut v1::WatchConversationsRequest, seen: &v1::WatchConversationsResponse) {
    let cursor = match &seen.update {
        Some(Many::Event(it)) => it.event.as_ref().map(|event| &event.cursor),
        Some(Many::SnapshotComplete(it)) => Some(&it.cursor),
        Some(Many::Checkpoint(it)) => Some(&it.cursor),
        Some(Many::Conversation(_)) | None => None,
    };
    if let Some(cursor) = cursor.filter(|cursor| !cursor.is_empty()) {
        request.start_cursor.clone_from(cursor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_shown_with_who_said_them_and_a_cursor_moves_the_request() {
        let (mut out, kept) = crate::out::tests::kept(false, false);
        let event = v1::Event { cursor: "c7".into(), r#type: "message.received".into(), ..Default::default() };
        let message = v1::Message {
            contact: "contacts/1".into(),
            channel: "channels/sms".into(),
            plain_text: "Hello".into(),
            ..Default::default()
        };
        let it = ConversationEvent { event: Some(event), message: Some(message), conversation: None };
        happened(&mut out, &it).unwrap();
        assert!(kept.text().contains("contacts/1 over channels/sms: Hello"), "{}", kept.text());
        let mut request = v1::WatchConversationRequest::default();
        resume_one(&mut request, &v1::WatchConversationResponse { update: Some(One::Event(it)) });
        assert_eq!(request.start_cursor, "c7");
    }
}

//! `web-chats`: be a visitor of a web chat, to see what visitors see. Lines that are typed are said; what the business says is
//! shown, and acknowledged as read.

use std::io::Write;

use clap::Subcommand;
use futures::StreamExt;
use prost::Message;
use prost::bytes::Bytes;
use proto::v1::{self, stream_web_chat_messages_response::Item};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::contract;
use crate::error::Error;
use crate::input::{names, pairs};
use crate::session::{Session, answer};

/// Be a visitor of a web chat.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  switchboard-cli web-chats visit site --visitor 7f3a --called Asha
  switchboard-cli web-chats visit site --visitor user-42 --contact external:42 --data page=/cart < lines.txt")]
pub enum WebChats {
    /// Chat as a visitor: what you type is said, what is answered is shown. Ends with Ctrl-D.
    Visit {
        /// The channel, whose type is WEBCHAT.
        channel: String,
        /// The id of the visitor; the same id is the same person.
        #[arg(long)]
        visitor: String,
        /// The contact that the visitor is known to be.
        #[arg(long)]
        contact: Option<String>,
        /// The name by which the visitor is shown.
        #[arg(long, default_value = "")]
        called: String,
        /// The visitor's language, such as hi-IN.
        #[arg(long, default_value = "")]
        locale: String,
        /// What is known of the visit; may be given more than once.
        #[arg(long = "data", value_name = "NAME=VALUE", value_parser = pairs::parse)]
        data: Vec<(String, String)>,
    },
}

impl WebChats {
    /// Does it.
    ///
    /// # Errors
    /// What the server refused, or that input or output is closed.
    pub async fn run(self, session: &mut Session) -> Result<(), Error> {
        let Self::Visit { channel, visitor, contact, called, locale, data } = self;
        let request = v1::StartWebChatSessionRequest {
            channel: names::full("channels", &channel),
            visitor_id: visitor,
            contact: names::optional("contacts", contact.as_deref()),
            display_name: called,
            locale,
            channel_data: data.into_iter().collect(),
            ..Default::default()
        };
        let begun = session.ask(request).await?.typed;
        session.out.note(&format!("{} as {}: type, and end with Ctrl-D", begun.name, begun.contact))?;
        let talked = talk(session, &begun.name).await;
        let ended = v1::EndWebChatSessionRequest { session: begun.name, ..Default::default() };
        session.ask(ended).await?;
        talked
    }
}

/// Says what is typed and shows what is said, until nothing more is typed.
async fn talk(session: &mut Session, name: &str) -> Result<(), Error> {
    let method = contract::method_of::<v1::StreamWebChatMessagesRequest>()?;
    let request = v1::StreamWebChatMessagesRequest { session: name.to_owned(), start_cursor: String::new() };
    let bytes: Bytes = request.encode_to_vec().into();
    let mut shown = session.client.stream(&method, futures::stream::iter([bytes])).await?;
    let mut typed = BufReader::new(tokio::io::stdin()).lines();
    loop {
        tokio::select! {
            line = typed.next_line() => match line? {
                Some(words) if words.trim().is_empty() => {}
                Some(words) => say(session, name, words).await?,
                None => return Ok(()),
            },
            next = shown.next() => match next {
                Some(bytes) => {
                    let answer = answer::<v1::StreamWebChatMessagesResponse>(&method, bytes?)?;
                    if let Some(Item::Message(message)) = answer.typed.item {
                        show(session, name, &message).await?;
                    }
                }
                None => return Ok(()),
            },
        }
    }
}

async fn say(session: &Session, name: &str, words: String) -> Result<(), Error> {
    let text = v1::content::Body::Text(v1::content::Text { text: words });
    let request = v1::SendWebChatMessageRequest {
        session: name.to_owned(),
        client_message_id: uuid::Uuid::new_v4().to_string(),
        content: Some(v1::Content { body: Some(text) }),
        in_reply_to: String::new(),
    };
    session.ask(request).await?;
    Ok(())
}

async fn show(session: &mut Session, name: &str, message: &v1::WebChatMessage) -> Result<(), Error> {
    session.out.raw(format!("> {}\n", message.plain_text).as_bytes())?;
    std::io::stdout().flush()?;
    let request = v1::AcknowledgeWebChatMessagesRequest {
        session: name.to_owned(),
        deliveries: vec![message.delivery.clone()],
        evidence: v1::Evidence::Read.into(),
    };
    session.ask(request).await?;
    Ok(())
}

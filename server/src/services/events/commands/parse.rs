//! Reading a command: the envelope of CloudEvents 1.0, the type, the version, and the details, with everything that is wrong said at
//! once. Reads only; whether what is named exists is found out by whoever obeys.

use chrono::{DateTime, Utc};
use domain::{
    channel::{Address, AddressKind},
    delivery::Evidence,
    message::Content,
};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{FAILED, may_be_said};
use crate::{
    channels::InboundFact,
    services::{Error, Result, Violation, error::all_right, events::orders::Ticket},
    storage::receipts::NewReceipt,
};

/// The longest `id` and `source`, in characters.
const MAX_NAME: usize = 255;
/// The longest message, in characters.
const MAX_TEXT: usize = 16_384;
/// The types of commands, as the conversation store names them.
const TYPES: [&str; 6] = [
    "message-received",
    "whatsapp-business-message-delivered",
    "flow-answer-generated",
    "agent-answer-generated",
    "flow-execution-ended",
    "ticket-closed",
];

/// A command with its identity.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// Who says it.
    pub source: String,
    /// Unique in its source.
    pub id: String,
    /// What is said.
    pub command: Command,
}

/// What an outside system says.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// `message-received`: a contact wrote.
    MessageReceived {
        /// The slug of the channel.
        channel: String,
        /// The message.
        fact: Box<InboundFact>,
    },
    /// `whatsapp-business-message-delivered`: what became of a message of ours.
    Delivered {
        /// The slug of the channel.
        channel: String,
        /// The receipt.
        receipt: NewReceipt,
    },
    /// `flow-answer-generated`, `agent-answer-generated`: something is to be said.
    Said(Said),
    /// `flow-execution-ended`.
    FlowEnded {
        /// Where it ran.
        conversation: Uuid,
        /// Which, where it is said.
        execution: Option<Uuid>,
        /// How, in a word.
        outcome: String,
        /// A ticket that it orders.
        ticket: Option<Ticket>,
    },
    /// `ticket-closed`.
    TicketClosed {
        /// Whose ticket.
        conversation: Uuid,
        /// Which, where it is said.
        ticket: Option<Uuid>,
        /// How, in a word.
        outcome: String,
    },
}

/// Something that is to be said in a conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    /// Where.
    pub conversation: Uuid,
    /// The slug of the channel; none: where the contact is.
    pub channel: Option<String>,
    /// What.
    pub content: Content,
    /// A ticket that is ordered with it.
    pub ticket: Option<Ticket>,
}

/// Reads a command. Phone numbers without a country belong to `country`.
///
/// # Errors
/// [`Error::Invalid`] with everything that is wrong.
pub fn parse(body: &[u8], country: Option<&str>) -> Result<Order> {
    let envelope: Value =
        serde_json::from_slice(body).map_err(|error| Error::invalid("the message", format!("is no JSON: {error}")))?;
    let Value::Object(envelope) = envelope else {
        return Err(Error::invalid("the message", "must be one CloudEvent in the JSON format, an object"));
    };
    let mut outer = Reader { of: &envelope, path: "", found: Vec::new() };
    if outer.required("specversion").is_some_and(|version| version != "1.0") {
        outer.wrong("specversion", "must be 1.0");
    }
    let (source, id) = (outer.short("source"), outer.short("id"));
    if let Some(Value::String(kind)) = envelope.get("datacontenttype")
        && !kind.starts_with("application/json")
    {
        outer.wrong("datacontenttype", "must be application/json");
    }
    let r#type = outer.required("type").unwrap_or_default().to_owned();
    if !r#type.is_empty() && !TYPES.contains(&r#type.as_str()) {
        outer.wrong("type", &format!("is {:?}; known are {}", short_of(&r#type), TYPES.join(", ")));
    }
    let empty = Map::new();
    let data = envelope.get("data").and_then(Value::as_object);
    if data.is_none() {
        outer.wrong("data", "must be an object");
    }
    let mut inner = Reader { of: data.unwrap_or(&empty), path: "data.", found: Vec::new() };
    let command = data.and_then(|_| inner.command(&r#type, country));
    let mut found = outer.found;
    found.append(&mut inner.found);
    all_right(found)?;
    let command = command.ok_or_else(|| Error::invalid("data", "cannot be read"))?;
    Ok(Order { source, id, command })
}

fn short_of(text: &str) -> String {
    text.chars().take(80).collect()
}

/// Reads the members of an object, and gathers what is wrong.
struct Reader<'a> {
    of: &'a Map<String, Value>,
    path: &'static str,
    found: Vec<Violation>,
}

impl<'a> Reader<'a> {
    fn wrong(&mut self, field: &str, what: &str) {
        self.found.push(Violation::new(format!("{}{field}", self.path), what));
    }

    /// A text; an empty one counts as none.
    fn text(&mut self, field: &str) -> Option<&'a str> {
        match self.of.get(field) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text.trim()).filter(|text| !text.is_empty()),
            Some(_) => {
                self.wrong(field, "must be a text");
                None
            }
        }
    }

    fn required(&mut self, field: &str) -> Option<&'a str> {
        let before = self.found.len();
        let text = self.text(field);
        if text.is_none() && self.found.len() == before {
            self.wrong(field, "is missing");
        }
        text
    }

    fn short(&mut self, field: &str) -> String {
        let text = self.required(field).unwrap_or_default();
        if text.chars().count() > MAX_NAME {
            self.wrong(field, &format!("must have at most {MAX_NAME} characters"));
        }
        text.to_owned()
    }

    fn command(&mut self, r#type: &str, country: Option<&str>) -> Option<Command> {
        match r#type {
            "message-received" => self.message_received(country),
            "whatsapp-business-message-delivered" => self.delivered(),
            "flow-answer-generated" | "agent-answer-generated" => {
                let conversation = self.uuid_name("conversation", "conversations", true);
                let (channel, content, ticket) = (self.channel(false), self.content(may_be_said), self.ticket());
                Some(Command::Said(Said { conversation: conversation?, channel, content: content?, ticket }))
            }
            "flow-execution-ended" => {
                let conversation = self.uuid_name("conversation", "conversations", true);
                let (execution, outcome) = (self.uuid_name("execution", "flows", false), self.outcome("completed"));
                let ticket = self.ticket();
                Some(Command::FlowEnded { conversation: conversation?, execution, outcome, ticket })
            }
            "ticket-closed" => {
                let conversation = self.uuid_name("conversation", "conversations", true);
                let (ticket, outcome) = (self.uuid_name("ticket", "tickets", false), self.outcome("closed"));
                Some(Command::TicketClosed { conversation: conversation?, ticket, outcome })
            }
            _ => None,
        }
    }

    fn message_received(&mut self, country: Option<&str>) -> Option<Command> {
        let channel = self.channel(true);
        let provider_message_id = self.short("provider_message_id");
        let from = self.senders(country);
        let content =
            self.content(|content| !matches!(content, Content::Voice { .. } | Content::ProviderTemplate { .. }));
        let provider_time = self.time("provider_time");
        let fact = InboundFact {
            provider_message_id,
            from,
            to: String::new(),
            display_name: self.text("display_name").map(str::to_owned),
            content: content?,
            in_reply_to: self.text("in_reply_to").map(str::to_owned),
            delivery_id: None,
            provider_opt: None,
            provider_time,
            channel_data: std::collections::BTreeMap::default(),
        };
        Some(Command::MessageReceived { channel: channel?, fact: Box::new(fact) })
    }

    fn delivered(&mut self) -> Option<Command> {
        let channel = self.channel(true);
        let provider_message_id = self.short("provider_message_id");
        let evidence = match self.required("status") {
            Some("sent") => Evidence::Sent,
            Some("delivered") => Evidence::Delivered,
            Some("read") => Evidence::Read,
            Some("failed") => Evidence::Failed,
            Some(_) => {
                self.wrong("status", "must be sent, delivered, read or failed");
                Evidence::Sent
            }
            None => Evidence::Sent,
        };
        let failed = evidence == Evidence::Failed;
        let receipt = NewReceipt {
            provider_message_id,
            echo: None,
            evidence,
            failure_class: failed.then(|| FAILED.as_str().to_owned()),
            failure_code: self.text("error_code").filter(|_| failed).map(short_of),
            provider_time: self.time("provider_time"),
        };
        Some(Command::Delivered { channel: channel?, receipt })
    }

    /// `from`: one address or several, each with `kind` and `value`.
    fn senders(&mut self, country: Option<&str>) -> Vec<Address> {
        let given = match self.of.get("from") {
            Some(Value::Array(several)) if !several.is_empty() && several.len() <= 8 => several.iter().collect(),
            Some(one @ Value::Object(_)) => vec![one],
            _ => {
                self.wrong("from", "must be an address with kind and value, or a list of 1 to 8");
                return Vec::new();
            }
        };
        let mut read = Vec::with_capacity(given.len());
        for address in given {
            let part = |name: &str| address.get(name).and_then(Value::as_str).unwrap_or_default();
            match part("kind").to_lowercase().parse::<AddressKind>() {
                Ok(kind) => match Address::parse(kind, part("value"), country) {
                    Ok(address) => read.push(address),
                    Err(error) => self.wrong("from.value", &error.to_string()),
                },
                Err(_) => self.wrong("from.kind", "must be phone, email or whatsapp_user"),
            }
        }
        read
    }

    /// `text`, or `content` in the form in which messages are told.
    fn content(&mut self, may_be: impl Fn(&Content) -> bool) -> Option<Content> {
        let content = match (self.text("text"), self.of.get("content")) {
            (Some(_), Some(_)) => Err("must not be given together with text".to_owned()),
            (Some(text), None) => Ok(Content::Text { text: text.to_owned() }),
            (None, Some(content)) => {
                serde_json::from_value::<Content>(content.clone()).map_err(|error| format!("cannot be read: {error}"))
            }
            (None, None) => Err("is missing: give text, or content".to_owned()),
        };
        match content {
            Ok(content) if !may_be(&content) => self.wrong("content", "is of a type that cannot be taken here"),
            Ok(content) if content.plain_text().chars().count() > MAX_TEXT => {
                self.wrong("text", &format!("must have at most {MAX_TEXT} characters"));
            }
            Ok(content) => return Some(content),
            Err(what) => self.wrong("content", &what),
        }
        None
    }

    fn channel(&mut self, needed: bool) -> Option<String> {
        let name = if needed { self.required("channel") } else { self.text("channel") }?;
        let slug = name.strip_prefix("channels/").unwrap_or(name);
        if domain::slug::Slug::parse(slug).is_err() {
            self.wrong("channel", "must be written channels/{id}, such as channels/whatsapp-main");
        }
        Some(slug.to_owned())
    }

    fn uuid_name(&mut self, field: &str, collection: &str, needed: bool) -> Option<Uuid> {
        let name = if needed { self.required(field) } else { self.text(field) }?;
        let id = name.strip_prefix(collection).and_then(|rest| rest.strip_prefix('/')).unwrap_or(name);
        let id = Uuid::parse_str(id).ok();
        if id.is_none() {
            self.wrong(field, &format!("must be written {collection}/{{uuid}}, or be the UUID alone"));
        }
        id
    }

    fn outcome(&mut self, default: &str) -> String {
        let outcome = self.text("outcome").unwrap_or(default);
        let fits = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        if outcome.len() > 64 || !outcome.chars().all(fits) {
            self.wrong("outcome", "must be a word of up to 64 letters, digits, dots, hyphens and underscores");
        }
        outcome.to_owned()
    }

    /// `open_ticket`: an object orders one, with whatever the ticket system is to know. Its `ticket` is the id that it has there.
    fn ticket(&mut self) -> Option<Ticket> {
        match self.of.get("open_ticket") {
            None | Some(Value::Null | Value::Bool(false)) => None,
            Some(Value::Bool(true)) => Some(Ticket::default()),
            Some(Value::Object(order)) => {
                let mut inner = Reader { of: order, path: "data.open_ticket.", found: Vec::new() };
                let id = inner.uuid_name("ticket", "tickets", false);
                self.found.append(&mut inner.found);
                Some(Ticket { id, of: order.clone() })
            }
            Some(_) => {
                self.wrong("open_ticket", "must be true, or an object that the ticket system is to be given");
                None
            }
        }
    }

    fn time(&mut self, field: &str) -> Option<DateTime<Utc>> {
        let text = self.text(field)?;
        let time = DateTime::parse_from_rfc3339(text).ok().map(|time| time.with_timezone(&Utc));
        if time.is_none() {
            self.wrong(field, "must be a time in RFC 3339, such as 2026-11-20T08:00:00Z");
        }
        time
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(envelope: &Value) -> Vec<String> {
        match parse(envelope.to_string().as_bytes(), Some("IN")) {
            Err(Error::Invalid(found)) => found.into_iter().map(|v| v.field).collect(),
            other => panic!("{other:?}"),
        }
    }

    fn of(r#type: &str, data: Value) -> Value {
        json!({"specversion": "1.0", "id": "1", "source": "/flows", "type": r#type, "data": data})
    }

    #[test]
    fn every_command_of_the_store_is_read() {
        let conversation = Uuid::now_v7();
        let name = format!("conversations/{conversation}");
        let read =
            |r#type: &str, data: Value| parse(of(r#type, data).to_string().as_bytes(), Some("IN")).unwrap().command;
        let received = json!({"channel": "channels/wa", "provider_message_id": "m1", "text": "hello",
            "from": {"kind": "phone", "value": "98123 45678"}, "provider_time": "2026-11-20T08:00:00Z"});
        let Command::MessageReceived { channel, fact } = read("message-received", received) else { panic!() };
        assert_eq!((channel.as_str(), fact.from[0].value.as_str()), ("wa", "+919812345678"));
        let delivered =
            json!({"channel": "wa", "provider_message_id": "m2", "status": "failed", "error_code": "131026"});
        let Command::Delivered { receipt, .. } = read("whatsapp-business-message-delivered", delivered) else {
            panic!()
        };
        assert_eq!((receipt.evidence, receipt.failure_code.as_deref()), (Evidence::Failed, Some("131026")));
        for r#type in ["flow-answer-generated", "agent-answer-generated"] {
            let said = json!({"conversation": name, "text": "Which dam?", "open_ticket": {"queue": "water"}});
            let Command::Said(said) = read(r#type, said) else { panic!() };
            assert_eq!((said.conversation, said.ticket.is_some()), (conversation, true));
        }
        let ended = read("flow-execution-ended", json!({"conversation": name}));
        assert!(matches!(ended, Command::FlowEnded { outcome, ticket: None, .. } if outcome == "completed"));
        let closed = read("ticket-closed", json!({"conversation": name, "outcome": "solved"}));
        assert!(matches!(closed, Command::TicketClosed { outcome, .. } if outcome == "solved"));
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        let wrong = json!({"specversion": "0.3", "source": 7, "type": "message-received", "data": {
            "channel": "Not ok", "from": {"kind": "pigeon", "value": "x"}, "provider_time": "noon"}});
        let expected = [
            "specversion",
            "source",
            "id",
            "data.channel",
            "data.provider_message_id",
            "data.from.kind",
            "data.content",
            "data.provider_time",
        ];
        assert_eq!(fields(&wrong), expected);
        assert_eq!(fields(&of("message-sent", json!({}))), ["type"]);
        assert_eq!(fields(&of("ticket-closed", json!([]))), ["data"]);
        assert_eq!(
            fields(&of("ticket-closed", json!({"conversation": "x", "outcome": "a b"}))),
            ["data.conversation", "data.outcome"]
        );
        let both = json!({"conversation": Uuid::nil(), "text": "a", "content": {"type": "text", "text": "b"}});
        assert_eq!(fields(&of("flow-answer-generated", both)), ["data.content"]);
        let media = json!({"conversation": Uuid::nil(), "content": {"type": "key", "digits": "1"}});
        assert_eq!(fields(&of("agent-answer-generated", media)), ["data.content"]);
        for no_event in ["", "x", "[]", "7"] {
            assert!(matches!(parse(no_event.as_bytes(), None), Err(Error::Invalid(_))), "{no_event}");
        }
    }
}

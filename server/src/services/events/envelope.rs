//! The CloudEvents 1.0 envelope (`cloudevents.io`, JSON format), in which events leave by the exchange and by webhooks.
//!
//! Most facts become one event, `org.switchboard.` with their own type. The events of the conversation store keep their exact
//! names and version: a stored message is `message_added`, an order to a flow engine `start-flow-execution`, one to a ticket
//! system `open-ticket`; a message that a WhatsApp provider took is `send-whatsapp-business-message` as well. `docs/EVENTS.md`
//! and the schemas beside it describe every member; a test holds what is published against them.

use std::{collections::HashMap, sync::Arc};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{cursor, fact::Fact};
use crate::{
    services::{Context, Result},
    storage::event_sinks::{self, ToldMessage},
};

/// What the types of our own events begin with.
pub const PREFIX: &str = "org.switchboard.";
/// The version of the conversation store's events.
pub const STORE_VERSION: &str = "0.0.1";
/// The version of the form of all other events.
pub const VERSION: &str = "1.0";
/// The medium of which the conversation store tells what is sent.
const WHATSAPP: &str = "WHATSAPP";

/// An event in its envelope. Serialised, it is the JSON format of CloudEvents.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CloudEvent {
    /// The version of the envelope.
    pub specversion: &'static str,
    /// Unique in its source, and the same however often it is told.
    pub id: String,
    /// Which deployment tells it.
    pub source: String,
    /// What happened.
    pub r#type: String,
    /// What it happened to.
    pub subject: String,
    /// When, in business time.
    pub time: String,
    /// The form of `data`.
    pub datacontenttype: &'static str,
    /// The schema of `data`, which ends in its version.
    pub dataschema: String,
    /// Events of one key are told in order: the conversation, else the notification, else the subject.
    pub partitionkey: String,
    /// The number of the event, in twenty digits, so that it orders as a text.
    pub sequence: String,
    /// Where `Subscribe` and `ReplayEvents` go on after it.
    pub cursor: String,
    /// The details.
    pub data: Map<String, Value>,
    /// The name by which it is routed and filtered: the store's name, or our type without its prefix.
    #[serde(skip)]
    pub route: String,
    /// Its number.
    #[serde(skip)]
    pub number: i64,
    /// The instant of `time`.
    #[serde(skip)]
    pub at: DateTime<Utc>,
}

/// What envelopes are made with: the source, and the messages that the facts speak of.
#[derive(Debug, Clone, Default)]
pub struct Sealing {
    source: String,
    messages: HashMap<Uuid, ToldMessage>,
    channels: HashMap<i32, String>,
}

impl Sealing {
    /// Reads the messages that these facts speak of; `with_words` says whether they are told, or only their names.
    ///
    /// # Errors
    /// What storage says.
    pub async fn load(context: &Context, facts: &[Arc<Fact>], with_words: bool) -> Result<Self> {
        let mut sealing = Self { source: context.settings.events.source.clone(), ..Self::default() };
        let mut ids: Vec<Uuid> = facts.iter().filter_map(|fact| message_of(fact)).collect();
        ids.sort_unstable();
        ids.dedup();
        if with_words && !ids.is_empty() {
            sealing.messages = event_sinks::messages(&mut *context.lists.conn().await?, &ids).await?;
            let snapshot = context.directory.snapshot(&context.side).await?;
            sealing.channels = snapshot.channels.iter().map(|c| (c.row.id, c.row.slug.clone())).collect();
        }
        Ok(sealing)
    }

    /// The envelopes of a fact: one, or two where the conversation store has an event of its own besides.
    #[must_use]
    pub fn seal(&self, fact: &Fact) -> Vec<CloudEvent> {
        let mut events = vec![match store_name(&fact.r#type) {
            Some(name) => self.one(fact, fact.number.to_string(), name, name.to_owned(), STORE_VERSION),
            None => {
                let r#type = format!("{PREFIX}{}", fact.r#type);
                self.one(fact, fact.number.to_string(), &fact.r#type, r#type, VERSION)
            }
        }];
        if fact.r#type == "delivery.sent" && fact.medium.as_deref() == Some(WHATSAPP) {
            let name = "send-whatsapp-business-message";
            events.push(self.one(fact, format!("{}-{name}", fact.number), name, name.to_owned(), STORE_VERSION));
        }
        events
    }

    fn one(&self, fact: &Fact, id: String, route: &str, r#type: String, version: &str) -> CloudEvent {
        let conversation = fact.conversation();
        let notification = fact.concern.notification.map(|id| format!("notifications/{id}"));
        let of_store = version == STORE_VERSION;
        let subject = conversation.clone().filter(|_| of_store).unwrap_or_else(|| fact.subject.clone());
        let schema = if of_store { route } else { "event" };
        CloudEvent {
            specversion: "1.0",
            id,
            source: self.source.clone(),
            r#type,
            subject,
            time: fact.at.to_rfc3339_opts(SecondsFormat::Millis, true),
            datacontenttype: "application/json",
            dataschema: format!("urn:switchboard:schema:{schema}:{version}"),
            partitionkey: conversation.or(notification).unwrap_or_else(|| fact.subject.clone()),
            sequence: format!("{:020}", fact.number),
            cursor: cursor(fact.number),
            data: self.data(fact, of_store),
            route: route.to_owned(),
            number: fact.number,
            at: fact.at,
        }
    }

    fn data(&self, fact: &Fact, of_store: bool) -> Map<String, Value> {
        let mut data = fact.data.clone();
        if of_store {
            // The shapes of the store are closed: what is for our own readers stays in our own events.
            data.remove("actor");
            data.remove("intent");
            data.remove("seq");
        }
        let mut put = |key: &str, value: Option<String>| {
            if let Some(value) = value {
                data.insert(key.to_owned(), value.into());
            }
        };
        put("campaign", fact.campaign.as_ref().map(|slug| format!("campaigns/{slug}")));
        put("contact", fact.concern.contact.map(|id| format!("contacts/{id}")));
        put("conversation", fact.conversation());
        if of_store {
            let message = message_of(fact);
            put("message", message.map(|id| format!("messages/{id}")));
            put("delivery", fact.subject.starts_with("deliveries/").then(|| fact.subject.clone()));
            let (kind, id) = fact.subject.split_once('/').unwrap_or_default();
            put("execution", (kind == "flows").then(|| id.to_owned()));
            put("ticket", (kind == "tickets").then(|| id.to_owned()));
            if let Some(told) = message.and_then(|id| self.messages.get(&id)) {
                data.extend(self.words(told));
            }
        }
        data
    }

    /// The message itself, so that whoever hears of it needs to ask nobody.
    fn words(&self, told: &ToldMessage) -> Map<String, Value> {
        let words = json!({
            "outbound": told.outbound,
            "sequence_in_conversation": told.seq,
            "sender": told.sender,
            "receiver": told.receiver,
            "text": told.plain_text,
            "content": told.content,
            "received_time": told.received_at.to_rfc3339_opts(SecondsFormat::Millis, true),
        });
        let mut words = match words {
            Value::Object(words) => words,
            _ => Map::new(),
        };
        if let Some(id) = told.in_reply_to {
            words.insert("in_reply_to".to_owned(), format!("messages/{id}").into());
        }
        if let Some(slug) = told.channel_id.and_then(|id| self.channels.get(&id)) {
            words.insert("channel".to_owned(), format!("channels/{slug}").into());
        }
        words
    }
}

/// The conversation store's name of a fact, where it has one.
fn store_name(r#type: &str) -> Option<&'static str> {
    match r#type {
        "message.received" | "message.sent" => Some("message_added"),
        "flow.ordered" => Some("start-flow-execution"),
        "ticket.ordered" => Some("open-ticket"),
        _ => None,
    }
}

/// The message that a fact speaks of.
fn message_of(fact: &Fact) -> Option<Uuid> {
    let named = fact.subject.strip_prefix("messages/").or_else(|| fact.data.get("message")?.as_str());
    let named = named.map(|name| name.strip_prefix("messages/").unwrap_or(name));
    named.and_then(|id| id.parse().ok()).or(fact.concern.message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::feed::Concern;

    fn fact(r#type: &str, subject: &str, data: Value) -> Fact {
        Fact {
            number: 42,
            r#type: r#type.into(),
            subject: subject.into(),
            campaign: None,
            concern: Concern::default(),
            at: DateTime::UNIX_EPOCH,
            data: data.as_object().cloned().unwrap_or_default(),
            medium: None,
        }
    }

    fn sealing() -> Sealing {
        Sealing { source: "/here".into(), ..Sealing::default() }
    }

    #[test]
    fn the_store_keeps_its_names_and_all_others_have_ours() {
        let of = |r#type: &str| {
            let events = sealing().seal(&fact(r#type, "x/1", json!({})));
            (events[0].r#type.clone(), events[0].dataschema.clone())
        };
        for (ours, name) in [
            ("message.received", "message_added"),
            ("message.sent", "message_added"),
            ("flow.ordered", "start-flow-execution"),
            ("ticket.ordered", "open-ticket"),
        ] {
            assert_eq!(of(ours), (name.to_owned(), format!("urn:switchboard:schema:{name}:0.0.1")));
        }
        let ours = ("org.switchboard.session.ended".to_owned(), "urn:switchboard:schema:event:1.0".to_owned());
        assert_eq!(of("session.ended"), ours);
    }

    #[test]
    fn what_whatsapp_took_is_told_twice_under_ids_of_their_own() {
        let mut sent = fact("delivery.sent", "deliveries/7", json!({}));
        assert_eq!(sealing().seal(&sent).len(), 1);
        sent.medium = Some("WHATSAPP".into());
        let ids: Vec<String> = sealing().seal(&sent).into_iter().map(|e| e.id).collect();
        assert_eq!(ids, ["42", "42-send-whatsapp-business-message"]);
    }

    #[test]
    fn events_of_a_conversation_have_one_key_whatever_they_happened_to() {
        let conversation = format!("conversations/{}", Uuid::nil());
        let key = |fact: &Fact| sealing().seal(fact)[0].partitionkey.clone();
        assert_eq!(key(&fact("conversation.closed", &conversation, json!({}))), conversation);
        assert_eq!(key(&fact("message.received", "messages/1", json!({"conversation": conversation}))), conversation);
        let mut delivery = fact("delivery.sent", "deliveries/1", json!({}));
        delivery.concern.conversation = Some(Uuid::nil());
        assert_eq!(key(&delivery), conversation);
        assert_eq!(key(&fact("campaign.running", "campaigns/flood", json!({}))), "campaigns/flood");
    }
}

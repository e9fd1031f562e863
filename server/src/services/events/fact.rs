//! From a stored row, which stands for n entities that moved alike, to n facts with consecutive numbers, each with whom it
//! concerns. What a fact is called is decided here.

use std::{collections::HashMap, sync::Arc};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::{
    services::{Context, Result, directory::Channel},
    storage::{
        Conn,
        events::EventRow,
        feed::{self, Concern},
    },
};

/// One event as it is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Fact {
    /// Its number, from 1: its position in the stream, and its id.
    pub number: i64,
    /// What happened, such as `notification.reached`.
    pub r#type: String,
    /// What it happened to, such as `notifications/{id}`.
    pub subject: String,
    /// The slug of the campaign that it belongs to.
    pub campaign: Option<String>,
    /// Whom it concerns.
    pub concern: Concern,
    /// When, in business time.
    pub at: DateTime<Utc>,
    /// The details.
    pub data: Map<String, Value>,
    /// The medium of the channel, such as `WHATSAPP`, where it is about one.
    pub medium: Option<String>,
}

impl Fact {
    /// The conversation that it belongs to, as `conversations/{id}`.
    #[must_use]
    pub fn conversation(&self) -> Option<String> {
        if self.subject.starts_with("conversations/") {
            return Some(self.subject.clone());
        }
        let said = self.data.get("conversation").and_then(Value::as_str).map(str::to_owned);
        said.or_else(|| self.concern.conversation.map(|id| format!("conversations/{id}")))
    }
}

/// Unfolds rows into facts with numbers above `after`.
///
/// # Errors
/// What storage says.
pub async fn unfold(context: &Context, conn: &mut Conn, rows: &[EventRow], after: i64) -> Result<Vec<Arc<Fact>>> {
    let names = Names::load(context, conn, rows).await?;
    let mut facts = Vec::new();
    for row in rows {
        for offset in 0..row.n {
            let number = row.number + i64::from(offset);
            if number > after {
                let id = usize::try_from(offset).ok().and_then(|offset| row.ids.get(offset)).copied();
                facts.push(Arc::new(names.fact(row, number, id)));
            }
        }
    }
    Ok(facts)
}

/// What happened, as the contract calls it: the noun, and where it went or what was done.
fn type_of(row: &EventRow) -> String {
    let to = row.to_state.as_deref().unwrap_or_default();
    let outbound = || row.data.as_ref().and_then(|d| d.get("outbound")?.as_bool()).unwrap_or_default();
    let verb = match (row.kind.as_str(), row.r#type.as_str()) {
        ("delivery", "created") => to,
        ("message", "message_added") => {
            if outbound() {
                "sent"
            } else {
                "received"
            }
        }
        ("conversation", "created") => "opened",
        ("conversation", "state_changed") => "state_changed",
        ("notification", "step_changed") => "step_started",
        ("consent", _) => "changed",
        (_, "state_changed" | "") => to,
        (_, other) => other,
    };
    format!("{}.{verb}", row.kind)
}

/// Where resources of a kind with a UUID are found: its plural in camel case, so that a new kind needs no line here.
fn collection(kind: &str) -> String {
    let mut words = kind.split('_');
    let mut name = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        name.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        name.push_str(letters.as_str());
    }
    match name.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{stem}ies"),
        _ => format!("{name}s"),
    }
}

/// The conversation that a row names in its details.
fn conversation_in(row: &EventRow) -> Option<Uuid> {
    row.data.as_ref()?.get("conversation")?.as_str()?.parse().ok()
}

/// What the rows of a page name by keys.
struct Names {
    concerns: HashMap<Uuid, Concern>,
    campaigns: HashMap<i64, String>,
    /// Slug and medium.
    channels: HashMap<i32, (String, String)>,
}

impl Names {
    async fn load(context: &Context, conn: &mut Conn, rows: &[EventRow]) -> Result<Self> {
        let ids = |kind: &str| -> Vec<Uuid> {
            rows.iter().filter(|row| row.kind == kind).flat_map(|row| row.ids.iter().copied()).collect()
        };
        let mut concerns = HashMap::new();
        let notifications = ids("notification");
        if !notifications.is_empty() {
            concerns.extend(feed::of_notifications(conn, &notifications).await?);
        }
        let deliveries = ids("delivery");
        if !deliveries.is_empty() {
            concerns.extend(feed::of_deliveries(conn, &deliveries).await?);
        }
        let messages = ids("message");
        if !messages.is_empty() {
            concerns.extend(feed::of_messages(conn, &messages).await?);
        }
        let mut conversations = ids("conversation");
        // Kinds that have no query of their own say in which conversation they happened.
        conversations.extend(rows.iter().filter(|row| row.kind != "message").filter_map(conversation_in));
        if !conversations.is_empty() {
            concerns.extend(feed::of_conversations(conn, &conversations).await?);
        }
        let mut campaigns: Vec<i64> = rows.iter().filter_map(|row| row.campaign_id).collect();
        campaigns.sort_unstable();
        campaigns.dedup();
        let campaigns = match campaigns.is_empty() {
            true => HashMap::new(),
            false => feed::campaigns(conn, &campaigns).await?,
        };
        let snapshot = context.directory.snapshot(&context.side).await?;
        let channel = |c: &Channel| (c.row.id, (c.row.slug.clone(), c.channel_type().to_string()));
        let channels = snapshot.channels.iter().map(channel).collect();
        Ok(Self { concerns, campaigns, channels })
    }

    fn fact(&self, row: &EventRow, number: i64, id: Option<Uuid>) -> Fact {
        let subject = match (id, &row.subject) {
            // Who names a resource knows better where it is found.
            (Some(_), Some(subject)) if row.n == 1 && !subject.is_empty() => subject.clone(),
            (Some(id), _) => format!("{}/{id}", collection(&row.kind)),
            (None, Some(subject)) => subject.clone(),
            (None, None) => String::new(),
        };
        let known = id.and_then(|id| self.concerns.get(&id));
        let known = known.or_else(|| self.concerns.get(&conversation_in(row)?));
        let mut concern = known.copied().unwrap_or_default();
        if row.kind == "notification" {
            concern.notification = id;
        }
        if let Some(contact) = subject.strip_prefix("contacts/").and_then(|id| id.parse().ok()) {
            concern.contact = Some(contact);
        }
        let campaign = row.campaign_id.and_then(|id| self.campaigns.get(&id)).cloned();
        let campaign = campaign.or_else(|| subject.strip_prefix("campaigns/").map(str::to_owned));
        let data = self.data(row, &concern);
        let medium = row.channel_id.and_then(|id| self.channels.get(&id)).map(|(_, medium)| medium.clone());
        Fact { number, r#type: type_of(row), subject, campaign, concern, at: row.at, data, medium }
    }

    /// Names and states only: never the words of a message, never an address.
    fn data(&self, row: &EventRow, concern: &Concern) -> Map<String, Value> {
        let mut data = match &row.data {
            Some(Value::Object(own)) => own.clone(),
            Some(_) | None => Map::new(),
        };
        if let Some(Value::String(id)) = data.get("conversation").cloned() {
            data.insert("conversation".to_owned(), format!("conversations/{id}").into());
        }
        let mut put = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                data.insert(key.to_owned(), value);
            }
        };
        put("from", row.from_state.as_ref().map(|s| s.to_uppercase().into()));
        put("to", row.to_state.as_ref().map(|s| s.to_uppercase().into()));
        put("reason", row.reason.as_ref().map(|r| r.clone().into()));
        put("step", row.step.map(|s| json!(s)));
        put(
            "channel",
            row.channel_id.and_then(|id| self.channels.get(&id)).map(|(c, _)| format!("channels/{c}").into()),
        );
        let of = concern.notification.filter(|_| row.kind != "notification");
        put("notification", of.map(|id| format!("notifications/{id}").into()));
        data
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(kind: &str, r#type: &str, to: &str, data: Option<Value>) -> EventRow {
        EventRow {
            number: 1,
            kind: kind.into(),
            r#type: r#type.into(),
            campaign_id: None,
            channel_id: None,
            step: None,
            from_state: None,
            to_state: Some(to.into()),
            reason: None,
            n: 1,
            ids: Vec::new(),
            subject: None,
            data,
            at: DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_kind_that_is_new_has_a_plural_and_a_verb() {
        for (kind, expected) in [
            ("notification", "notifications"),
            ("delivery", "deliveries"),
            ("session", "sessions"),
            ("participant", "participants"),
            ("survey", "surveys"),
        ] {
            assert_eq!(collection(kind), expected);
        }
        assert_eq!(type_of(&row("session", "state_changed", "ended", None)), "session.ended");
        assert_eq!(type_of(&row("participant", "joined", "", None)), "participant.joined");
    }

    #[test]
    fn types_are_those_of_the_contract() {
        let cases = [
            ("notification", "created", "waiting", None, "notification.created"),
            ("notification", "state_changed", "reached", None, "notification.reached"),
            ("notification", "step_changed", "waiting", None, "notification.step_started"),
            ("delivery", "created", "skipped", None, "delivery.skipped"),
            ("delivery", "state_changed", "delivered", None, "delivery.delivered"),
            ("message", "message_added", "", Some(json!({"outbound": false})), "message.received"),
            ("message", "message_added", "", Some(json!({"outbound": true})), "message.sent"),
            ("conversation", "created", "open", None, "conversation.opened"),
            ("contact", "created", "", None, "contact.created"),
            ("campaign", "state_changed", "running", None, "campaign.running"),
            ("trigger", "unmappable", "", None, "trigger.unmappable"),
        ];
        for (kind, r#type, to, data, expected) in cases {
            assert_eq!(type_of(&row(kind, r#type, to, data)), expected);
        }
    }
}

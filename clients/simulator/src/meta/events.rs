//! The webhooks of Meta's `messages` field: statuses of our messages, and messages from persons.
//!
//! Shapes: Meta's "messages webhook reference" and "Status messages webhook reference" (2026), business-scoped user ids included.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use http::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::errors::failure;
use super::request::{TouchKind, Touchable};
use crate::core::Core;
use crate::ledger::{Provider, WebhookKind};
use crate::phones::Happening;
use crate::script::{Choice, Reply};
use crate::webhook::{Body, Policy, Webhook};

/// A WhatsApp message that was accepted, as its receipts and answers need it.
pub(crate) struct WhatsappMessage {
    pub id: String,
    pub person: Person,
    pub choices: Vec<Touchable>,
    pub reference: Option<String>,
    /// `service` for free-form messages, `utility` for templates.
    pub category: &'static str,
}

/// A person as WhatsApp shows them to a business.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    /// In E.164.
    pub number: String,
    pub user_id: String,
    pub name: String,
    /// The number is not shown.
    pub hidden: bool,
}

impl Person {
    /// The person who has this number.
    pub fn of(core: &Core, number: &str) -> Self {
        let handset = core.phones.get(number);
        let own = handset.as_deref();
        Self {
            number: number.to_owned(),
            user_id: own.and_then(|h| h.user_id.clone()).unwrap_or_else(|| made_user_id(number)),
            name: own.and_then(|h| h.name.clone()).unwrap_or_else(|| number.to_owned()),
            hidden: own.is_some_and(|h| h.hide_number),
        }
    }

    /// The number as WhatsApp writes it.
    pub fn wa_id(&self) -> &str {
        self.number.trim_start_matches('+')
    }

    fn contact(&self) -> Value {
        let mut contact = json!({ "profile": { "name": self.name }, "user_id": self.user_id });
        if !self.hidden {
            contact["wa_id"] = json!(self.wa_id());
        }
        contact
    }
}

/// The user id of a handset whose script gives none: stable, and convertible back by [`number_of_made_user_id`].
fn made_user_id(number: &str) -> String {
    let country = if number.starts_with("+91") { "IN" } else { "US" };
    format!("{country}.1349{}", number.trim_start_matches('+'))
}

/// The number in a user id that was made from a number.
pub(crate) fn number_of_made_user_id(user_id: &str) -> Option<String> {
    let number = format!("+{}", user_id.split_once(".1349")?.1);
    (made_user_id(&number) == user_id).then_some(number)
}

impl WhatsappMessage {
    /// The webhook that tells of what happened, when somebody is told.
    pub fn webhook(&self, core: &Arc<Core>, happening: &Happening, at: DateTime<Utc>) -> Option<Webhook> {
        match happening {
            Happening::Status(status, code) => {
                core.ledger.update(&self.id, |call| {
                    call.status = (*status).to_owned();
                    call.error_code = *code;
                });
                let value = json!({ "statuses": [self.status(status, *code, at)] });
                webhook(core, WebhookKind::Status, status, &self.id, value)
            }
            Happening::Reply(reply) => {
                let Some(content) = self.answer(core, reply) else {
                    core.ledger.count(|stats| stats.unplayable += 1);
                    tracing::warn!(message.id = %self.id, "the scripted choice is not in this message");
                    return None;
                };
                inbound(core, &self.person, content, at)
            }
        }
    }

    fn status(&self, status: &str, code: Option<u32>, at: DateTime<Utc>) -> Value {
        let mut entry = json!({
            "id": self.id, "status": status, "timestamp": at.timestamp().to_string(), "recipient_user_id": self.person.user_id,
        });
        if !self.person.hidden {
            entry["recipient_id"] = json!(self.person.wa_id());
        }
        if let Some(reference) = &self.reference {
            entry["biz_opaque_callback_data"] = json!(reference);
        }
        match code {
            Some(code) => entry["errors"] = json!([failure(code)]),
            None => {
                let free = self.category == "service";
                let kind = if free { "free_customer_service" } else { "regular" };
                entry["pricing"] =
                    json!({ "billable": !free, "pricing_model": "PMP", "category": self.category, "type": kind });
            }
        }
        entry
    }

    /// The content of an answer; a chosen button or row quotes the message that had it.
    fn answer(&self, core: &Core, reply: &Reply) -> Option<Value> {
        let Some(choice) = &reply.choose else {
            return Some(json!({ "type": "text", "text": { "body": reply.text.as_deref().unwrap_or_default() } }));
        };
        let chosen = match choice {
            Choice::Place(place) => self.choices.get(place.checked_sub(1)?)?,
            Choice::Named(name) => self.choices.iter().find(|c| c.id == *name || c.title == *name)?,
        };
        let mut content = touched(chosen);
        content["context"] = json!({ "from": core.config.meta.display_number, "id": self.id });
        Some(content)
    }
}

/// The content of the message that touching a button or row sends.
pub(crate) fn touched(chosen: &Touchable) -> Value {
    let mut reply = json!({ "id": chosen.id, "title": chosen.title });
    if let Some(description) = &chosen.description {
        reply["description"] = json!(description);
    }
    match chosen.kind {
        TouchKind::Button => {
            json!({ "type": "interactive", "interactive": { "type": "button_reply", "button_reply": reply } })
        }
        TouchKind::Row => {
            json!({ "type": "interactive", "interactive": { "type": "list_reply", "list_reply": reply } })
        }
        TouchKind::Template => json!({ "type": "button", "button": { "payload": chosen.id, "text": chosen.title } }),
    }
}

/// The webhook of a message from a person; the person's service window opens.
pub(crate) fn inbound(core: &Core, person: &Person, content: Value, at: DateTime<Utc>) -> Option<Webhook> {
    core.phones.person_wrote(&person.number, at);
    core.ledger.count(|stats| stats.inbound += 1);
    let id = wamid(person.wa_id());
    let mut message = content;
    message["id"] = json!(id);
    message["timestamp"] = json!(at.timestamp().to_string());
    message["from_user_id"] = json!(person.user_id);
    if !person.hidden {
        message["from"] = json!(person.wa_id());
    }
    let event = message["type"].as_str().unwrap_or("unknown").to_owned();
    webhook(core, WebhookKind::Inbound, &event, &id, json!({ "contacts": [person.contact()], "messages": [message] }))
}

/// A new message id in Meta's form: `wamid.` and base64 of a binary structure that holds the number.
pub(crate) fn wamid(wa_id: &str) -> String {
    use base64::Engine as _;
    let mut inner = vec![0x1d, 0x07, wa_id.len().min(255) as u8];
    inner.extend_from_slice(wa_id.as_bytes());
    inner.extend_from_slice(Uuid::new_v4().as_bytes());
    format!("wamid.{}", base64::engine::general_purpose::STANDARD.encode(inner))
}

fn webhook(core: &Core, kind: WebhookKind, event: &str, about: &str, mut value: Value) -> Option<Webhook> {
    let meta = &core.config.meta;
    let url = meta.webhook.clone()?;
    value["messaging_product"] = json!("whatsapp");
    value["metadata"] = json!({ "display_phone_number": meta.display_number, "phone_number_id": meta.phone_number_id });
    let entry = json!({ "id": meta.business_account_id, "changes": [{ "value": value, "field": "messages" }] });
    Some(Webhook {
        channel: Provider::Whatsapp,
        kind,
        event: event.to_owned(),
        about: about.to_owned(),
        method: Method::POST,
        url,
        body: Body::Json(json!({ "object": "whatsapp_business_account", "entry": [entry] }).to_string()),
        policy: Policy::Meta { retry_for: meta.retry_for },
        tries: 0,
        begun: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_user_id_leads_back_to_its_number() {
        let id = made_user_id("+919800000001");
        assert_eq!(id, "IN.1349919800000001");
        assert_eq!(number_of_made_user_id(&id).as_deref(), Some("+919800000001"));
        assert_eq!(number_of_made_user_id("IN.7777"), None);
    }
}

//! Content as the Cloud API wants it, within its limits. Labels are shortened by characters, never by bytes, or Hindi
//! breaks; words that are too long are refused, because half a message is another message.
//!
//! Limits: <https://developers.facebook.com/docs/whatsapp/cloud-api/reference/messages>.

use domain::{
    channel::AddressKind,
    delivery::FailureClass,
    message::{Choice, Content},
};
use serde_json::{Value, json};

use super::{
    super::{Outbound, Refusal},
    echo,
};

const TEXT: usize = 4096;
const INTERACTIVE_TEXT: usize = 1024;
const LINE: usize = 60;
const BUTTONS: usize = 3;
const ROWS: usize = 10;
const BUTTON_TITLE: usize = 20;
const ROW_TITLE: usize = 24;
const ROW_DESCRIPTION: usize = 72;
const BUTTON_ID: usize = 256;
const ROW_ID: usize = 200;

/// The label that opens a list when the content names none.
const LIST_LABEL: &str = "\u{2261}";

/// The body of one request.
pub(super) fn write(outbound: &Outbound) -> Result<Value, Refusal> {
    let mut payload = match &outbound.content {
        Content::ProviderTemplate { name, language, parameters, button_payloads, .. } => {
            template(name, language, parameters, button_payloads)
        }
        Content::Choices { text, header, footer, list_button, choices } if !choices.is_empty() => {
            let body = within("the text above the choices", text, INTERACTIVE_TEXT)?;
            let action = if choices.len() <= BUTTONS && list_button.is_none() {
                buttons(choices)?
            } else {
                list(list_button.as_deref(), choices)?
            };
            interactive(body, header.as_deref(), footer.as_deref(), action)
        }
        Content::Media { mime_type, reference, caption, file_name } => {
            media(mime_type, reference, caption.as_deref(), file_name.as_deref())
        }
        Content::Location { latitude_micro, longitude_micro, name } => json!({"type": "location", "location": {
            "latitude": f64::from(*latitude_micro) / 1e6, "longitude": f64::from(*longitude_micro) / 1e6, "name": name}}),
        other => {
            let words = other.plain_text();
            json!({"type": "text", "text": {"body": within("the text", &words, TEXT)?, "preview_url": false}})
        }
    };
    payload["messaging_product"] = json!("whatsapp");
    payload["recipient_type"] = json!("individual");
    payload["biz_opaque_callback_data"] = json!(echo::token(outbound.delivery_id, outbound.attempt));
    match outbound.to.kind {
        AddressKind::Phone => payload["to"] = json!(outbound.to.value.trim_start_matches('+')),
        // A person without a phone number is named by another field; `to` would be read as a number.
        AddressKind::WhatsappUser => payload["recipient"] = json!(outbound.to.value),
        AddressKind::Email | AddressKind::External => {
            return Err(refused(FailureClass::FallOver, "address_kind", "a mail address has no WhatsApp"));
        }
    }
    if let Some(id) = &outbound.in_reply_to {
        payload["context"] = json!({"message_id": id});
    }
    if outbound.from.is_empty() || !outbound.from.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        let words = "the channel's own address must be its phone number id";
        return Err(refused(FailureClass::ParkChannel, "phone_number_id", words));
    }
    Ok(payload)
}

fn template(name: &str, language: &str, parameters: &[String], button_payloads: &[String]) -> Value {
    let mut components = Vec::new();
    if !parameters.is_empty() {
        let parameters: Vec<_> = parameters.iter().map(|text| json!({"type": "text", "text": text})).collect();
        components.push(json!({"type": "body", "parameters": parameters}));
    }
    components.extend(button_payloads.iter().enumerate().map(|(index, payload)| {
        json!({"type": "button", "sub_type": "quick_reply", "index": index.to_string(),
            "parameters": [{"type": "payload", "payload": payload}]})
    }));
    json!({"type": "template", "template": {"name": name, "language": {"code": language}, "components": components}})
}

fn interactive(body: &str, header: Option<&str>, footer: Option<&str>, (kind, action): (&str, Value)) -> Value {
    let mut interactive = json!({"type": kind, "body": {"text": body}, "action": action});
    if let Some(header) = header.filter(|text| !text.is_empty()) {
        interactive["header"] = json!({"type": "text", "text": short(header, LINE)});
    }
    if let Some(footer) = footer.filter(|text| !text.is_empty()) {
        interactive["footer"] = json!({"text": short(footer, LINE)});
    }
    json!({"type": "interactive", "interactive": interactive})
}

fn buttons(choices: &[Choice]) -> Result<(&'static str, Value), Refusal> {
    let buttons = choices.iter().map(|choice| {
        let id = within("the id of a button", &choice.id, BUTTON_ID)?;
        Ok(json!({"type": "reply", "reply": {"id": id, "title": short(&choice.title, BUTTON_TITLE)}}))
    });
    Ok(("button", json!({"buttons": buttons.collect::<Result<Vec<_>, Refusal>>()?})))
}

fn list(label: Option<&str>, choices: &[Choice]) -> Result<(&'static str, Value), Refusal> {
    if choices.len() > ROWS {
        return Err(refused(FailureClass::Permanent, "too_many_choices", "a list holds at most 10 choices"));
    }
    let rows = choices.iter().map(|choice| {
        let id = within("the id of a choice", &choice.id, ROW_ID)?;
        let mut row = json!({"id": id, "title": short(&choice.title, ROW_TITLE)});
        if let Some(description) = choice.description.as_deref().filter(|text| !text.is_empty()) {
            row["description"] = json!(short(description, ROW_DESCRIPTION));
        }
        Ok(row)
    });
    let rows = rows.collect::<Result<Vec<_>, Refusal>>()?;
    let label = short(label.unwrap_or(LIST_LABEL), BUTTON_TITLE);
    Ok(("list", json!({"button": label, "sections": [{"rows": rows}]})))
}

fn media(mime_type: &str, reference: &str, caption: Option<&str>, file_name: Option<&str>) -> Value {
    let major = mime_type.split('/').next().unwrap_or_default();
    let kind = ["image", "video", "audio"].into_iter().find(|kind| *kind == major).unwrap_or("document");
    let key = if reference.starts_with("https://") { "link" } else { "id" };
    let mut file = json!({key: reference});
    if let Some(caption) = caption.filter(|_| kind != "audio") {
        file["caption"] = json!(caption);
    }
    if let Some(name) = file_name.filter(|_| kind == "document") {
        file["filename"] = json!(name);
    }
    json!({"type": kind, kind: file})
}

fn short(text: &str, characters: usize) -> String {
    if text.chars().count() <= characters {
        return text.to_owned();
    }
    text.chars().take(characters - 1).chain(['\u{2026}']).collect()
}

fn within<'a>(what: &str, text: &'a str, characters: usize) -> Result<&'a str, Refusal> {
    match text.chars().count() {
        0 => Err(refused(FailureClass::Permanent, "empty", &format!("{what} is empty"))),
        n if n > characters => {
            let words = format!("{what} has {n} characters, more than {characters}");
            Err(refused(FailureClass::Permanent, "too_long", &words))
        }
        _ => Ok(text),
    }
}

fn refused(class: FailureClass, code: &str, detail: &str) -> Refusal {
    Refusal::own(class, code, detail)
}

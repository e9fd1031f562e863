//! Reads and checks the body of `POST /{phone-number-id}/messages`, with the limits that Meta documents.
//!
//! Pure: JSON in, a checked message or Meta's refusal out. Lengths count characters, never bytes.

use serde_json::Value;

use super::errors::MetaError;
use crate::config::MetaTemplate;

/// A message that passed the checks.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Checked {
    /// `to` or `recipient` as it was given.
    pub recipient: String,
    /// The text as the person sees it.
    pub body: String,
    /// Whether it is a template, which may be sent at any time.
    pub template: bool,
    /// What the person can touch.
    pub choices: Vec<Touchable>,
    /// `biz_opaque_callback_data`.
    pub reference: Option<String>,
}

/// A button or row of a message.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Touchable {
    pub kind: TouchKind,
    pub id: String,
    pub title: String,
    pub description: Option<String>,
}

/// How touching it comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TouchKind {
    /// `interactive.button_reply`.
    Button,
    /// `interactive.list_reply`.
    Row,
    /// `button`, from a template.
    Template,
}

const TYPES: &[&str] = &[
    "text",
    "template",
    "interactive",
    "image",
    "video",
    "audio",
    "document",
    "sticker",
    "location",
    "contacts",
    "reaction",
];

/// Checks a request's body.
///
/// # Errors
/// Meta's refusal of the first thing that is wrong, as Meta does.
pub(crate) fn check(body: &Value, templates: &[MetaTemplate]) -> Result<Checked, MetaError> {
    if !body.is_object() {
        return Err(MetaError::field("The request body must be a JSON object."));
    }
    if body["messaging_product"] != "whatsapp" {
        return Err(MetaError::field("The parameter messaging_product is required and must be whatsapp."));
    }
    let recipient =
        [&body["to"], &body["recipient"]].into_iter().find_map(Value::as_str).unwrap_or_default().to_owned();
    if recipient.is_empty() {
        return Err(MetaError::field("The parameter to is required."));
    }
    if body["recipient_type"].as_str().is_some_and(|kind| kind != "individual") {
        return Err(MetaError::field("Param recipient_type must be one of {INDIVIDUAL}."));
    }
    let reference = body["biz_opaque_callback_data"].as_str().map(str::to_owned);
    if reference.as_ref().is_some_and(|text| text.chars().count() > 512) {
        return Err(MetaError::field("Param biz_opaque_callback_data must be at most 512 characters long."));
    }
    let kind = body["type"].as_str().unwrap_or("text");
    if !TYPES.contains(&kind) {
        return Err(MetaError::field(format!(
            "Param type must be one of {{{}}} - got \"{kind}\".",
            TYPES.join(", ").to_uppercase()
        )));
    }
    let content = &body[kind];
    let present = content.is_object() || (kind == "contacts" && content.is_array());
    if !present {
        return Err(MetaError::field(format!("The parameter {kind} is required for a message of type {kind}.")));
    }
    let (body, choices) = match kind {
        "text" => (text(content, "text['body']", "body", 4096)?, Vec::new()),
        "template" => template(content, templates)?,
        "interactive" => interactive(content)?,
        _ => (media(kind, content)?, Vec::new()),
    };
    Ok(Checked { recipient, body, template: kind == "template", choices, reference })
}

fn text(object: &Value, place: &str, key: &str, longest: usize) -> Result<String, MetaError> {
    let text = object[key].as_str().unwrap_or_default();
    if text.is_empty() {
        return Err(MetaError::field(format!("The parameter {place} is required.")));
    }
    if text.chars().count() > longest {
        return Err(MetaError::field(format!("Param {place} must be at most {longest} characters long.")));
    }
    Ok(text.to_owned())
}

fn invalid(details: impl Into<String>) -> MetaError {
    MetaError::new(131009, details)
}

/// A part of an interactive message whose length is limited.
fn limited(object: &Value, key: &str, what: &str, longest: usize) -> Result<String, MetaError> {
    let text = object[key].as_str().unwrap_or_default();
    let length = text.chars().count();
    if length == 0 || length > longest {
        return Err(invalid(format!("{what} length invalid. Min length: 1, Max length: {longest}")));
    }
    Ok(text.to_owned())
}

fn template(content: &Value, templates: &[MetaTemplate]) -> Result<(String, Vec<Touchable>), MetaError> {
    let name = text(content, "template['name']", "name", 512)?;
    let language = content["language"]["code"].as_str().filter(|code| !code.is_empty());
    let language =
        language.ok_or_else(|| MetaError::field("The parameter template['language']['code'] is required."))?;
    let components = content["components"].as_array().map(Vec::as_slice).unwrap_or_default();
    let approved = templates.iter().find(|known| known.name == name && known.language == language);
    if approved.is_none() && !templates.is_empty() {
        return Err(MetaError::new(132001, format!("template name ({name}) does not exist in {language}")));
    }
    let mut parameters = Vec::new();
    for part in components.iter().filter(|part| is(part, "type", "body")) {
        for parameter in part["parameters"].as_array().into_iter().flatten() {
            parameters.push(template_parameter(parameter)?);
        }
    }
    if let Some(wanted) = approved.map(|known| known.parameters).filter(|wanted| *wanted != parameters.len()) {
        let details = format!(
            "body: number of localizable_params ({}) does not match the expected number of params ({wanted})",
            parameters.len()
        );
        return Err(MetaError::new(132000, details));
    }
    let touched = template_buttons(components, approved)?;
    let mut shown = format!("[{name}/{language}]");
    parameters.iter().for_each(|parameter| shown.extend([" ", parameter]));
    Ok((shown, touched))
}

fn template_parameter(parameter: &Value) -> Result<String, MetaError> {
    match parameter["type"].as_str().unwrap_or_default() {
        "text" => parameter["text"]
            .as_str()
            .filter(|t| !t.is_empty())
            .map(str::to_owned)
            .ok_or_else(|| MetaError::new(131008, "Parameter of type text is missing text value")),
        kind @ ("currency" | "date_time") => {
            Ok(parameter[kind]["fallback_value"].as_str().unwrap_or_default().to_owned())
        }
        kind @ ("image" | "video" | "document" | "location") => Ok(format!("<{kind}>")),
        other => Err(MetaError::field(format!(
            "Param template['components'][0]['parameters'][0]['type'] is not valid - got \"{other}\"."
        ))),
    }
}

/// The quick reply buttons: their payloads from the request, or their own texts where the request gives none.
fn template_buttons(components: &[Value], approved: Option<&MetaTemplate>) -> Result<Vec<Touchable>, MetaError> {
    let touch = |id: String, title: String| Touchable { kind: TouchKind::Template, id, title, description: None };
    let mut found: Vec<Touchable> =
        approved.iter().flat_map(|known| &known.buttons).map(|text| touch(text.clone(), text.clone())).collect();
    for part in components.iter().filter(|part| is(part, "type", "button") && is(part, "sub_type", "quick_reply")) {
        let index = match &part["index"] {
            Value::String(text) => text.parse::<usize>().ok(),
            number => number.as_u64().and_then(|n| usize::try_from(n).ok()),
        };
        let index = index.filter(|at| *at < 10).ok_or_else(|| invalid("Button index invalid. Min: 0, Max: 9"))?;
        let payload = part["parameters"][0]["payload"]
            .as_str()
            .ok_or_else(|| MetaError::new(131008, "Button payload is missing"))?;
        if payload.chars().count() > 256 {
            return Err(invalid("Button payload length invalid. Min length: 1, Max length: 256"));
        }
        while found.len() <= index {
            found.push(touch(String::new(), String::new()));
        }
        let button = &mut found[index];
        button.id = payload.to_owned();
        if button.title.is_empty() {
            button.title = payload.to_owned();
        }
    }
    Ok(found)
}

fn interactive(content: &Value) -> Result<(String, Vec<Touchable>), MetaError> {
    let kind = content["type"].as_str().unwrap_or_default();
    let body = limited(&content["body"], "text", "Body text", if kind == "list" { 4096 } else { 1024 })?;
    if content["header"].is_object() && is(&content["header"], "type", "text") {
        limited(&content["header"], "text", "Header text", 60)?;
    }
    if content["footer"].is_object() {
        limited(&content["footer"], "text", "Footer text", 60)?;
    }
    let choices = match kind {
        "button" => buttons(&content["action"])?,
        "list" => rows(&content["action"])?,
        "cta_url" | "flow" | "location_request_message" => Vec::new(),
        other => {
            return Err(MetaError::field(format!(
                "Param interactive['type'] must be one of {{BUTTON, LIST, CTA_URL, FLOW, LOCATION_REQUEST_MESSAGE}} - got \"{other}\"."
            )));
        }
    };
    Ok((body, choices))
}

fn buttons(action: &Value) -> Result<Vec<Touchable>, MetaError> {
    let given = action["buttons"].as_array().map(Vec::as_slice).unwrap_or_default();
    if given.is_empty() || given.len() > 3 {
        return Err(invalid("Invalid buttons count. Min allowed buttons: 1, Max allowed buttons: 3"));
    }
    let mut found: Vec<Touchable> = Vec::new();
    for button in given {
        if !is(button, "type", "reply") {
            return Err(invalid("Button type is not valid: only reply is allowed"));
        }
        let id = limited(&button["reply"], "id", "Button id", 256)?;
        let title = limited(&button["reply"], "title", "Button title", 20)?;
        found.push(Touchable { kind: TouchKind::Button, id, title, description: None });
    }
    unique(found, "Button")
}

fn rows(action: &Value) -> Result<Vec<Touchable>, MetaError> {
    limited(action, "button", "Button text", 20)?;
    let sections = action["sections"].as_array().map(Vec::as_slice).unwrap_or_default();
    if sections.is_empty() || sections.len() > 10 {
        return Err(invalid("Invalid sections count. Min allowed sections: 1, Max allowed sections: 10"));
    }
    let mut found = Vec::new();
    for section in sections {
        if sections.len() > 1 || section["title"].is_string() {
            limited(section, "title", "Section title", 24)?;
        }
        for row in section["rows"].as_array().into_iter().flatten() {
            let id = limited(row, "id", "Row id", 200)?;
            let title = limited(row, "title", "Row title", 24)?;
            let described = row["description"].is_string();
            let description = described.then(|| limited(row, "description", "Row description", 72)).transpose()?;
            found.push(Touchable { kind: TouchKind::Row, id, title, description });
        }
    }
    if found.is_empty() || found.len() > 10 {
        return Err(invalid("Total row count exceed max allowed count: 10, min allowed count: 1"));
    }
    unique(found, "Row")
}

fn unique(found: Vec<Touchable>, what: &str) -> Result<Vec<Touchable>, MetaError> {
    let repeated = found.iter().enumerate().any(|(at, one)| found[..at].iter().any(|other| other.id == one.id));
    if repeated { Err(invalid(format!("{what} ids must be unique"))) } else { Ok(found) }
}

fn media(kind: &str, content: &Value) -> Result<String, MetaError> {
    let file = matches!(kind, "image" | "video" | "audio" | "document" | "sticker");
    if file && !content["id"].is_string() && !content["link"].is_string() {
        return Err(MetaError::field(format!("The parameter {kind}['id'] or {kind}['link'] is required.")));
    }
    if kind == "location" && !(content["latitude"].is_number() && content["longitude"].is_number()) {
        return Err(MetaError::field("The parameters location['latitude'] and location['longitude'] are required."));
    }
    if content["caption"].as_str().is_some_and(|caption| caption.chars().count() > 1024) {
        return Err(MetaError::field(format!("Param {kind}['caption'] must be at most 1024 characters long.")));
    }
    Ok(content["caption"].as_str().map_or_else(|| format!("<{kind}>"), str::to_owned))
}

fn is(object: &Value, key: &str, word: &str) -> bool {
    object[key].as_str().is_some_and(|found| found.eq_ignore_ascii_case(word))
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;

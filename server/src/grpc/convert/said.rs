//! What was said, read from a request: contents of messages of the past, each within the limits that the contract names.

use base64::{Engine, engine::general_purpose::STANDARD};
use domain::message::{Attachment, CallEventKind, Choice, Content, FormField};
use proto::v1::{self, content as c};

use super::Faults;

/// The longest text, in characters, and the longest mail.
const MAX_TEXT: usize = 4096;
const MAX_MAIL: usize = 1_000_000;
const MAX_LINE: usize = 500;
const MAX_NAME: usize = 200;
const MAX_REFERENCE: usize = 2048;
const MAX_CHOICES: usize = 10;
const MAX_NUMBERS: usize = 20;
const MAX_FIELDS: usize = 100;
/// The biggest files of one mail together, in bytes.
const MAX_ATTACHED: usize = 5 * 1024 * 1024;
const MAX_ATTACHMENTS: usize = 10;

/// The content of a message that a person or the business has said.
pub fn content(field: &str, given: Option<v1::Content>, faults: &mut Faults) -> Option<Content> {
    let Some(body) = given.and_then(|content| content.body) else {
        faults.note(field, "is missing: exactly one kind of content must be set");
        return None;
    };
    faults.inside(field, |faults| said(body, faults))
}

fn said(body: c::Body, faults: &mut Faults) -> Option<Content> {
    Some(match body {
        c::Body::Text(c::Text { text }) => Content::Text { text: faults.required_text("text.text", text, MAX_TEXT) },
        c::Body::Email(mail) => faults.inside("email", |faults| email(mail, faults)),
        c::Body::Choices(given) => faults.inside("choices", |faults| with_choices(given, faults)),
        c::Body::ProviderTemplate(given) => faults.inside("provider_template", |faults| Content::ProviderTemplate {
            name: faults.required_text("name", given.name, MAX_LINE),
            language: faults.required_text("language", given.language, MAX_NAME),
            parameters: given.parameters,
            button_payloads: given.button_payloads,
            text: faults.required_text("text", given.text, MAX_TEXT),
        }),
        c::Body::Voice(given) => faults.inside("voice", |faults| Content::Voice {
            say: faults.required_text("say", given.say, MAX_TEXT),
            language: faults.locale("language", &given.language),
            keys: choices("keys", given.keys, faults),
            repeat: u8::try_from(given.repeat.clamp(1, 5)).unwrap_or(1),
            thanks: given.thanks,
        }),
        c::Body::Chosen(c::Chosen { id, title }) => Content::Chosen {
            id: faults.required_text("chosen.id", id, MAX_NAME),
            title: faults.required_text("chosen.title", title, MAX_NAME),
        },
        c::Body::Key(c::Key { digits }) => {
            Content::Key { digits: faults.required_text("key.digits", digits, MAX_NAME) }
        }
        c::Body::Media(given) => faults.inside("media", |faults| Content::Media {
            mime_type: faults.required_text("mime_type", given.mime_type, MAX_NAME),
            reference: faults.required_text("reference", given.reference, MAX_REFERENCE),
            caption: given.caption.map(|caption| faults.text("caption", caption, MAX_TEXT)),
            file_name: given.file_name.map(|name| faults.text("file_name", name, MAX_NAME)),
        }),
        c::Body::Location(given) => faults.inside("location", |faults| location(given, faults)),
        c::Body::ContactCard(given) => faults.inside("contact_card", |faults| card(given, faults)),
        c::Body::CallEvent(given) => {
            let event = faults.code("call_event.kind", given.kind, call_event)?;
            Content::CallEvent { event, seconds: given.seconds, recording: given.recording }
        }
        c::Body::FormAnswer(given) => faults.inside("form_answer", |faults| form(given, faults)),
        c::Body::Unsupported(given) => {
            Content::Unsupported { text: faults.required_text("unsupported.text", given.text, MAX_TEXT) }
        }
        c::Body::Note(c::Note { text }) => Content::Note { text: faults.required_text("note.text", text, MAX_TEXT) },
        c::Body::System(_) | c::Body::Redacted(_) => {
            faults.note("", "is of a kind that only the server writes");
            return None;
        }
    })
}

fn email(mail: c::Email, faults: &mut Faults) -> Content {
    let (count, size) = (mail.attachments.len(), mail.attachments.iter().map(|file| file.data.len()).sum::<usize>());
    if count > MAX_ATTACHMENTS || size > MAX_ATTACHED {
        faults.note(
            "attachments",
            format!("are {count} with {size} bytes; at most {MAX_ATTACHMENTS} with {MAX_ATTACHED} fit"),
        );
    }
    let file = |file: v1::Attachment| Attachment {
        file_name: file.file_name,
        mime_type: file.mime_type,
        data_base64: STANDARD.encode(file.data),
    };
    Content::Email {
        subject: faults.required_text("subject", mail.subject, MAX_LINE),
        text: faults.text("text", mail.text, MAX_MAIL),
        html: mail.html.map(|html| faults.text("html", html, MAX_MAIL)),
        attachments: mail.attachments.into_iter().map(file).collect(),
    }
}

fn with_choices(given: c::Choices, faults: &mut Faults) -> Content {
    if given.choices.is_empty() {
        faults.note("choices", "is empty");
    }
    Content::Choices {
        text: faults.required_text("text", given.text, MAX_TEXT),
        header: given.header,
        footer: given.footer,
        list_button: given.list_button,
        choices: choices("choices", given.choices, faults),
    }
}

fn choices(field: &str, given: Vec<v1::Choice>, faults: &mut Faults) -> Vec<Choice> {
    at_most(field, given.len(), MAX_CHOICES, faults);
    let mut read = Vec::with_capacity(given.len());
    for (i, one) in given.into_iter().enumerate() {
        read.push(Choice {
            id: faults.required_text(&format!("{field}[{i}].id"), one.id, MAX_NAME),
            title: faults.required_text(&format!("{field}[{i}].title"), one.title, MAX_NAME),
            description: one.description,
        });
    }
    read
}

fn location(given: c::Location, faults: &mut Faults) -> Content {
    for (field, value, limit) in
        [("latitude_micro", given.latitude_micro, 90_000_000), ("longitude_micro", given.longitude_micro, 180_000_000)]
    {
        if !(-limit..=limit).contains(&value) {
            faults.note(field, format!("is {value}, must be from -{limit} to {limit}"));
        }
    }
    Content::Location {
        latitude_micro: given.latitude_micro,
        longitude_micro: given.longitude_micro,
        name: given.name.map(|name| faults.text("name", name, MAX_LINE)),
    }
}

fn card(given: c::ContactCard, faults: &mut Faults) -> Content {
    at_most("phones", given.phones.len(), MAX_NUMBERS, faults);
    at_most("emails", given.emails.len(), MAX_NUMBERS, faults);
    Content::ContactCard {
        name: faults.required_text("name", given.name, MAX_NAME),
        phones: given.phones,
        emails: given.emails,
        organisation: given.organisation.map(|name| faults.text("organisation", name, MAX_NAME)),
    }
}

fn form(given: c::FormAnswer, faults: &mut Faults) -> Content {
    at_most("fields", given.fields.len(), MAX_FIELDS, faults);
    let mut fields = Vec::with_capacity(given.fields.len());
    for (i, field) in given.fields.into_iter().enumerate() {
        fields.push(FormField {
            name: faults.required_text(&format!("fields[{i}].name"), field.name, MAX_NAME),
            label: field.label.map(|label| faults.text(&format!("fields[{i}].label"), label, MAX_LINE)),
            value: faults.text(&format!("fields[{i}].value"), field.value, MAX_TEXT),
        });
    }
    Content::FormAnswer { form: faults.required_text("form", given.form, MAX_NAME), fields }
}

fn at_most(field: &str, count: usize, limit: usize, faults: &mut Faults) {
    if count > limit {
        faults.note(field, format!("has {count} entries, at most {limit} are allowed"));
    }
}

const fn call_event(kind: c::call_event::Kind) -> Option<CallEventKind> {
    match kind {
        c::call_event::Kind::Unspecified => None,
        c::call_event::Kind::Answered => Some(CallEventKind::Answered),
        c::call_event::Kind::Missed => Some(CallEventKind::Missed),
        c::call_event::Kind::Refused => Some(CallEventKind::Refused),
        c::call_event::Kind::Ended => Some(CallEventKind::Ended),
        c::call_event::Kind::Recorded => Some(CallEventKind::Recorded),
    }
}

/// What happened in a call, in the contract.
#[must_use]
pub const fn of_call_event(event: CallEventKind) -> c::call_event::Kind {
    match event {
        CallEventKind::Answered => c::call_event::Kind::Answered,
        CallEventKind::Missed => c::call_event::Kind::Missed,
        CallEventKind::Refused => c::call_event::Kind::Refused,
        CallEventKind::Ended => c::call_event::Kind::Ended,
        CallEventKind::Recorded => c::call_event::Kind::Recorded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grpc::convert::content::message;

    #[test]
    fn every_kind_that_is_said_comes_back_as_it_went() {
        let said = [
            Content::Text { text: "Hello".into() },
            Content::ContactCard {
                name: "Ravi".into(),
                phones: vec!["+91 1".into()],
                emails: vec![],
                organisation: None,
            },
            Content::CallEvent { event: CallEventKind::Missed, seconds: Some(7), recording: None },
            Content::FormAnswer {
                form: "damage".into(),
                fields: vec![FormField { name: "street".into(), label: None, value: "Mill Road".into() }],
            },
            Content::Location { latitude_micro: 1, longitude_micro: -1, name: None },
            Content::Note { text: "call back".into() },
        ];
        for given in said {
            let mut faults = Faults::default();
            assert_eq!(content("content", Some(message(given.clone())), &mut faults), Some(given));
            assert!(faults.is_empty());
        }
    }

    #[test]
    fn every_fault_is_named_with_its_path() {
        let place = Content::Location { latitude_micro: 91_000_000, longitude_micro: 181_000_000, name: None };
        let mut faults = Faults::default();
        content("rows[2].content", Some(message(place)), &mut faults);
        content("content", Some(message(Content::Redacted {})), &mut faults);
        content("content", None, &mut faults);
        let fields: Vec<String> = faults.into_violations().into_iter().map(|v| v.field).collect();
        let wanted = [
            "rows[2].content.location.latitude_micro",
            "rows[2].content.location.longitude_micro",
            "content",
            "content",
        ];
        assert_eq!(fields, wanted);
    }
}

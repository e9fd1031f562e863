//! What is said: contents of messages, and the bodies of templates, which have the same shape.

use base64::{Engine, engine::general_purpose::STANDARD};
use domain::{
    message::{Attachment, Choice, Content, FormField},
    template::{Body, ChoiceTemplate},
};
use proto::v1::{self, content as c};

use super::{Faults, said};

/// The body of a template. Kinds that only people send, and attachments, are refused: a template cannot hold them.
pub fn body(field: &str, given: Option<v1::Content>, faults: &mut Faults) -> Option<Body> {
    let Some(body) = given.and_then(|content| content.body) else {
        faults.note(field, "is missing: exactly one kind of content must be set");
        return None;
    };
    match body {
        c::Body::Text(c::Text { text }) => Some(Body::Text { text }),
        c::Body::Email(mail) => {
            if !mail.attachments.is_empty() {
                faults.note(
                    format!("{field}.email.attachments"),
                    "belong to a notification, a template cannot hold them",
                );
            }
            Some(Body::Email { subject: mail.subject, text: mail.text, html: mail.html })
        }
        c::Body::Choices(c::Choices { text, header, footer, list_button, choices }) => Some(Body::Choices {
            text,
            header,
            footer,
            list_button,
            choices: choices.into_iter().map(choice).collect(),
        }),
        c::Body::ProviderTemplate(c::ProviderTemplate { name, language, parameters, button_payloads, text }) => {
            Some(Body::ProviderTemplate { name, language, parameters, button_payloads, text })
        }
        c::Body::Voice(voice) => Some(Body::Voice {
            say: voice.say,
            language: voice.language,
            keys: voice.keys.into_iter().map(choice).collect(),
            repeat: u8::try_from(voice.repeat.max(1)).unwrap_or(u8::MAX),
            thanks: voice.thanks,
        }),
        c::Body::Chosen(_)
        | c::Body::Key(_)
        | c::Body::Media(_)
        | c::Body::Location(_)
        | c::Body::ContactCard(_)
        | c::Body::CallEvent(_)
        | c::Body::FormAnswer(_)
        | c::Body::Unsupported(_) => {
            faults.note(field, "is of a kind that only people send");
            None
        }
        c::Body::Note(_) | c::Body::System(_) | c::Body::Redacted(_) => {
            faults.note(field, "is of a kind that is never sent");
            None
        }
    }
}

/// What is said in a message of ours: the same kinds, as they are, with no variables.
pub fn said(field: &str, given: Option<v1::Content>, faults: &mut Faults) -> Option<Content> {
    body(field, given, faults).map(Content::from)
}

fn choice(choice: v1::Choice) -> ChoiceTemplate {
    ChoiceTemplate { id: choice.id, title: choice.title, description: choice.description }
}

/// The body of a template in the contract.
#[must_use]
pub fn of_body(body: Body) -> v1::Content {
    message(Content::from(body))
}

/// A content of the contract.
#[must_use]
pub fn message(content: Content) -> v1::Content {
    let body = match content {
        Content::Text { text } => c::Body::Text(c::Text { text }),
        Content::Email { subject, text, html, attachments } => {
            let attachments = attachments.into_iter().map(attachment).collect();
            c::Body::Email(c::Email { subject, text, html, attachments })
        }
        Content::Choices { text, header, footer, list_button, choices } => c::Body::Choices(c::Choices {
            text,
            header,
            footer,
            list_button,
            choices: choices.into_iter().map(of_choice).collect(),
        }),
        Content::ProviderTemplate { name, language, parameters, button_payloads, text } => {
            c::Body::ProviderTemplate(c::ProviderTemplate { name, language, parameters, button_payloads, text })
        }
        Content::Voice { say, language, keys, repeat, thanks } => c::Body::Voice(c::Voice {
            say,
            language,
            keys: keys.into_iter().map(of_choice).collect(),
            repeat: repeat.into(),
            thanks,
        }),
        Content::Chosen { id, title } => c::Body::Chosen(c::Chosen { id, title }),
        Content::Key { digits } => c::Body::Key(c::Key { digits }),
        Content::Media { mime_type, reference, caption, file_name } => {
            c::Body::Media(c::Media { mime_type, reference, caption, file_name })
        }
        Content::Location { latitude_micro, longitude_micro, name } => {
            c::Body::Location(c::Location { latitude_micro, longitude_micro, name })
        }
        Content::ContactCard { name, phones, emails, organisation } => {
            c::Body::ContactCard(c::ContactCard { name, phones, emails, organisation })
        }
        Content::CallEvent { event, seconds, recording } => {
            c::Body::CallEvent(c::CallEvent { kind: said::of_call_event(event).into(), seconds, recording })
        }
        Content::FormAnswer { form, fields } => {
            let field = |f: FormField| c::form_answer::Field { name: f.name, label: f.label, value: f.value };
            c::Body::FormAnswer(c::FormAnswer { form, fields: fields.into_iter().map(field).collect() })
        }
        Content::Note { text } => c::Body::Note(c::Note { text }),
        Content::System { text } => c::Body::System(c::System { text }),
        Content::Redacted {} => c::Body::Redacted(c::Redacted {}),
        Content::Unsupported { text } => c::Body::Unsupported(c::Unsupported { text }),
    };
    v1::Content { body: Some(body) }
}

fn of_choice(choice: Choice) -> v1::Choice {
    v1::Choice { id: choice.id, title: choice.title, description: choice.description }
}

fn attachment(file: Attachment) -> v1::Attachment {
    let data = STANDARD.decode(&file.data_base64).unwrap_or_default();
    v1::Attachment { file_name: file.file_name, mime_type: file.mime_type, data }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_come_back_as_they_went() {
        let choice = || ChoiceTemplate { id: "1".into(), title: "Yes".into(), description: None };
        let bodies: [Body; 4] = [
            Body::Text { text: "Hello {{ name }}".into() },
            Body::Email { subject: "s".into(), text: "t".into(), html: Some("<p>h</p>".into()) },
            Body::Choices {
                text: "?".into(),
                header: None,
                footer: Some("f".into()),
                list_button: None,
                choices: vec![choice()],
            },
            Body::Voice {
                say: "Press one".into(),
                language: "en-IN".into(),
                keys: vec![choice()],
                repeat: 2,
                thanks: None,
            },
        ];
        for given in bodies {
            let mut faults = Faults::default();
            assert_eq!(body("content", Some(of_body(given.clone())), &mut faults), Some(given));
            assert!(faults.is_empty());
        }
    }

    #[test]
    fn what_only_people_send_is_no_template() {
        let mut faults = Faults::default();
        let key = v1::Content { body: Some(c::Body::Key(c::Key { digits: "1".into() })) };
        assert_eq!(body("content", Some(key), &mut faults), None);
        assert_eq!(body("content", None, &mut faults), None);
        assert_eq!(faults.len(), 2);
    }
}

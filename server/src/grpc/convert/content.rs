//! What was said, from the domain to the contract.

use base64::{Engine, engine::general_purpose::STANDARD};
use domain::message::{Attachment, Choice, Content};
use proto::v1::{self, content::Body};

/// A content of the contract.
#[must_use]
pub fn message(content: Content) -> v1::Content {
    let body = match content {
        Content::Text { text } => Body::Text(v1::content::Text { text }),
        Content::Email { subject, text, html, attachments } => Body::Email(v1::content::Email {
            subject,
            text,
            html,
            attachments: attachments.into_iter().map(attachment).collect(),
        }),
        Content::Choices { text, header, footer, list_button, choices: all } => {
            Body::Choices(v1::content::Choices { text, header, footer, list_button, choices: choices(all) })
        }
        Content::ProviderTemplate { name, language, parameters, button_payloads, text } => {
            Body::ProviderTemplate(v1::content::ProviderTemplate { name, language, parameters, button_payloads, text })
        }
        Content::Voice { say, language, keys, repeat, thanks } => {
            Body::Voice(v1::content::Voice { say, language, keys: choices(keys), repeat: u32::from(repeat), thanks })
        }
        Content::Chosen { id, title } => Body::Chosen(v1::content::Chosen { id, title }),
        Content::Key { digits } => Body::Key(v1::content::Key { digits }),
        Content::Media { mime_type, reference, caption, file_name } => {
            Body::Media(v1::content::Media { mime_type, reference, caption, file_name })
        }
        Content::Location { latitude_micro, longitude_micro, name } => {
            Body::Location(v1::content::Location { latitude_micro, longitude_micro, name })
        }
        Content::Unsupported { text } => Body::Unsupported(v1::content::Unsupported { text }),
    };
    v1::Content { body: Some(body) }
}

fn choices(all: Vec<Choice>) -> Vec<v1::Choice> {
    let choice = |c: Choice| v1::Choice { id: c.id, title: c.title, description: c.description };
    all.into_iter().map(choice).collect()
}

/// Bytes that are no base64 were never sent, and are shown as none.
fn attachment(file: Attachment) -> v1::Attachment {
    let data = STANDARD.decode(&file.data_base64).unwrap_or_default();
    v1::Attachment { file_name: file.file_name, mime_type: file.mime_type, data }
}

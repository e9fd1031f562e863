//! Writes the mail: one recipient, text with an HTML alternative, attachments, and the headers that keep machines polite.
//!
//! `Auto-Submitted` stops robots from answering (RFC 3834); `List-Unsubscribe` with its `-Post` lets a mail program
//! unsubscribe with one click (RFC 8058); the Message-ID is made from the delivery, so an attempt more is the same mail.

use base64::{Engine, engine::general_purpose::STANDARD};
use domain::{
    channel::AddressKind,
    delivery::FailureClass::{FallOver, ParkChannel, Permanent},
    message::{Attachment, Content},
};
use lettre::{
    Message,
    message::{
        Attachment as Part, Mailbox, MultiPart, SinglePart,
        header::{ContentType, HeaderName, HeaderValue},
    },
};
use reqwest::Url;

use super::{
    super::{Outbound, Refusal},
    replies::local,
};

/// How many characters of the words become a subject that is missing.
const SUBJECT_LENGTH: usize = 70;

/// What the settings say of every mail.
#[derive(Debug)]
pub(super) struct Manner {
    /// The domain in Message-IDs; empty for that of the sender.
    pub(super) message_id_domain: String,
    /// The subject of content that has none; empty for its first words.
    pub(super) default_subject: String,
}

/// A mail, ready to go.
#[derive(Debug)]
pub(super) struct Mail {
    /// The Message-ID with its angle brackets.
    pub(super) message_id: String,
    /// The mail.
    pub(super) message: Message,
}

/// Writes a mail, or says what makes it impossible.
pub(super) fn mail(manner: &Manner, outbound: &Outbound) -> Result<Mail, Refusal> {
    if outbound.to.kind != AddressKind::Email {
        return Err(local(FallOver, "address_kind", "only a mail address can be mailed to"));
    }
    let from: Mailbox = outbound.from.parse().map_err(|_| {
        local(ParkChannel, "sender", "the channel's own address must be a mailbox: Name <a@example.org>")
    })?;
    let to = outbound.to.value.parse().map_err(|_| local(FallOver, "address", "the address is not valid"))?;
    let domain = match manner.message_id_domain.as_str() {
        "" => from.email.domain(),
        domain => domain,
    };
    let message_id = format!("<{}@{domain}>", outbound.delivery_id);
    let mut builder = Message::builder()
        .message_id(Some(message_id.clone()))
        .from(from)
        .to(Mailbox::new(None, to))
        .subject(subject(manner, &outbound.content))
        .raw_header(header("Auto-Submitted", "auto-generated")?);
    if let Some(id) = outbound.in_reply_to.as_deref().filter(|id| is_message_id(id)) {
        builder = builder.in_reply_to(id.to_owned()).references(id.to_owned());
    }
    if let Some(link) = &outbound.unsubscribe_url {
        builder = builder
            .raw_header(header("List-Unsubscribe", &format!("<{}>", unsubscribe(link)?))?)
            .raw_header(header("List-Unsubscribe-Post", "List-Unsubscribe=One-Click")?);
    }
    let message = match body(&outbound.content)? {
        Body::One(part) => builder.singlepart(part),
        Body::Many(parts) => builder.multipart(parts),
    };
    let message = message.map_err(|_| local(Permanent, "mail", "the mail cannot be written"))?;
    Ok(Mail { message_id, message })
}

enum Body {
    One(SinglePart),
    Many(MultiPart),
}

fn body(content: &Content) -> Result<Body, Refusal> {
    let Content::Email { text, html, attachments, .. } = content else {
        return Ok(Body::One(SinglePart::plain(content.plain_text())));
    };
    let words = match html {
        Some(html) => Body::Many(MultiPart::alternative_plain_html(text.clone(), html.clone())),
        None => Body::One(SinglePart::plain(text.clone())),
    };
    if attachments.is_empty() {
        return Ok(words);
    }
    let mut mixed = match words {
        Body::One(part) => MultiPart::mixed().singlepart(part),
        Body::Many(parts) => MultiPart::mixed().multipart(parts),
    };
    for file in attachments {
        mixed = mixed.singlepart(attachment(file)?);
    }
    Ok(Body::Many(mixed))
}

fn attachment(file: &Attachment) -> Result<SinglePart, Refusal> {
    let problem = |words: &str| local(Permanent, "attachment", words);
    let kind =
        ContentType::parse(&file.mime_type).map_err(|_| problem("the MIME type of an attachment is not valid"))?;
    let bytes = STANDARD.decode(&file.data_base64).map_err(|_| problem("the bytes of an attachment are not base64"))?;
    Ok(Part::new(one_line(&file.file_name)).body(bytes, kind))
}

fn subject(manner: &Manner, content: &Content) -> String {
    match content {
        Content::Email { subject, .. } => one_line(subject),
        _ if !manner.default_subject.is_empty() => manner.default_subject.clone(),
        other => {
            let words = other.plain_text();
            one_line(words.lines().next().unwrap_or_default()).chars().take(SUBJECT_LENGTH).collect()
        }
    }
}

/// A header is one line: what follows a line end would be another header.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn unsubscribe(link: &str) -> Result<String, Refusal> {
    // A line of a mail holds at most 998 characters (RFC 5322, section 2.1.1).
    let url = Url::parse(link).ok().filter(|url| matches!(url.scheme(), "https" | "http") && url.as_str().len() <= 900);
    let url = url.ok_or_else(|| local(Permanent, "unsubscribe_url", "the unsubscribe link is not a web address"))?;
    Ok(url.to_string())
}

fn header(name: &'static str, value: &str) -> Result<HeaderValue, Refusal> {
    let name = HeaderName::new_from_ascii(name.to_owned());
    let name = name.map_err(|_| local(Permanent, "header", "a header cannot be written"))?;
    // Folding would break a link, and it holds nothing that must be encoded.
    Ok(HeaderValue::dangerous_new_pre_encoded(name, value.to_owned(), value.to_owned()))
}

fn is_message_id(id: &str) -> bool {
    id.starts_with('<') && id.ends_with('>') && id.contains('@') && id.bytes().all(|byte| byte.is_ascii_graphic())
}

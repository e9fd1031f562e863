//! What a channel type can carry: lengths in characters (never bytes), numbers of choices, parts of a short message.
//!
//! Bodies that are too long are refused, because half a sentence may say the opposite; labels are cut ([`fit`]), because a
//! long place name in a button must not cost a person the message. The figures are those of Meta's Cloud API reference
//! (messages, interactive), of 3GPP TS 23.040 for short messages, and Twilio's `<Say>`.

use crate::channel::ChannelType;
use crate::locale::Locale;
use crate::message::{Choice, Content};
use crate::sms;
use crate::violation::Violation;

/// The most parts of one short message.
pub const MAX_SMS_PARTS: u16 = 10;
/// The characters of a WhatsApp text.
pub const MAX_WHATSAPP_TEXT: usize = 4096;
/// The characters of a WhatsApp message with choices, and of an approved template.
pub const MAX_WHATSAPP_BODY: usize = 1024;
/// The characters of a header or footer on WhatsApp.
pub const MAX_WHATSAPP_LINE: usize = 60;
/// The buttons of a WhatsApp message; more choices are a list.
pub const MAX_BUTTONS: usize = 3;
/// The rows of a WhatsApp list.
pub const MAX_ROWS: usize = 10;
/// The characters of a button, and of the label that opens a list.
pub const MAX_BUTTON_TITLE: usize = 20;
/// The characters of a row's title.
pub const MAX_ROW_TITLE: usize = 24;
/// The characters of a row's description.
pub const MAX_ROW_DESCRIPTION: usize = 72;
/// The characters of a choice's payload.
pub const MAX_CHOICE_ID: usize = 200;
/// The characters of a Telegram message.
pub const MAX_TELEGRAM_TEXT: usize = 4096;
/// The characters of a message in a web chat or over a connector of one's own.
pub const MAX_OPEN_TEXT: usize = 16_000;
/// The characters of a mail's subject.
pub const MAX_SUBJECT: usize = 250;
/// The characters of each part of a mail.
pub const MAX_EMAIL_PART: usize = 200_000;
/// The characters that are said in one go in a call.
pub const MAX_SPEECH: usize = 4000;

/// One way in which a content does not fit its channel type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Breach {
    /// Longer than the channel type allows.
    TooLong {
        /// The path of the field, such as `choices[1].title`.
        field: String,
        /// The most that is allowed.
        limit: usize,
        /// How much there is.
        actual: usize,
        /// What is counted: `characters`, `parts`, `choices`.
        unit: &'static str,
    },
    /// Wrong in another way.
    Wrong(Violation),
}

impl From<Breach> for Violation {
    fn from(breach: Breach) -> Self {
        match breach {
            Breach::TooLong { field, limit, actual, unit } => {
                Self::new(field, format!("has {actual} {unit}, at most {limit} are allowed"))
            }
            Breach::Wrong(violation) => violation,
        }
    }
}

/// Cuts a text to at most `max` characters; the last is an ellipsis when something was cut.
#[must_use]
pub fn cut(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    let kept: String = text.chars().take(max.saturating_sub(1)).collect();
    if max == 0 { kept } else { format!("{}\u{2026}", kept.trim_end()) }
}

/// Makes fit what may be changed without changing what is said: labels are cut, lines are joined where a provider or a header
/// allows only one.
#[must_use]
pub fn fit(channel_type: ChannelType, content: Content) -> Content {
    match content {
        Content::Email { subject, text, html, attachments } => {
            Content::Email { subject: one_line(&subject), text, html, attachments }
        }
        Content::ProviderTemplate { name, language, parameters, button_payloads, text } => {
            let parameters = parameters.iter().map(|p| one_line(p)).collect();
            Content::ProviderTemplate { name, language, parameters, button_payloads, text }
        }
        Content::Choices { text, header, footer, list_button, choices } if channel_type == ChannelType::Whatsapp => {
            let title = if is_list(list_button.as_ref(), &choices) { MAX_ROW_TITLE } else { MAX_BUTTON_TITLE };
            let line = |label: Option<String>, max| label.map(|l| cut(&one_line(&l), max)).filter(|l| !l.is_empty());
            let choice = |c: Choice| Choice {
                id: c.id,
                title: cut(&one_line(&c.title), title),
                description: line(c.description, MAX_ROW_DESCRIPTION),
            };
            Content::Choices {
                text,
                header: line(header, MAX_WHATSAPP_LINE),
                footer: line(footer, MAX_WHATSAPP_LINE),
                list_button: line(list_button, MAX_BUTTON_TITLE),
                choices: choices.into_iter().map(choice).collect(),
            }
        }
        other => other,
    }
}

/// A WhatsApp message with choices is a list when it has a label that opens one, or too many choices for buttons.
fn is_list(list_button: Option<&String>, choices: &[Choice]) -> bool {
    list_button.is_some() || choices.len() > MAX_BUTTONS
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Everything that keeps a content from being sent on a channel type; empty when it can be sent.
#[must_use]
pub fn check(channel_type: ChannelType, content: &Content) -> Vec<Breach> {
    let mut found = Breaches(Vec::new());
    match (channel_type, content) {
        (ChannelType::Whatsapp, Content::Text { text }) => found.body("text", text, MAX_WHATSAPP_TEXT),
        (ChannelType::Whatsapp, Content::Choices { .. }) => found.whatsapp_choices(content),
        (ChannelType::Whatsapp, Content::ProviderTemplate { .. }) => found.provider_template(content),
        (ChannelType::Sms, Content::Text { .. } | Content::Choices { .. }) => found.sms(content),
        (ChannelType::Email, Content::Email { subject, text, html, .. }) => {
            found.body("subject", subject, MAX_SUBJECT);
            if html.is_none() || !text.is_empty() {
                found.body("text", text, MAX_EMAIL_PART);
            }
            if let Some(html) = html {
                found.body("html", html, MAX_EMAIL_PART);
            }
        }
        (ChannelType::Voice, Content::Voice { .. }) => found.voice(content),
        (ChannelType::Telegram, Content::Text { .. } | Content::Choices { .. }) => {
            found.open(content, MAX_TELEGRAM_TEXT)
        }
        (ChannelType::Webchat | ChannelType::Webhook, Content::Text { .. } | Content::Choices { .. }) => {
            found.open(content, MAX_OPEN_TEXT);
        }
        (channel_type, _) => found.wrong("type", format!("is not a content that {channel_type} can carry")),
    }
    found.0
}

struct Breaches(Vec<Breach>);

impl Breaches {
    fn wrong(&mut self, field: impl Into<String>, description: impl Into<String>) {
        self.0.push(Breach::Wrong(Violation::new(field, description)));
    }

    fn at_most(&mut self, field: &str, actual: usize, limit: usize, unit: &'static str) {
        if actual > limit {
            self.0.push(Breach::TooLong { field: field.to_owned(), limit, actual, unit });
        }
    }

    /// A string that must be there and has a longest length in characters.
    fn body(&mut self, field: &str, text: &str, limit: usize) {
        if text.trim().is_empty() {
            self.wrong(field, "is empty");
        }
        self.at_most(field, text.chars().count(), limit, "characters");
    }

    fn line(&mut self, field: &str, text: Option<&String>, limit: usize) {
        if let Some(text) = text {
            self.body(field, text, limit);
        }
    }

    fn sms(&mut self, content: &Content) {
        if let Content::Choices { choices, .. } = content {
            self.choices("choices", choices, MAX_ROWS);
        }
        let text = content.plain_text();
        if text.trim().is_empty() {
            self.wrong("text", "is empty");
        }
        self.at_most("text", usize::from(sms::segments(&text).parts), usize::from(MAX_SMS_PARTS), "SMS parts");
    }

    /// Media whose messages have no form but ours: words, with or without choices.
    fn open(&mut self, content: &Content, limit: usize) {
        match content {
            Content::Choices { text, choices, .. } => {
                self.body("text", text, limit);
                self.choices("choices", choices, MAX_ROWS);
            }
            other => self.body("text", &other.plain_text(), limit),
        }
    }

    /// What holds for choices everywhere: some, not too many, each with an id of its own and a title.
    fn choices(&mut self, field: &str, choices: &[Choice], limit: usize) {
        if choices.is_empty() {
            self.wrong(field, "is empty");
        }
        self.at_most(field, choices.len(), limit, "choices");
        for (i, choice) in choices.iter().enumerate() {
            self.body(&format!("{field}[{i}].id"), &choice.id, MAX_CHOICE_ID);
            if choice.title.trim().is_empty() {
                self.wrong(format!("{field}[{i}].title"), "is empty");
            }
            if let Some(first) = choices[..i].iter().position(|c| c.id == choice.id) {
                self.wrong(format!("{field}[{i}].id"), format!("is the same as {field}[{first}].id"));
            }
        }
    }

    fn whatsapp_choices(&mut self, content: &Content) {
        let Content::Choices { text, header, footer, list_button, choices } = content else { return };
        let list = is_list(list_button.as_ref(), choices);
        self.body("text", text, MAX_WHATSAPP_BODY);
        self.line("header", header.as_ref(), MAX_WHATSAPP_LINE);
        self.line("footer", footer.as_ref(), MAX_WHATSAPP_LINE);
        self.line("list_button", list_button.as_ref(), MAX_BUTTON_TITLE);
        self.choices("choices", choices, MAX_ROWS);
        for (i, choice) in choices.iter().enumerate() {
            let title = format!("choices[{i}].title");
            let limit = if list { MAX_ROW_TITLE } else { MAX_BUTTON_TITLE };
            self.at_most(&title, choice.title.chars().count(), limit, "characters");
            // Meta refuses two buttons with one title, and a person could not tell them apart in a list either.
            if let Some(first) = choices[..i].iter().position(|c| c.title == choice.title) {
                self.wrong(title, format!("is the same as choices[{first}].title"));
            }
            let description = format!("choices[{i}].description");
            if choice.description.is_some() && !list {
                self.wrong(&description, "is shown in lists only: add a list_button or leave it out");
            }
            self.line(&description, choice.description.as_ref(), MAX_ROW_DESCRIPTION);
        }
    }

    fn provider_template(&mut self, content: &Content) {
        let Content::ProviderTemplate { name, language, parameters, button_payloads, text } = content else { return };
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        if name.is_empty() || name.len() > 512 || !name.bytes().all(allowed) {
            self.wrong("name", "must be the template's name at the provider: 1 to 512 of a-z, 0-9 and _");
        }
        self.language(language);
        for (i, parameter) in parameters.iter().enumerate() {
            self.body(&format!("parameters[{i}]"), parameter, MAX_WHATSAPP_BODY);
        }
        self.at_most("button_payloads", button_payloads.len(), MAX_ROWS, "payloads");
        for (i, payload) in button_payloads.iter().enumerate() {
            self.body(&format!("button_payloads[{i}]"), payload, MAX_CHOICE_ID);
        }
        self.body("text", text, MAX_WHATSAPP_BODY);
    }

    fn voice(&mut self, content: &Content) {
        let Content::Voice { say, language, keys, repeat, thanks } = content else { return };
        self.body("say", say, MAX_SPEECH);
        self.language(language);
        if !(1..=5).contains(repeat) {
            self.wrong("repeat", format!("is {repeat}, it must be 1 to 5"));
        }
        if !keys.is_empty() {
            self.choices("keys", keys, 10);
        }
        for (i, key) in keys.iter().enumerate() {
            if key.id.len() != 1 || !key.id.bytes().all(|b| b.is_ascii_digit()) {
                self.wrong(format!("keys[{i}].id"), "must be one digit, 0 to 9");
            }
        }
        self.line("thanks", thanks.as_ref(), MAX_SPEECH);
    }

    fn language(&mut self, language: &str) {
        if let Err(error) = Locale::parse(language) {
            self.wrong("language", error.to_string());
        }
    }
}

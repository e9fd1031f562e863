//! Templates: what a notification says, with variables, for each channel type and language; immutable versions.
//!
//! A [`TemplateVersion`] is data: it is stored as JSON and never changes. [`TemplateVersion::validate`] finds everything that
//! is wrong with one before it is stored; [`Compiled`] is built once for a version and renders it for one person at a time.
//! The strings are Jinja (`{{ name }}`, `{% if %}`, `{% for %}`) without access to files, other templates or macros; see
//! `engine.rs` for the filters, `limits.rs` for what a channel can carry.

mod check;
pub(crate) mod engine;
pub mod limits;
mod render;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::channel::ChannelType;
use crate::message::{Choice, Content};
pub(crate) use check::name_problem;
pub use render::{Compiled, RenderError, Rendered};

/// One version of a template: its variables, and its contents for channel types and languages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TemplateVersion {
    /// The language that is used for a person whose own is not among the contents: canonical, such as `en` or `hi-IN`.
    pub default_language: String,
    /// Every variable that the contents use.
    #[serde(default)]
    pub variables: Vec<Variable>,
    /// What is said: at most one content for a channel type and language.
    pub contents: Vec<ContentTemplate>,
}

/// A variable of a template.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Variable {
    /// Its name: letters, digits and `_`, not a digit first.
    pub name: String,
    /// Whether a send without it is refused. A variable that is neither required nor given, and has no default, is empty.
    #[serde(default)]
    pub required: bool,
    /// What stands for it when it is not given or null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<serde_json::Value>,
    /// A typical value: validation renders with it to see that the channel can carry the result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub example: Option<serde_json::Value>,
}

/// What a template says on one channel type in one language.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentTemplate {
    /// The channel type.
    pub channel_type: ChannelType,
    /// The language, canonical, such as `hi-IN`.
    pub language: String,
    /// The content.
    pub body: Body,
}

/// The contents that can be sent, each string a template; the shape of [`Content`] with `S` for the strings that vary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Body<S = String> {
    /// Words, for WhatsApp and SMS.
    Text {
        /// The words.
        text: S,
    },
    /// A mail.
    Email {
        /// The subject line; line breaks become spaces.
        subject: S,
        /// The plain-text part.
        text: S,
        /// The HTML part, where there is one: the only string whose variables are escaped for HTML.
        #[serde(default = "none", skip_serializing_if = "Option::is_none")]
        html: Option<S>,
    },
    /// Words with choices, for WhatsApp; for SMS they become numbered lines.
    Choices {
        /// The question.
        text: S,
        /// A line above.
        #[serde(default = "none", skip_serializing_if = "Option::is_none")]
        header: Option<S>,
        /// A line below.
        #[serde(default = "none", skip_serializing_if = "Option::is_none")]
        footer: Option<S>,
        /// The label that opens a list; with it, or with more than three choices, a list is sent.
        #[serde(default = "none", skip_serializing_if = "Option::is_none")]
        list_button: Option<S>,
        /// What can be chosen.
        choices: Vec<ChoiceTemplate<S>>,
    },
    /// A template that the provider holds and approved, for WhatsApp.
    ProviderTemplate {
        /// Its name at the provider: lower-case letters, digits and `_`.
        name: String,
        /// Its language at the provider, such as `en_US`.
        language: String,
        /// The parameters of its body, in order; line breaks and runs of spaces become one space, as the provider demands.
        #[serde(default = "Vec::new")]
        parameters: Vec<S>,
        /// The payloads of its quick-reply buttons, in order.
        #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
        button_payloads: Vec<S>,
        /// What it says, as the person will read it.
        text: S,
    },
    /// A script to be spoken in a call.
    Voice {
        /// What is said.
        say: S,
        /// The language of the speech, such as `hi-IN`.
        language: String,
        /// What may be pressed: the id is one digit, the title is what the key means.
        #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
        keys: Vec<ChoiceTemplate<S>>,
        /// How often the words are said when nothing is pressed, 1 to 5.
        repeat: u8,
        /// What is said after a key, where there is something to say.
        #[serde(default = "none", skip_serializing_if = "Option::is_none")]
        thanks: Option<S>,
    },
}

/// One thing that can be chosen, each string a template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChoiceTemplate<S = String> {
    /// What comes back: a payload, or the key to press.
    pub id: S,
    /// What the person sees or hears.
    pub title: S,
    /// A line beneath, in a list.
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub description: Option<S>,
}

/// `Option::none` for serde: deriving with a plain `default` would ask `S: Default`.
fn none<S>() -> Option<S> {
    None
}

impl<S> Body<S> {
    /// Turns each string into something else; `f` is told the path of the string inside the body, such as `choices[1].title`.
    pub(crate) fn try_map<T, E>(&self, f: &mut impl FnMut(&str, &S) -> Result<T, E>) -> Result<Body<T>, E> {
        Ok(match self {
            Self::Text { text } => Body::Text { text: f("text", text)? },
            Self::Email { subject, text, html } => Body::Email {
                subject: f("subject", subject)?,
                text: f("text", text)?,
                html: map_option("html", html.as_ref(), f)?,
            },
            Self::Choices { text, header, footer, list_button, choices } => Body::Choices {
                text: f("text", text)?,
                header: map_option("header", header.as_ref(), f)?,
                footer: map_option("footer", footer.as_ref(), f)?,
                list_button: map_option("list_button", list_button.as_ref(), f)?,
                choices: map_choices("choices", choices, f)?,
            },
            Self::ProviderTemplate { name, language, parameters, button_payloads, text } => Body::ProviderTemplate {
                name: name.clone(),
                language: language.clone(),
                parameters: map_list("parameters", parameters, f)?,
                button_payloads: map_list("button_payloads", button_payloads, f)?,
                text: f("text", text)?,
            },
            Self::Voice { say, language, keys, repeat, thanks } => Body::Voice {
                say: f("say", say)?,
                language: language.clone(),
                keys: map_choices("keys", keys, f)?,
                repeat: *repeat,
                thanks: map_option("thanks", thanks.as_ref(), f)?,
            },
        })
    }
}

fn map_option<S, T, E>(
    field: &str,
    value: Option<&S>,
    f: &mut impl FnMut(&str, &S) -> Result<T, E>,
) -> Result<Option<T>, E> {
    value.map(|s| f(field, s)).transpose()
}

fn map_list<S, T, E>(field: &str, list: &[S], f: &mut impl FnMut(&str, &S) -> Result<T, E>) -> Result<Vec<T>, E> {
    list.iter().enumerate().map(|(i, s)| f(&format!("{field}[{i}]"), s)).collect()
}

fn map_choices<S, T, E>(
    field: &str,
    choices: &[ChoiceTemplate<S>],
    f: &mut impl FnMut(&str, &S) -> Result<T, E>,
) -> Result<Vec<ChoiceTemplate<T>>, E> {
    let one = |(i, c): (usize, &ChoiceTemplate<S>)| {
        Ok(ChoiceTemplate {
            id: f(&format!("{field}[{i}].id"), &c.id)?,
            title: f(&format!("{field}[{i}].title"), &c.title)?,
            description: map_option(&format!("{field}[{i}].description"), c.description.as_ref(), f)?,
        })
    };
    choices.iter().enumerate().map(one).collect()
}

impl From<Body<String>> for Content {
    fn from(body: Body<String>) -> Self {
        let choices = |list: Vec<ChoiceTemplate>| {
            list.into_iter().map(|c| Choice { id: c.id, title: c.title, description: c.description }).collect()
        };
        match body {
            Body::Text { text } => Self::Text { text },
            Body::Email { subject, text, html } => Self::Email { subject, text, html, attachments: Vec::new() },
            Body::Choices { text, header, footer, list_button, choices: list } => {
                Self::Choices { text, header, footer, list_button, choices: choices(list) }
            }
            Body::ProviderTemplate { name, language, parameters, button_payloads, text } => {
                Self::ProviderTemplate { name, language, parameters, button_payloads, text }
            }
            Body::Voice { say, language, keys, repeat, thanks } => {
                Self::Voice { say, language, keys: choices(keys), repeat, thanks }
            }
        }
    }
}

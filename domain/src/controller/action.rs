//! What a controller can do, and which of its words are rendered.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The most characters of a text that a controller says or writes, before it is rendered.
pub const MAX_TEXT: usize = 4096;

/// One thing that a controller does. In a definition the fields marked *text* may hold variables; in a reaction they are rendered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Action {
    /// Says something in the conversation.
    SendMessage {
        /// What to say (text), 1 to 4096 characters.
        text: String,
        /// The slug of the channel; none: the active one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        channel: Option<String>,
    },
    /// Says what a template says, in the contact's language.
    SendTemplate {
        /// The slug of the template.
        template: String,
        /// Its variables (text).
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        variables: BTreeMap<String, String>,
        /// The slug of the channel; none: the active one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        channel: Option<String>,
    },
    /// Ends the contact's session on a channel, or all of them.
    EndSession {
        /// The slug of the channel; none: every session.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        channel: Option<String>,
    },
    /// Makes a channel the one on which the conversation goes on.
    SetActiveChannel {
        /// The slug of the channel.
        channel: String,
    },
    /// Notes something in the conversation's attributes.
    SetAttribute {
        /// The attribute.
        name: String,
        /// Its value (text); none removes it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        value: Option<String>,
    },
    /// Adds a label.
    AddLabel {
        /// The label.
        label: String,
    },
    /// Removes a label.
    RemoveLabel {
        /// The label.
        label: String,
    },
    /// Sets the priority.
    SetPriority {
        /// From 0 to 9; the higher, the earlier.
        priority: u8,
    },
    /// Puts the conversation on hold.
    Hold,
    /// Lets the conversation go on.
    Resume,
    /// Orders a flow from whoever runs flows: the event `start-flow-execution`. The conversation stays open until it ended.
    StartFlow {
        /// The name of the flow, as its engine knows it.
        flow: String,
        /// What the flow is given (text).
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        input: BTreeMap<String, String>,
    },
    /// Orders a ticket from whoever keeps tickets: the event `open-ticket`. The conversation stays open until it is closed.
    OpenTicket {
        /// The category, as the ticket system knows it.
        category: String,
        /// What it is about (text).
        subject: String,
    },
    /// Asks for a human operator. There are no operators yet: refused when the controller is checked.
    RequestOperator {
        /// The slug of the queue.
        queue: String,
    },
    /// Asks to close the conversation. What is open stands in the way, as for anyone who asks.
    Close,
    /// Calls a web address of the business.
    CallHttp {
        /// `POST`, `PUT` or `GET`.
        #[serde(default = "post")]
        method: String,
        /// The address: `https`, or `http` on this machine.
        url: String,
        /// What is sent, as JSON (text); none: the whole scene.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body: Option<String>,
        /// How long the answer may take, 1 to 10 seconds; 0 means 5.
        #[serde(default)]
        timeout_secs: u8,
        /// The attribute of the conversation that keeps the answer's body, cut at 1000 characters; none: it is not kept.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        into: Option<String>,
    },
}

fn post() -> String {
    "POST".to_owned()
}

impl Action {
    /// The texts that may hold variables, each with its field.
    pub(super) fn texts(&self) -> Vec<(String, &str)> {
        match self {
            Self::SendMessage { text, .. } => vec![("text".to_owned(), text)],
            Self::SendTemplate { variables, .. } => of_map(variables, "variables"),
            Self::StartFlow { input, .. } => of_map(input, "input"),
            Self::SetAttribute { value: Some(value), .. } => vec![("value".to_owned(), value)],
            Self::OpenTicket { subject, .. } => vec![("subject".to_owned(), subject)],
            Self::CallHttp { body: Some(body), .. } => vec![("body".to_owned(), body)],
            _ => Vec::new(),
        }
    }

    /// The same action with each of its texts replaced by what `render` makes of it.
    pub(super) fn with_texts<E>(&self, mut render: impl FnMut(&str) -> Result<String, E>) -> Result<Self, E> {
        let mut action = self.clone();
        match &mut action {
            Self::SendMessage { text, .. } => *text = render("text")?,
            Self::SendTemplate { variables, .. } => replace(variables, "variables", &mut render)?,
            Self::StartFlow { input, .. } => replace(input, "input", &mut render)?,
            Self::SetAttribute { value: Some(value), .. } => *value = render("value")?,
            Self::OpenTicket { subject, .. } => *subject = render("subject")?,
            Self::CallHttp { body: Some(body), .. } => *body = render("body")?,
            _ => {}
        }
        Ok(action)
    }
}

fn of_map<'a>(map: &'a BTreeMap<String, String>, field: &str) -> Vec<(String, &'a str)> {
    map.iter().map(|(key, value)| (format!("{field}.{key}"), value.as_str())).collect()
}

fn replace<E>(
    map: &mut BTreeMap<String, String>,
    field: &str,
    render: &mut impl FnMut(&str) -> Result<String, E>,
) -> Result<(), E> {
    for (key, value) in map {
        *value = render(&format!("{field}.{key}"))?;
    }
    Ok(())
}

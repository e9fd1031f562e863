//! Controllers that are ready to use, as the text in which people write them. Each is checked by a test.

/// A name, what it is for, and the controller as JSON.
#[derive(Debug, Clone, Copy)]
pub struct Example {
    /// The slug under which it may be stored.
    pub name: &'static str,
    /// What it does, in a sentence.
    pub about: &'static str,
    /// The version, as JSON.
    pub json: &'static str,
}

/// Every example.
pub const ALL: [Example; 4] = [
    Example {
        name: "greeting",
        about: "Greets whoever writes for the first time, by name where there is one.",
        json: r#"{ "rules": [
  { "name": "greet", "on": ["FIRST_MESSAGE"],
    "actions": [{ "do": "send_message",
                  "text": "Hello{% if contact.display_name %} {{ contact.display_name }}{% endif %}, how can we help you?" }] }
] }"#,
    },
    Example {
        name: "office-hours",
        about: "Says outside office hours when somebody will answer, once in a conversation.",
        json: r#"{ "hours": [{ "name": "office", "time_zone": "Asia/Kolkata", "open": ["mon-fri 09:00-17:00"] }],
  "rules": [
  { "name": "closed", "on": ["FIRST_MESSAGE", "MESSAGE"],
    "when": "not hours.office and conversation.attributes.told_closed != \"yes\"",
    "actions": [{ "do": "send_message",
                  "text": "Our office is open Monday to Friday from 9 to 17. We have your message and will answer then." },
                { "do": "set_attribute", "name": "told_closed", "value": "yes" },
                { "do": "add_label", "label": "out-of-hours" }] },
  { "name": "open-again", "on": ["MESSAGE"], "when": "hours.office and conversation.attributes.told_closed == \"yes\"",
    "actions": [{ "do": "set_attribute", "name": "told_closed" }] }
] }"#,
    },
    Example {
        name: "survey",
        about: "Asks how it was when the last agent has left, notes the answer, thanks, and closes.",
        json: r#"{ "rules": [
  { "name": "ask", "on": ["LAST_AGENT_LEFT"],
    "actions": [{ "do": "send_message", "text": "How satisfied are you, from 1 to 5?" },
                { "do": "set_attribute", "name": "survey", "value": "asked" }] },
  { "name": "note", "on": ["MESSAGE"],
    "when": "conversation.attributes.survey == \"asked\" and message.text|trim in [\"1\", \"2\", \"3\", \"4\", \"5\"]", "last": true,
    "actions": [{ "do": "set_attribute", "name": "survey", "value": "{{ message.text|trim }}" },
                { "do": "send_message", "text": "Thank you." },
                { "do": "close" }] }
] }"#,
    },
    Example {
        name: "closing",
        about: "Warns before a silent session ends, says goodbye when the conversation closes, and ends on the word \"bye\".",
        json: r#"{ "rules": [
  { "name": "still-there", "on": ["INACTIVITY_WARNING"],
    "actions": [{ "do": "send_message", "text": "Are you still there? Otherwise we end this chat soon." }] },
  { "name": "bye", "on": ["MESSAGE"], "when": "message.text|lower|trim == \"bye\"", "last": true,
    "actions": [{ "do": "send_message", "text": "Goodbye, and thank you." }, { "do": "close" }] }
] }"#,
    },
];

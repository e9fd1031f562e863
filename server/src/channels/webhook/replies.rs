//! What the far end's answer means: it may say so in JSON, and where it does not, its HTTP status does.

use std::time::Duration;

use domain::delivery::FailureClass;
use serde::Deserialize;

use super::super::{
    Refusal, Sent,
    wire::{self, Reply},
};

/// The longest wait that the far end may ask for, in seconds.
const MAX_RETRY_AFTER: u64 = 24 * 60 * 60;
/// Codes and words are cut here, in characters.
const MAX_WORDS: usize = 200;

#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    message_id: Option<String>,
    #[serde(default)]
    class: Option<String>,
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    detail: Option<String>,
    #[serde(default)]
    retry_after_seconds: Option<u64>,
}

/// How the call ended. `ours` is the id of a message to which the far end gives none.
pub(super) fn outcome(reply: &Reply, ours: String) -> Sent {
    let said: Option<Said> = reply.json();
    match (reply.status.is_success(), said) {
        (_, Some(said)) if said.status.as_deref() == Some("refused") => Sent::Refused(refusal(said, reply.retry_after)),
        (true, Some(said)) => match said.status.as_deref() {
            None | Some("accepted") => {
                let given = said.message_id.filter(|id| (1..=MAX_WORDS).contains(&id.len()));
                Sent::Accepted { provider_message_id: given.unwrap_or(ours) }
            }
            Some(_) => unknown("the answer has a status that is neither accepted nor refused"),
        },
        (true, None) if reply.body.iter().all(u8::is_ascii_whitespace) => Sent::Accepted { provider_message_id: ours },
        (true, None) => unknown("the answer is not the documented JSON: is this the right address?"),
        (false, _) => wire::by_status(reply),
    }
}

fn refusal(said: Said, header: Option<Duration>) -> Refusal {
    // A class of a newer or mistaken far end says at least that the message will not go.
    let class = said.class.as_deref().and_then(|class| class.parse().ok()).unwrap_or(FailureClass::Permanent);
    let own = said.retry_after_seconds.map(|secs| Duration::from_secs(secs.min(MAX_RETRY_AFTER)));
    let words = |text: Option<String>| text.unwrap_or_default().chars().take(MAX_WORDS).collect::<String>();
    let code = words(said.code);
    Refusal {
        class,
        code: if code.is_empty() { class.to_string() } else { code },
        detail: words(said.detail),
        retry_after: own.or(header),
    }
}

fn unknown(words: &str) -> Sent {
    Sent::Unknown { detail: words.to_owned() }
}

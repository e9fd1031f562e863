//! What a `<Gather>` hears, given what a person presses and when.
//!
//! Pure: the rules of Twilio's documentation of `<Gather>`, apart from speech recognition.

use std::time::Duration;

use super::twiml::{Gather, Verb};
use crate::script::KeyPress;

/// How a `<Gather>` ends.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Heard {
    /// How long after its beginning.
    pub after: Duration,
    /// The keys that go to the action; `None` lets the next verb follow.
    pub digits: Option<String>,
}

/// Plays one `<Gather>`.
pub(crate) fn listen(gather: &Gather, press: Option<&KeyPress>, per_character: Duration) -> Heard {
    let silence = gather.words.iter().map(|verb| length(verb, per_character)).sum::<Duration>() + gather.timeout;
    let nothing = Heard { after: silence, digits: gather.even_empty.then(String::new) };
    let Some(press) = press.filter(|press| gather.dtmf && !press.digits.is_empty() && press.after.0 <= silence) else {
        return nothing;
    };
    let mut digits = String::new();
    let mut complete = false;
    for key in press.digits.chars() {
        if Some(key) == gather.finish {
            complete = true;
        } else {
            digits.push(key);
            complete = gather.keys == Some(digits.len());
        }
        if complete {
            break;
        }
    }
    if digits.is_empty() {
        return Heard { after: press.after.0, ..nothing };
    }
    let after = if complete { press.after.0 } else { press.after.0 + gather.timeout };
    Heard { after, digits: Some(digits) }
}

/// How long a verb that only speaks takes.
pub(crate) fn length(verb: &Verb, per_character: Duration) -> Duration {
    match verb {
        Verb::Say { text, times } => {
            let characters = u32::try_from(text.chars().count()).unwrap_or(u32::MAX);
            per_character.saturating_mul(characters).saturating_mul(*times)
        }
        Verb::Pause(length) => *length,
        Verb::Play | Verb::Gather(_) | Verb::Redirect { .. } | Verb::Hangup | Verb::Other(_) => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::Span;

    fn gather(attributes: &str) -> Gather {
        let document = format!("<Response><Gather {attributes}><Say>0123456789</Say></Gather></Response>");
        match super::super::twiml::parse(&document).unwrap().remove(0) {
            Verb::Gather(gather) => gather,
            other => panic!("{other:?}"),
        }
    }

    fn heard(attributes: &str, digits: &str, after: u64) -> (u64, Option<String>) {
        let press = KeyPress { digits: digits.into(), after: Span::seconds(after) };
        let heard = listen(&gather(attributes), Some(&press), Duration::from_millis(100));
        (heard.after.as_secs(), heard.digits)
    }

    #[test]
    fn the_number_of_keys_or_the_finish_key_ends_it_at_once() {
        assert_eq!(heard("numDigits=\"1\"", "12", 2), (2, Some("1".into())));
        assert_eq!(heard("", "12#", 2), (2, Some("12".into())));
        assert_eq!(heard("finishOnKey=\"*\"", "1#*", 2), (2, Some("1#".into())));
    }

    #[test]
    fn open_ended_keys_wait_for_the_timeout() {
        assert_eq!(heard("timeout=\"3\"", "12", 2), (5, Some("12".into())));
        assert_eq!(heard("timeout=\"3\" finishOnKey=\"\"", "12#", 2), (5, Some("12#".into())));
    }

    #[test]
    fn silence_lasts_the_words_and_the_timeout() {
        assert_eq!(heard("timeout=\"3\"", "", 0), (4, None));
        assert_eq!(heard("timeout=\"3\"", "1", 5), (4, None), "the key came too late");
        assert_eq!(heard("timeout=\"3\" actionOnEmptyResult=\"true\"", "", 0), (4, Some(String::new())));
        assert_eq!(heard("input=\"speech\"", "1", 1).1, None);
        assert_eq!(heard("", "#", 1), (1, None), "the finish key alone is no input");
    }
}

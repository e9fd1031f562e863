//! When a contact who does not answer is warned, and when taken as gone.
//!
//! The clock of a session runs from our last message on, once the contact has written in the session: a session that only we
//! opened expires by no clock. It stands while the contact is the one who waits (for our answer, in a queue, on hold).

use chrono::{DateTime, TimeDelta, Utc};

use super::session::State;
use crate::channel::ChannelType;

/// How long a contact may be silent on a chat before it is taken as gone, where its channel says nothing else.
pub const CHAT: TimeDelta = TimeDelta::minutes(60);
/// When the warning is due, where its channel says nothing else: this share of the whole, in percent.
pub const WARNING_PERCENT: i32 = 80;

/// How long one waits for a visitor of a web chat who left, where its channel says nothing else: a page that is loaded anew.
pub const WEB_CHAT_RECONNECT: TimeDelta = TimeDelta::seconds(30);

/// How long one waits for a contact who left, on a channel of this type that says nothing else; none: not at all.
#[must_use]
pub const fn reconnect_default(channel_type: ChannelType) -> Option<TimeDelta> {
    match channel_type {
        ChannelType::Webchat => Some(WEB_CHAT_RECONNECT),
        ChannelType::Whatsapp
        | ChannelType::Telegram
        | ChannelType::Webhook
        | ChannelType::Sms
        | ChannelType::Voice
        | ChannelType::Email => None,
    }
}

/// How a channel wants its sessions to expire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// How long the contact may be silent; none: for ever.
    pub timeout: Option<TimeDelta>,
    /// When the warning is due, in percent of the timeout, 1 to 99; none: never.
    pub warning_percent: Option<i32>,
}

impl Rule {
    /// The rule of a channel type: chats expire after an hour; a mail or a text message may be answered days later.
    #[must_use]
    pub const fn default_of(channel_type: ChannelType) -> Self {
        let timeout = match channel_type.is_chat() {
            true => Some(CHAT),
            false => None,
        };
        Self { timeout, warning_percent: Some(WARNING_PERCENT) }
    }
}

/// What the clock of a session needs to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// Where the session stands.
    pub state: State,
    /// Since when the contact owes an answer; none while it owes none.
    pub silent_since: Option<DateTime<Utc>>,
    /// Whether the contact is held: on hold, or in a queue.
    pub paused: bool,
}

/// What is due next of a session, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Nothing: the clock stands.
    Nothing,
    /// The warning.
    Warning(DateTime<Utc>),
    /// The end.
    Expiry(DateTime<Utc>),
}

impl Due {
    /// When it is due.
    #[must_use]
    pub const fn at(self) -> Option<DateTime<Utc>> {
        match self {
            Self::Nothing => None,
            Self::Warning(at) | Self::Expiry(at) => Some(at),
        }
    }
}

/// What is due next. A warning whose time passed together with the expiry is left out: it would warn of what has happened.
#[must_use]
pub fn next(rule: Rule, clock: Clock, now: DateTime<Utc>) -> Due {
    let (Some(timeout), Some(since), true, false) =
        (rule.timeout, clock.silent_since, clock.state.is_open(), clock.paused)
    else {
        return Due::Nothing;
    };
    let expiry = since + timeout;
    let warning = rule.warning_percent.map(|percent| since + timeout / 100 * percent);
    match warning {
        Some(at) if clock.state == State::Active && now < expiry => Due::Warning(at),
        Some(_) | None => Due::Expiry(expiry),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::minutes(minutes)
    }

    const RULE: Rule = Rule { timeout: Some(CHAT), warning_percent: Some(WARNING_PERCENT) };

    #[test]
    fn a_silent_contact_is_warned_at_its_share_and_then_taken_as_gone() {
        let clock = Clock { state: State::Active, silent_since: Some(at(0)), paused: false };
        assert_eq!(next(RULE, clock, at(1)), Due::Warning(at(48)));
        assert_eq!(next(RULE, Clock { state: State::Expiring, ..clock }, at(48)), Due::Expiry(at(60)));
        assert_eq!(next(RULE, clock, at(90)), Due::Expiry(at(60)), "no warning of what has happened");
        assert_eq!(next(Rule { warning_percent: None, ..RULE }, clock, at(1)), Due::Expiry(at(60)));
    }

    #[test]
    fn the_clock_stands_while_the_contact_waits_is_held_or_gone() {
        let clock = Clock { state: State::Active, silent_since: Some(at(0)), paused: false };
        for standing in [
            Clock { silent_since: None, ..clock },
            Clock { paused: true, ..clock },
            Clock { state: State::Ended, ..clock },
        ] {
            assert_eq!(next(RULE, standing, at(500)), Due::Nothing, "{standing:?}");
        }
        assert_eq!(next(Rule { timeout: None, ..RULE }, clock, at(500)), Due::Nothing);
    }

    #[test]
    fn only_chats_expire_by_default() {
        assert_eq!(Rule::default_of(ChannelType::Whatsapp).timeout, Some(CHAT));
        for slow in [ChannelType::Sms, ChannelType::Voice, ChannelType::Email] {
            assert_eq!(Rule::default_of(slow).timeout, None, "{slow}");
        }
    }
}

//! How close messages to one person may follow each other, and how many people may be written to first in a day: WhatsApp's
//! pair limit and messaging limit. What is beyond them waits; nothing fails for it.
//!
//! Source: <https://developers.facebook.com/docs/whatsapp/cloud-api/overview>: one message in six seconds to one user, of which
//! up to 45 may be borrowed; and a number of people in 24 hours to whom the business writes first.

use chrono::{DateTime, DurationRound, TimeDelta, Utc};

use crate::channel::ChannelType;

/// One message to one person in this time.
pub const EVERY: TimeDelta = TimeDelta::seconds(6);
/// How many may be borrowed in a conversation, where a person waits.
const BORROWED: i32 = 45;
/// The stretch of the messaging limit.
pub const DAY: TimeDelta = TimeDelta::hours(24);

/// Whether messages of this type to one person must keep a distance at all.
#[must_use]
pub const fn applies(channel_type: ChannelType) -> bool {
    match channel_type {
        ChannelType::Whatsapp => true,
        ChannelType::Sms
        | ChannelType::Voice
        | ChannelType::Email
        | ChannelType::Telegram
        | ChannelType::Webchat
        | ChannelType::Webhook => false,
    }
}

/// How far ahead a pair may stand: its allowance is whole again at most this long after now when the next message goes. A
/// notification borrows nothing; in a conversation, where a person waits, as much as the provider lends goes.
#[must_use]
pub fn headroom(in_conversation: bool) -> TimeDelta {
    if in_conversation { EVERY * (BORROWED - 1) } else { TimeDelta::zero() }
}

/// The hour in which a first message is counted.
#[must_use]
pub fn hour_of(now: DateTime<Utc>) -> DateTime<Utc> {
    now.duration_trunc(TimeDelta::hours(1)).unwrap_or(now)
}

/// How many more people may be written to first, of a limit of which `used` are used up; none without a limit.
#[must_use]
pub fn left_today(limit: Option<i32>, used: i64) -> Option<i64> {
    limit.map(|limit| (i64::from(limit) - used).max(0))
}

/// How long until the next hour of a full day is free again, counted from `oldest`, its first hour with anything in it.
#[must_use]
pub fn until_free(oldest: Option<DateTime<Utc>>, now: DateTime<Utc>) -> TimeDelta {
    // An hour is forgotten when its last minute is a day old.
    let free = oldest.map_or(now, |oldest| oldest + TimeDelta::hours(1) + DAY);
    (free - now).max(TimeDelta::seconds(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notification_keeps_the_distance_and_a_conversation_may_borrow() {
        assert_eq!(headroom(false), TimeDelta::zero());
        assert_eq!(headroom(true), TimeDelta::seconds(264));
        assert!(applies(ChannelType::Whatsapp) && !applies(ChannelType::Sms));
    }

    #[test]
    fn a_day_that_is_full_says_when_its_first_hour_is_forgotten() {
        let now: DateTime<Utc> = "2026-11-20T10:40:00Z".parse().unwrap();
        assert_eq!(hour_of(now), "2026-11-20T10:00:00Z".parse::<DateTime<Utc>>().unwrap());
        let oldest = "2026-11-19T12:00:00Z".parse().ok();
        assert_eq!(until_free(oldest, now), TimeDelta::minutes(140));
        assert_eq!(until_free(None, now), TimeDelta::seconds(1));
        assert_eq!(
            (left_today(Some(250), 240), left_today(Some(250), 300), left_today(None, 9)),
            (Some(10), Some(0), None)
        );
    }
}

//! Which channel a conversation uses. It is always set: a message of the contact moves it, a person may set it, a message of
//! ours on another channel leaves it where it is.

use chrono::{DateTime, Utc};

/// An open channel session, as far as the active channel depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenSession {
    /// The channel.
    pub channel_id: i32,
    /// When something was last said in it.
    pub last_at: DateTime<Utc>,
}

/// The active channel after a session on `ended` is over: where it was the active one's last, the channel of the open session
/// in which something was said last; where none is open, the channel stays.
#[must_use]
pub fn after_end(active: i32, ended: i32, open: &[OpenSession]) -> i32 {
    if active != ended || open.iter().any(|session| session.channel_id == active) {
        return active;
    }
    open.iter().max_by_key(|session| session.last_at).map_or(active, |session| session.channel_id)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn open(channel_id: i32, minute: i64) -> OpenSession {
        OpenSession { channel_id, last_at: DateTime::UNIX_EPOCH + TimeDelta::minutes(minute) }
    }

    /// Case 12 of the edge cases.
    #[test]
    fn when_the_active_channels_session_ends_the_next_most_recent_follows_and_the_last_stays() {
        let cases = [
            (1, 1, vec![open(2, 1), open(3, 5)], 3),
            (1, 1, vec![], 1),
            (1, 2, vec![open(3, 5)], 1),
            (1, 1, vec![open(1, 0), open(3, 5)], 1),
        ];
        for (active, ended, open, expected) in cases {
            assert_eq!(after_end(active, ended, &open), expected, "{active} {ended} {open:?}");
        }
    }
}

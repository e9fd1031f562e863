//! What a capture records: one event for each changed row, and marks where rows may be missing.
//!
//! Plain data only. Where it comes from is `postgres::drain`; what becomes of it is the server's business.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// The server's key of a source: one Postgres database that is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SourceId(pub i64);

/// The server's key of a watch: one table of one source. Above 0, and never used again for another table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WatchId(pub i64);

impl fmt::Display for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for WatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A name that is in none of this crate's lists: written by a newer version, or a typing error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is not a known {list}")]
pub struct UnknownName {
    /// The list that was asked.
    pub list: &'static str,
    /// What was given.
    pub value: String,
}

/// Declares a closed list with one stable name for each value, used in SQL, JSON and logs alike.
macro_rules! names {
    ($(#[$meta:meta])* $name:ident, $list:literal { $($(#[$vmeta:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$vmeta])* #[serde(rename = $text)] $variant),+ }

        impl $name {
            /// Every value, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The stable name.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownName;

            fn from_str(text: &str) -> Result<Self, UnknownName> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    _ => Err(UnknownName { list: $list, value: text.to_owned() }),
                }
            }
        }
    };
}

names! {
    /// What was done to a row. `TRUNCATE` is not captured, and neither are writes of a session whose
    /// `session_replication_role` is `replica`.
    Operation, "operation" {
        /// The row is new.
        Insert = "INSERT",
        /// The row was changed.
        Update = "UPDATE",
        /// The row is gone.
        Delete = "DELETE",
    }
}

names! {
    /// Why an event carries less than its watch asked for.
    CaptureFault, "capture fault" {
        /// The row's columns in use are larger than `CaptureSchema::max_row_bytes`: only the primary key was kept.
        RowTooLarge = "ROW_TOO_LARGE",
    }
}

names! {
    /// Why rows may be missing.
    GapReason, "gap reason" {
        /// The outbox had reached its limit, because nobody drained it for long.
        OutboxFull = "OUTBOX_FULL",
        /// The capture failed, and the watch is not strict, so that the user's write went through without an event.
        CaptureFailed = "CAPTURE_FAILED",
    }
}

/// One changed row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CapturedEvent {
    /// Unique in its source for ever: a `UUIDv7` made of the time of capture (microseconds) and the position in the outbox, so
    /// that reading a row twice gives the same id, and a position that is used again (restored backup, capture installed
    /// anew) gives another.
    pub id: Uuid,
    /// The watch that asked for it. It may have been deleted since: such an event is to be dropped.
    pub watch: WatchId,
    /// What was done.
    pub operation: Operation,
    /// When the row was captured, by the source's clock; the transaction committed later.
    pub captured_at: DateTime<Utc>,
    /// The row after the operation, by column name; `None` for a delete. Only the columns in use. A column that does not exist
    /// any more (renamed, dropped) has no key, which is not the same as `null`.
    pub new: Option<Value>,
    /// The row before the operation; `None` for an insert.
    pub old: Option<Value>,
    /// Set if the rows above are cut.
    pub fault: Option<CaptureFault>,
}

impl CapturedEvent {
    /// The row that a mapping reads: the new one, or for a delete the old one.
    #[must_use]
    pub fn row(&self) -> Option<&Value> {
        self.new.as_ref().or(self.old.as_ref())
    }

    /// The id of the row at position `seq` of the outbox, captured at `captured_at`.
    #[must_use]
    pub(crate) fn id_of(captured_at: DateTime<Utc>, seq: i64) -> Uuid {
        let micros = captured_at.timestamp_micros().max(0).unsigned_abs();
        let (millis, rest) = (micros / 1000, micros % 1000);
        Uuid::from_u64_pair((millis << 16) | 0x7000 | rest, (0b10 << 62) | (seq.unsigned_abs() & (u64::MAX >> 2)))
    }
}

/// A mark that rows of one watch may be missing between two times.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Unique in its source; the same gap is reported again until it has ended.
    pub id: Uuid,
    /// The watch whose rows are missing.
    pub watch: WatchId,
    /// Why.
    pub reason: GapReason,
    /// What Postgres said, if the capture failed: SQLSTATE and message.
    pub detail: Option<String>,
    /// The first row that may be missing was written at or after this time.
    pub since: DateTime<Utc>,
    /// When capture was seen to work again; `None` while the gap is open.
    pub until: Option<DateTime<Utc>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_id_is_a_uuid_v7_that_tells_position_and_time_apart() {
        let at = DateTime::from_timestamp_micros(1_795_000_000_123_456).unwrap();
        let later = DateTime::from_timestamp_micros(1_795_000_000_123_457).unwrap();
        let id = CapturedEvent::id_of(at, 42);
        assert_eq!(id.get_version_num(), 7);
        assert_eq!(id.get_variant(), uuid::Variant::RFC4122);
        assert_eq!(id, CapturedEvent::id_of(at, 42));
        assert_ne!(id, CapturedEvent::id_of(at, 43));
        assert_ne!(id, CapturedEvent::id_of(later, 42));
    }

    #[test]
    fn every_name_reads_back() {
        for operation in Operation::ALL {
            assert_eq!(operation.as_str().parse::<Operation>().unwrap(), *operation);
        }
        assert!("TRUNCATE".parse::<Operation>().is_err());
    }
}

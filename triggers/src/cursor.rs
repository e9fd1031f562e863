//! How far a source has been read: not "the last id", which loses late commits, but the snapshot whose visible rows were taken.
//!
//! A transaction that took a low id and commits late is in the snapshot's list of open transactions, so that the next batch,
//! *what has become visible since*, finds it. A cursor is only meaningful in the database cluster that issued its transaction
//! ids, hence the [`Epoch`].

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A Postgres snapshot (`pg_snapshot`): the text form is Postgres's own, `xmin:xmax:xid,xid,...`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Snapshot {
    xmin: u64,
    xmax: u64,
    open: Vec<u64>,
}

/// A text that is not a `pg_snapshot`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a snapshot of the form xmin:xmax:xid,xid")]
pub struct InvalidSnapshot(String);

impl Snapshot {
    /// The snapshot in which nothing is visible: everything is still to be taken.
    #[must_use]
    pub const fn nothing() -> Self {
        Self { xmin: 1, xmax: 1, open: Vec::new() }
    }

    /// All transactions below this one have ended.
    #[must_use]
    pub const fn xmin(&self) -> u64 {
        self.xmin
    }

    /// No transaction at or above this one is visible.
    #[must_use]
    pub const fn xmax(&self) -> u64 {
        self.xmax
    }

    /// The transactions below `xmax` that were open.
    #[must_use]
    pub fn open(&self) -> &[u64] {
        &self.open
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:", self.xmin, self.xmax)?;
        for (i, xid) in self.open.iter().enumerate() {
            write!(f, "{}{xid}", if i == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl FromStr for Snapshot {
    type Err = InvalidSnapshot;

    fn from_str(text: &str) -> Result<Self, InvalidSnapshot> {
        let invalid = || InvalidSnapshot(text.to_owned());
        let mut parts = text.splitn(3, ':');
        let mut number = || parts.next().and_then(|part| part.parse::<u64>().ok()).ok_or_else(invalid);
        let (xmin, xmax) = (number()?, number()?);
        let open = parts.next().ok_or_else(invalid)?;
        let open: Vec<u64> = open
            .split(',')
            .filter(|xid| !xid.is_empty())
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map_err(|_| invalid())?;
        let ordered = open.windows(2).all(|pair| pair[0] < pair[1]);
        let inside = open.iter().all(|xid| (xmin..xmax).contains(xid));
        if xmin == 0 || xmin > xmax || !ordered || !inside {
            return Err(invalid());
        }
        Ok(Self { xmin, xmax, open })
    }
}

impl TryFrom<String> for Snapshot {
    type Error = InvalidSnapshot;

    fn try_from(text: String) -> Result<Self, InvalidSnapshot> {
        text.parse()
    }
}

impl From<Snapshot> for String {
    fn from(snapshot: Snapshot) -> Self {
        snapshot.to_string()
    }
}

/// In which life of which cluster a cursor was written. When any part differs, the whole outbox is read again and the sink
/// skips what it has: transaction ids of another life would skip rows in silence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Epoch {
    /// `pg_control_system().system_identifier`: another after dump and restore.
    pub system_identifier: String,
    /// The timeline of the write-ahead log: another after a promoted standby or a point-in-time recovery.
    pub timeline: String,
    /// Drawn when the capture's schema was created: another after the last watch was removed and a new one installed.
    pub generation: Uuid,
}

/// A place inside a snapshot that is too large for one batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The snapshot whose visible rows are being taken.
    pub target: Snapshot,
    /// Rows up to this outbox position are taken.
    pub after: i64,
}

/// How far one source has been read. Stored by the sink as JSON (`serde_json`), compared as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Where `taken` is meaningful.
    pub epoch: Epoch,
    /// Every row visible in this snapshot is stored.
    pub taken: Snapshot,
    /// Set while a batch stopped inside a later snapshot.
    pub inside: Option<Position>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_reads_back_what_postgres_writes() {
        for text in ["1:1:", "740:740:", "740:752:740,745,751"] {
            assert_eq!(text.parse::<Snapshot>().unwrap().to_string(), text);
        }
        for text in ["", "1", "1:2", "0:1:", "5:4:", "1:5:7", "1:9:4,3", "1:5:x", "1:5:2;drop"] {
            assert!(text.parse::<Snapshot>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_cursor_survives_json() {
        let cursor = Cursor {
            epoch: Epoch {
                system_identifier: "7710252697910447482".into(),
                timeline: "00000001".into(),
                generation: Uuid::nil(),
            },
            taken: "740:752:740,745".parse().unwrap(),
            inside: Some(Position { target: "760:760:".parse().unwrap(), after: 99 }),
        };
        let json = serde_json::to_value(&cursor).unwrap();
        assert_eq!(json["taken"], "740:752:740,745");
        assert_eq!(serde_json::from_value::<Cursor>(json).unwrap(), cursor);
    }
}

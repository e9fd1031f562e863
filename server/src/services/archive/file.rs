//! A file of the archive: lines of JSON, one a conversation, each packed by itself with zstd, one behind the other. So a file is what
//! `zstdcat` unpacks as a whole, and one conversation is read without the others.

use std::io::{Read, Write};

use domain::archive::Record;
use uuid::Uuid;

use crate::{
    blobs::Key,
    services::{Error, Result},
    storage,
};

/// The area of the file store in which the archive lies.
pub const AREA: &str = "archive";
/// How its files end.
pub const SUFFIX: &str = ".jsonl.zst";
/// How hard is packed: text shrinks to about a tenth, at some 100 MB a second.
const LEVEL: i32 = 5;
/// The longest record that is unpacked, in bytes: a wall against a file that was tampered with.
const LONGEST: u64 = 1 << 30;

/// A file that is being put together.
#[derive(Debug, Clone, Default)]
pub struct Frames {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Which conversation begins where, and how long it is.
    pub placed: Vec<(Uuid, i64, i64)>,
}

impl Frames {
    /// Adds a record.
    ///
    /// # Errors
    /// When it cannot be written as JSON: a defect.
    pub fn push(&mut self, record: &Record) -> Result<()> {
        let packed = pack(&record.line().map_err(storage::Error::from)?).map_err(|error| broken(&error))?;
        self.push_packed(record.conversation.id, &packed);
        Ok(())
    }

    /// Adds a record as it lay in another file.
    pub fn push_packed(&mut self, conversation: Uuid, packed: &[u8]) {
        self.placed.push((conversation, number(self.bytes.len()), number(packed.len())));
        self.bytes.extend_from_slice(packed);
    }

    /// The name that the file will have.
    #[must_use]
    pub fn key(&self) -> Key {
        Key::of(AREA, &crate::blobs::sha256(&self.bytes), SUFFIX)
    }
}

/// Unpacks one record.
///
/// # Errors
/// When the bytes are none, or were changed.
pub fn unpack(packed: &[u8]) -> Result<Record> {
    let mut line = Vec::new();
    let unpacked = zstd::Decoder::new(packed).and_then(|decoder| decoder.take(LONGEST).read_to_end(&mut line));
    unpacked.map_err(|error| broken(&error))?;
    Record::read(&line).map_err(|error| broken(&error))
}

fn pack(line: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = zstd::Encoder::new(Vec::new(), LEVEL)?;
    // Whoever reads a frame learns whether a bit of it was turned over in the store.
    encoder.include_checksum(true)?;
    encoder.write_all(line)?;
    encoder.finish()
}

fn broken(error: &dyn std::fmt::Display) -> Error {
    Error::Storage(storage::Error::Corrupt(format!("a record of the archive: {error}")))
}

fn number(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: u128) -> Record {
        let golden = include_str!("../../../../domain/src/archive/golden/1.0.jsonl");
        let mut record = Record::read(golden.as_bytes()).unwrap();
        record.conversation.id = Uuid::from_u128(id);
        record
    }

    #[test]
    fn a_file_is_unpacked_as_a_whole_and_each_record_alone() {
        let mut frames = Frames::default();
        for id in 1..=3 {
            frames.push(&record(id)).unwrap();
        }
        let all = zstd::decode_all(frames.bytes.as_slice()).unwrap();
        assert_eq!(all.iter().filter(|byte| **byte == b'\n').count(), 3);
        for (id, first, bytes) in &frames.placed {
            let part = usize::try_from(*first).unwrap()..usize::try_from(first + bytes).unwrap();
            assert_eq!(unpack(&frames.bytes[part]).unwrap().conversation.id, *id);
        }
    }

    #[test]
    fn a_bit_that_was_turned_over_is_noticed() {
        let mut frames = Frames::default();
        frames.push(&record(1)).unwrap();
        let middle = frames.bytes.len() / 2;
        frames.bytes[middle] ^= 1;
        assert!(unpack(&frames.bytes).is_err());
        assert!(unpack(b"nothing").is_err());
    }
}

//! Bytes of the ledger's file.
//!
//! ```text
//! magic             8 bytes
//! header            JSON, with its length before it
//! rows              their number, then 23 bytes each: number, digest, version, place
//! ids that are texts  their number, then each: id, time, text with its length before it
//! released rows     their number, then 8 bytes each
//! minutes           their number, then 12 bytes each: minute, number of rows
//! SHA-256           32 bytes, of everything before
//! ```
//!
//! Numbers are little-endian; numbers of items and lengths have 8 bytes.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

use autovalidate_finetune::durable;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::stream_mark::StreamMark;
use crate::corrections::StreamState;
use crate::corrections::digest::RowDigest;
use crate::corrections::history::History;
use crate::corrections::ledger::{Entry, Ledger, Place};
use crate::row_identity::MAX_TEXT_BYTES;

/// First bytes of the file. Another format has other ones.
const MAGIC: [u8; 8] = *b"AVLEDGR1";
/// Largest length of the header in bytes.
const MAX_HEADER: u64 = 1 << 16;

/// What a file is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    /// Table of the rows.
    pub(super) table: String,
    /// Time at which the file was written, by the broker's clock.
    pub(super) written: Timestamp,
    /// Part of the pairs' stream that was read.
    pub(super) corrections: StreamMark,
    /// Part of the quarantine's stream that was read.
    pub(super) quarantine: StreamMark,
}

/// Writes the file beside its path and renames it, so that it is complete or as it was.
pub(super) fn write(path: &Path, header: &Header, state: &StreamState) -> io::Result<()> {
    durable::replace(path, |file| encode(file, header, state))
}

/// Reads a file.
///
/// # Errors
/// Those of the file system; [`io::ErrorKind::InvalidData`] for other bytes than [`write()`] writes.
pub(super) fn read(path: &Path) -> io::Result<(Header, StreamState)> {
    decode(File::open(path)?)
}

fn encode(to: impl Write, header: &Header, state: &StreamState) -> io::Result<()> {
    let mut to = Digesting { inner: BufWriter::new(to), digest: Sha256::new() };
    to.write_all(&MAGIC)?;
    let header = serde_json::to_vec(header)?;
    to.number(header.len() as u64)?;
    to.write_all(&header)?;
    to.number(state.ledger.len())?;
    for (number, Entry { digest, version, place }) in state.ledger.all() {
        to.write_all(&number.to_le_bytes())?;
        to.write_all(&digest.content.to_le_bytes())?;
        to.write_all(&digest.created.to_le_bytes())?;
        to.write_all(&version.to_le_bytes())?;
        to.write_all(&[match place {
            Place::Quarantine => 0,
            Place::Pairs => 1,
            Place::Erased => 2,
        }])?;
    }
    to.number(state.ledger.text_ids().count() as u64)?;
    for (id, text, stored) in state.ledger.text_ids() {
        to.write_all(&id.to_le_bytes())?;
        to.write_all(&stored.to_le_bytes())?;
        to.number(text.len() as u64)?;
        to.write_all(text.as_bytes())?;
    }
    to.number(state.released.len() as u64)?;
    for number in &state.released {
        to.write_all(&number.to_le_bytes())?;
    }
    to.number(state.history.minutes().count() as u64)?;
    for (minute, rows) in state.history.minutes() {
        to.write_all(&minute.to_le_bytes())?;
        to.write_all(&rows.to_le_bytes())?;
    }
    let Digesting { mut inner, digest } = to;
    inner.write_all(&digest.finalize())?;
    inner.flush()
}

/// Reads what [`encode`] writes. Memory grows with the bytes that are there, not with the numbers in them.
fn decode(from: impl Read) -> io::Result<(Header, StreamState)> {
    let mut from = Digesting { inner: BufReader::new(from), digest: Sha256::new() };
    if from.bytes()? != MAGIC {
        return Err(invalid("it is no file of a ledger, or one of another version"));
    }
    let header: Header = serde_json::from_slice(&from.text(MAX_HEADER)?)?;
    let mut ledger = Ledger::default();
    for _ in 0..from.length()? {
        let number = i64::from_le_bytes(from.bytes()?);
        let content = u64::from_le_bytes(from.bytes()?);
        let created = u32::from_le_bytes(from.bytes()?);
        let version = u16::from_le_bytes(from.bytes()?);
        let place = match from.bytes()? {
            [0] => Place::Quarantine,
            [1] => Place::Pairs,
            [2] => Place::Erased,
            _ => return Err(invalid("a row has an unknown place")),
        };
        ledger.record(number, Entry { digest: RowDigest { content, created }, version, place });
    }
    for _ in 0..from.length()? {
        let (id, stored) = (i64::from_le_bytes(from.bytes()?), i64::from_le_bytes(from.bytes()?));
        let text = String::from_utf8(from.text(MAX_TEXT_BYTES as u64)?);
        ledger.restore_text(id, &text.map_err(|_| invalid("an id is no UTF-8"))?, stored);
    }
    let mut state = StreamState { ledger, ..StreamState::default() };
    for _ in 0..from.length()? {
        state.released.insert(i64::from_le_bytes(from.bytes()?));
    }
    let mut minutes = Vec::new();
    for _ in 0..from.length()? {
        minutes.push((i64::from_le_bytes(from.bytes()?), u32::from_le_bytes(from.bytes()?)));
    }
    state.history = History::of(minutes);
    let Digesting { mut inner, digest } = from;
    let mut expected = [0; 32];
    inner.read_exact(&mut expected)?;
    if digest.finalize()[..] != expected {
        return Err(invalid("its bytes have changed"));
    }
    (state.corrections_read, state.quarantine_read) = (header.corrections.read, header.quarantine.read);
    Ok((header, state))
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Bytes on their way, and their digest.
struct Digesting<I> {
    inner: I,
    digest: Sha256,
}

impl<W: Write> Digesting<W> {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.digest.update(bytes);
        self.inner.write_all(bytes)
    }

    fn number(&mut self, number: u64) -> io::Result<()> {
        self.write_all(&number.to_le_bytes())
    }
}

impl<R: Read> Digesting<R> {
    fn bytes<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.inner.read_exact(&mut bytes)?;
        self.digest.update(bytes);
        Ok(bytes)
    }

    fn length(&mut self) -> io::Result<u64> {
        Ok(u64::from_le_bytes(self.bytes()?))
    }

    /// Reads bytes with their length before them.
    fn text(&mut self, most: u64) -> io::Result<Vec<u8>> {
        let length = self.length()?;
        if length > most {
            return Err(invalid("a text is too long"));
        }
        let mut bytes = vec![0; length as usize];
        self.inner.read_exact(&mut bytes)?;
        self.digest.update(&bytes);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::row_identity::{RowId, number_in};

    fn header() -> Header {
        let mark = |stream: &str, read| StreamMark {
            stream: stream.to_owned(),
            created: 7,
            read,
            seen: Some((read, Timestamp::UNIX_EPOCH)).filter(|_| read > 0),
        };
        Header {
            table: "pairs".to_owned(),
            written: Timestamp::UNIX_EPOCH,
            corrections: mark("CORRECTIONS", 9),
            quarantine: mark("QUARANTINE", 0),
        }
    }

    fn state(rows: &[(u16, u64, u16, u8)], texts: &[String]) -> StreamState {
        let mut state = StreamState { corrections_read: 9, ..StreamState::default() };
        let entry = |content, version, place| Entry {
            digest: RowDigest { content, created: 3 },
            version,
            place: [Place::Quarantine, Place::Pairs, Place::Erased][usize::from(place % 3)],
        };
        for (id, content, version, place) in rows {
            let number = number_in(i64::from(*id), u32::from(*version % 2)).unwrap();
            state.ledger.record(number, entry(*content, *version, *place));
            if place % 5 == 0 {
                state.released.insert(number);
            }
            state.history.record(i64::from(*id % 7));
        }
        for (text, version) in texts.iter().zip(1..) {
            if let Some(id) = RowId::of_text(text) {
                state.ledger.record(id.number(), entry(1, version, 1));
                state.ledger.record_text(id.number(), text, Timestamp::from_second(version.into()).unwrap());
            }
        }
        state
    }

    fn bytes(state: &StreamState) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(&mut bytes, &header(), state).unwrap();
        bytes
    }

    proptest! {
        #[test]
        fn the_state_comes_back(
            rows in prop::collection::vec(any::<(u16, u64, u16, u8)>(), 0..200),
            texts in prop::collection::vec(".{0,40}", 0..20),
        ) {
            let state = state(&rows, &texts);
            let (read, back) = decode(&bytes(&state)[..]).unwrap();
            prop_assert_eq!(read, header());
            prop_assert_eq!(bytes(&back), bytes(&state));
            prop_assert_eq!(back.ledger.series(), state.ledger.series());
            prop_assert_eq!((back.corrections_read, back.quarantine_read), (9, 0));
        }

        #[test]
        fn changed_or_missing_bytes_are_an_error(
            rows in prop::collection::vec(any::<(u16, u64, u16, u8)>(), 1..20), at: prop::sample::Index, bit in 0_u8..8,
        ) {
            let whole = bytes(&state(&rows, &["a-text".to_owned()]));
            let at = at.index(whole.len());
            prop_assert!(decode(&whole[..at]).is_err());
            let mut changed = whole;
            changed[at] ^= 1_u8 << bit;
            prop_assert!(decode(&changed[..]).is_err());
        }

        #[test]
        fn no_bytes_make_reading_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = decode(&[&MAGIC[..], &bytes].concat()[..]);
        }
    }
}

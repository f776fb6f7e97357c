//! SHA-256 of content, which the Hub calls an LFS object id.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::hex::hex;

/// A SHA-256 digest. Its text form is 64 lowercase hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

/// Error for text that is not 64 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not 64 hex digits")]
pub struct NotADigest;

impl Digest {
    /// Returns the digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Reads a file in chunks and returns its digest and its size in bytes. Blocks the thread, so
    /// do not call it on an async thread.
    ///
    /// # Errors
    /// When the file can't be opened or read.
    pub fn of_file(path: &Path) -> io::Result<(Self, u64)> {
        let mut hasher = Hasher::default();
        hasher.read_from(&mut File::open(path)?)?;
        Ok((hasher.digest(), hasher.bytes()))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl FromStr for Digest {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, NotADigest> {
        let text = text.as_bytes();
        if text.len() != 64 {
            return Err(NotADigest);
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
            let digit = |c: u8| char::from(c).to_digit(16).ok_or(NotADigest);
            // Two hex digits are at most 255.
            *byte = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
        }
        Ok(Self(bytes))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Incremental hasher, for content that arrives in chunks. Also counts the bytes.
#[derive(Clone, Default)]
pub(crate) struct Hasher {
    state: Sha256,
    bytes: u64,
}

impl Hasher {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.state.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    /// Hashes a text after its length, so that texts can't run together.
    pub(crate) fn update_text(&mut self, text: &str) {
        self.update(&(text.len() as u64).to_le_bytes());
        self.update(text.as_bytes());
    }

    /// Hashes the rest of a reader. Blocks the thread.
    pub(crate) fn read_from(&mut self, reader: &mut impl Read) -> io::Result<()> {
        let mut buffer = vec![0; 256 * 1024];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(read) => self.update(&buffer[..read]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Returns the number of bytes hashed so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns the digest of the bytes hashed so far.
    pub(crate) fn digest(&self) -> Digest {
        Digest(self.state.clone().finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_empty_content_has_the_known_digest() {
        let known = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").to_string(), known);
        assert_eq!(known.parse(), Ok(Digest::of(b"")));
    }

    proptest! {
        #[test]
        fn no_text_makes_parsing_panic(text in ".{0,70}") {
            let _ = text.parse::<Digest>();
        }

        #[test]
        fn a_digest_reads_back(bytes: Vec<u8>, cut in 0_usize..64) {
            let digest = Digest::of(&bytes);
            prop_assert_eq!(digest.to_string().parse(), Ok(digest));
            let mut hasher = Hasher::default();
            let cut = cut.min(bytes.len());
            hasher.update(&bytes[..cut]);
            hasher.read_from(&mut &bytes[cut..]).unwrap();
            prop_assert_eq!((hasher.digest(), hasher.bytes()), (digest, bytes.len() as u64));
        }
    }
}

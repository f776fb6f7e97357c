//! Release names, which decide the zip that the backend loads.
//!
//! The backend lists `models/finetuned-embedding-model-*.zip`, sorts the names in reverse, takes
//! the first, and caches it by the text between the last `-` and the first `.`. So a new name must
//! sort after every existing name, including the date-only names of the old pipeline, and must not
//! repeat the cache key of an existing name.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::listing::content_id;

/// Folder of releases in a model repo.
pub const FOLDER: &str = "models";
/// Folder of the releases' receipts in a model repo.
pub const RECEIPTS: &str = "models/receipts";
const STEM: &str = "finetuned-embedding-model-";
const FORMAT: &str = "%Y%m%d%H%M%S";
/// The last second that a [`Timestamp`] can hold, about a day before years need five digits.
const LAST_SECOND: i64 = 253_402_207_200;

/// Time in a release's name: UTC `YYYYMMDDHHMMSS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp(i64);

/// Error for text that is not a stamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a UTC stamp of the form YYYYMMDDHHMMSS")]
pub struct NotAStamp;

impl Stamp {
    /// Returns the stamp of this time. A time before 1970 becomes the first second of 1970.
    pub fn at(time: Timestamp) -> Self {
        Self(time.as_second().clamp(0, LAST_SECOND))
    }

    /// Returns the time of the stamp.
    pub fn time(self) -> Timestamp {
        Timestamp::from_second(self.0).unwrap_or_default()
    }

    /// Returns the earliest stamp, not before `now`, whose release the backend will load once it is
    /// published: its name sorts after every existing name and repeats no cache key. So a clock
    /// that was set back, or two releases in one second, move the stamp forward. Returns `None`
    /// when no stamp sorts after the existing names.
    pub fn next<'a>(now: Timestamp, existing: impl IntoIterator<Item = &'a ReleaseName>) -> Option<Self> {
        let existing: Vec<&ReleaseName> = existing.into_iter().collect();
        let Some(newest) = existing.iter().max() else { return Some(Self::at(now)) };
        // Names of stamps sort as their times do, so "sorts after the newest" is monotonic: it
        // holds from some second on.
        let (mut low, mut high) = (Self::at(now).0, LAST_SECOND + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            if ReleaseName::from(Self(middle)) > **newest {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        (low..=LAST_SECOND)
            .map(Self)
            .find(|stamp| existing.iter().all(|name| name.version() != stamp.to_string()))
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = Timestamp::from_second(self.0).map_err(|_| fmt::Error)?;
        write!(formatter, "{}", time.strftime(FORMAT))
    }
}

impl FromStr for Stamp {
    type Err = NotAStamp;

    fn from_str(text: &str) -> Result<Self, NotAStamp> {
        let time = DateTime::strptime(FORMAT, text)
            .and_then(|time| time.to_zoned(TimeZone::UTC))
            .map_err(|_| NotAStamp)?;
        let stamp = Self(time.timestamp().as_second());
        // Parsing is laxer than formatting. Only text that formats back to itself is a stamp.
        let in_range = (0..=LAST_SECOND).contains(&stamp.0);
        if in_range && stamp.to_string() == text { Ok(stamp) } else { Err(NotAStamp) }
    }
}

/// A file name that the backend accepts as a release: `finetuned-embedding-model-*.zip`.
///
/// The order is the backend's: it loads the greatest name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ReleaseName(String);

/// Error for text that is not a release's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a release: a release is named finetuned-embedding-model-*.zip")]
pub struct NotARelease;

impl ReleaseName {
    /// Returns the file name without its folder.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the name without `.zip`, which is the single top-level folder inside the archive.
    pub fn folder(&self) -> &str {
        self.0.strip_suffix(".zip").unwrap_or(&self.0)
    }

    /// Returns the release's path in the repo: `models/<name>`.
    pub fn path(&self) -> String {
        format!("{FOLDER}/{}", self.0)
    }

    /// Returns the path of the release's receipt in the repo: `models/receipts/<version>.json`.
    pub fn receipt_path(&self) -> String {
        format!("{RECEIPTS}/{}.json", self.version())
    }

    /// Parses a path in the repo. Returns `None` when it is not a release's path.
    pub fn from_path(path: &str) -> Option<Self> {
        path.strip_prefix(FOLDER)?.strip_prefix('/')?.parse().ok()
    }

    /// Returns the backend's cache key: the text between the last `-` and the first `.` after it.
    pub fn version(&self) -> &str {
        let tail = self.0.rsplit('-').next().unwrap_or_default();
        tail.split('.').next().unwrap_or_default()
    }
}

impl From<Stamp> for ReleaseName {
    fn from(stamp: Stamp) -> Self {
        Self(format!("{STEM}{stamp}.zip"))
    }
}

impl FromStr for ReleaseName {
    type Err = NotARelease;

    fn from_str(name: &str) -> Result<Self, NotARelease> {
        let middle = name.strip_prefix(STEM).and_then(|rest| rest.strip_suffix(".zip"));
        match middle {
            // A slash or a control character can't be part of a local file name.
            Some(middle) if !middle.chars().any(|c| c == '/' || c == '\\' || c.is_control()) => {
                Ok(Self(name.to_owned()))
            }
            _ => Err(NotARelease),
        }
    }
}

impl TryFrom<String> for ReleaseName {
    type Error = NotARelease;

    fn try_from(name: String) -> Result<Self, NotARelease> {
        name.parse()
    }
}

impl From<ReleaseName> for String {
    fn from(name: ReleaseName) -> Self {
        name.0
    }
}

impl fmt::Display for ReleaseName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Ord for ReleaseName {
    /// Compares by code point, as Python compares strings. In UTF-8 this is the order of the bytes.
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.as_bytes().cmp(other.0.as_bytes())
    }
}

impl PartialOrd for ReleaseName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A release as the Hub lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Name of the release.
    pub name: ReleaseName,
    /// Size in bytes.
    pub size: u64,
    /// Checksum of the content; `None` only for a file that was committed without LFS.
    pub sha256: Option<Digest>,
    /// Id of the file's blob in git; `None` when the Hub does not say it.
    pub blob: Option<String>,
}

/// A release that a model was measured against: its name, and the content that it had then.
///
/// The name alone does not identify a model, because a person may upload another zip under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveRelease {
    /// Name of the release.
    pub name: ReleaseName,
    /// Identity of its content; see [`Release::content`]. `None` allows any content.
    pub content: Option<String>,
}

impl LiveRelease {
    /// Returns true for this release with this content.
    pub fn is(&self, release: &Release) -> bool {
        let same = |content: &String| release.content().as_ref() == Some(content);
        self.name == release.name && self.content.as_ref().is_none_or(same)
    }
}

impl From<&Release> for LiveRelease {
    fn from(release: &Release) -> Self {
        Self { name: release.name.clone(), content: release.content() }
    }
}

impl Release {
    /// Returns the identity of the content: its SHA-256, or else the id of its blob in git.
    pub fn content(&self) -> Option<String> {
        content_id(self.sha256, self.blob.as_deref())
    }

    /// Returns the release's path in the repo.
    pub fn path(&self) -> String {
        self.name.path()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(middle: &str) -> ReleaseName {
        format!("{STEM}{middle}.zip").parse().unwrap()
    }

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_stamp_is_utc_to_the_second() {
        let stamp = Stamp::at(time("2026-11-22T18:05:09.7+02:00"));
        assert_eq!(stamp.to_string(), "20261122160509");
        assert_eq!("20261122160509".parse(), Ok(stamp));
        for wrong in ["", "20261122", "20261322160509", "2026112216050", "202611221605099", " 0261122160509"]
        {
            assert_eq!(wrong.parse::<Stamp>(), Err(NotAStamp), "{wrong:?}");
        }
    }

    #[test]
    fn the_newest_is_the_one_the_backend_takes() {
        let names = [name("20261122"), name("20261122160509"), name("20251231"), name("20261122160508")];
        assert_eq!(names.iter().max(), Some(&name("20261122160509")));
        assert_eq!(name("20261122").version(), "20261122");
        assert_eq!(name("2026-11-22").version(), "22");
        assert_eq!(name("x-1.2").version(), "1");
        assert_eq!(ReleaseName::from_path("models/finetuned-embedding-model-1.zip"), Some(name("1")));
        for other in
            ["models/a.zip", "finetuned-embedding-model-1.zip", "models/x/finetuned-embedding-model-1.zip"]
        {
            assert_eq!(ReleaseName::from_path(other), None, "{other}");
        }
        assert_eq!("finetuned-embedding-model-a/b.zip".parse::<ReleaseName>(), Err(NotARelease));
    }

    #[test]
    fn a_clock_that_went_back_or_stood_still_moves_the_stamp_forward() {
        let now = time("2026-11-22T16:05:09Z");
        let next = |existing: &[ReleaseName]| Stamp::next(now, existing).map(|stamp| stamp.to_string());
        assert_eq!(next(&[]).unwrap(), "20261122160509");
        assert_eq!(next(&[name("20261122")]).unwrap(), "20261122160509");
        assert_eq!(next(&[name("20261122160509")]).unwrap(), "20261122160510");
        assert_eq!(next(&[name("20270101")]).unwrap(), "20270101000000");
        assert_eq!(next(&[name("20261231235959")]).unwrap(), "20270101000000");
        assert_eq!(next(&[name("1-20261122160509")]).unwrap(), "20261122160510", "the cache key is taken");
        assert_eq!(next(&[name("old")]), None);
        assert_eq!(next(&[name("99991231235959")]), None);
    }

    fn middles() -> impl Strategy<Value = String> {
        prop_oneof!["[0-9]{8}", "[0-9]{14}", "20[0-9]{2}-[0-9]{2}-[0-9]{2}", "[ -.0-~é]{0,20}"]
    }

    #[test]
    fn the_last_second_is_jiffs() {
        assert_eq!(LAST_SECOND, Timestamp::MAX.as_second());
    }

    proptest! {
        #[test]
        fn the_next_stamp_is_what_the_backend_loads(
            seconds in -1_000_i64..300_000_000_000,
            middles in prop::collection::vec(middles(), 0..6),
        ) {
            let now = Timestamp::from_second(seconds.min(LAST_SECOND)).unwrap();
            let existing: Vec<_> = middles.iter().filter_map(|m| format!("{STEM}{m}.zip").parse().ok()).collect();
            match Stamp::next(now, &existing) {
                Some(stamp) => {
                    let new = ReleaseName::from(stamp);
                    prop_assert!(stamp >= Stamp::at(now));
                    prop_assert!(existing.iter().all(|name: &ReleaseName| *name < new));
                    prop_assert!(existing.iter().all(|name| name.version() != new.version()));
                    prop_assert_eq!(new.version().parse(), Ok(stamp));
                    prop_assert_eq!(new.version().len(), 14);
                    prop_assert_eq!(ReleaseName::from_path(&new.path()), Some(new));
                }
                None => {
                    let last = ReleaseName::from(Stamp(LAST_SECOND));
                    prop_assert!(existing.iter().any(|name| *name >= last || name.version() == last.version()));
                }
            }
        }

        #[test]
        fn stamps_sort_as_their_names(a in 0..=LAST_SECOND, b in 0..=LAST_SECOND) {
            prop_assert_eq!(a.cmp(&b), ReleaseName::from(Stamp(a)).cmp(&ReleaseName::from(Stamp(b))));
        }

        #[test]
        fn no_text_makes_parsing_panic(text in ".{0,40}") {
            let _ = (text.parse::<Stamp>(), ReleaseName::from_path(&text));
        }
    }
}

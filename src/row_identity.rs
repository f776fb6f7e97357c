//! Identity of a row: its number, and the version of its text.
//!
//! A table's ids may start anew: after `TRUNCATE … RESTART IDENTITY`, or after a backup was restored.
//! The row that then has id 7 is another row than the one that had it before. A row's *number*
//! tells them apart. It is the id itself until the ids start anew. From then on, each new row belongs
//! to the next *series*, and its number is the id plus an offset that is above every id. Numbers
//! therefore ascend in the order in which rows arrive, as ids do.
//!
//! A row whose text changes keeps its number, and its text has a new *version*.
//!
//! In a table whose ids are texts, such as UUIDs, a digest of the text stands for the id. Such ids are
//! negative, below every whole number that a table uses as an id. They don't start anew together; when a
//! row is deleted and inserted again under its old text, that one row belongs to the next series.

use std::cmp::Ordering;
use std::fmt;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};

/// Number of ids that a series has room for.
const SERIES_IDS: i64 = 1 << 40;
/// First number of the series after the first.
const FIRST_OFFSET: i64 = i64::MAX - (1 << 52) + 1;
/// Highest id that a row may have. The numbers above belong to later series.
pub const MAX_ID: i64 = FIRST_OFFSET - 1;
/// Last series.
const MAX_SERIES: u32 = 1 << 12;

/// Number of digests that stand for texts. Among a hundred thousand rows, two have the same one with a
/// probability of one to fourteen million.
const TEXT_IDS: i64 = 1 << 56;
/// Number of series of a text.
pub const TEXT_SERIES: u32 = 64;
/// Lowest id that is a whole number of the table. The numbers below stand for texts.
const MIN_ID: i64 = i64::MIN + TEXT_IDS * TEXT_SERIES as i64;
/// Largest length of a text that is an id, in bytes. Several longer ones would not fit into an address.
pub const MAX_TEXT_BYTES: usize = 1000;

/// Id of a row in its table: a whole number, or a text such as a UUID.
///
/// Two ids are the same when their numbers are.
#[derive(Debug, Clone)]
pub struct RowId {
    number: i64,
    text: Option<Box<str>>,
}

impl RowId {
    /// Returns the id that is this whole number, or the digest that stands for a text.
    pub fn of_number(number: i64) -> Self {
        Self { number, text: None }
    }

    /// Returns the id that is this text, or `None` for a text that can't be an id: it is empty, too long,
    /// or has a control character.
    pub fn of_text(text: &str) -> Option<Self> {
        let fits = !text.is_empty() && text.len() <= MAX_TEXT_BYTES && !text.chars().any(char::is_control);
        fits.then(|| Self { number: number_of_text(text), text: Some(text.into()) })
    }

    /// Returns the id that is this text, or this number where there is no text.
    pub fn new(number: i64, text: Option<&str>) -> Self {
        text.and_then(Self::of_text).unwrap_or_else(|| Self::of_number(number))
    }

    /// Returns the id as a number: itself, or the digest of a text. A text that is the decimal form of a
    /// whole number has that number, so whoever names an id need not know the column's type.
    pub fn number(&self) -> i64 {
        self.number
    }

    /// Returns the text; `None` for a whole number.
    pub fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }
}

impl From<i64> for RowId {
    fn from(number: i64) -> Self {
        Self::of_number(number)
    }
}

/// Writes the id as the table has it, but with characters escaped that would change a terminal's other
/// text: whoever may insert rows may choose their ids.
impl fmt::Display for RowId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.text {
            Some(text) => formatter.pad(&escaped(text)),
            None => formatter.pad(&self.number.to_string()),
        }
    }
}

/// Serializes as the table has it: a number or a string.
impl Serialize for RowId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.text {
            Some(text) => serializer.serialize_str(text),
            None => serializer.serialize_i64(self.number),
        }
    }
}

/// Error for a text that can't be the id of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id is a whole number or a text of at most {MAX_TEXT_BYTES} bytes on one line")]
pub struct NotAnId;

/// Parses an id as a person writes it. The decimal form of a whole number is that number.
impl std::str::FromStr for RowId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let id = Self::of_text(text).ok_or(NotAnId)?;
        Ok(if is_text(id.number) { id } else { Self::of_number(id.number) })
    }
}

impl PartialEq for RowId {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for RowId {}

impl PartialOrd for RowId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for RowId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.number.cmp(&other.number)
    }
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' | '\'' | '\\' => escaped.push(character),
            _ => escaped.extend(character.escape_debug()),
        }
    }
    escaped
}

/// Returns the number that stands for a text. PostgreSQL takes a UUID in any case and writes it in lower
/// case, so the case of a UUID does not count.
fn number_of_text(text: &str) -> i64 {
    match text.parse::<i64>() {
        Ok(number) if (MIN_ID..=MAX_ID).contains(&number) && number.to_string() == text => return number,
        _ => {}
    }
    let lower = is_uuid(text).then(|| text.to_ascii_lowercase());
    let digest = Sha256::digest(lower.as_deref().unwrap_or(text));
    let digest = digest.iter().take(7).fold(0, |number, byte| number << 8 | i64::from(*byte));
    i64::MIN + digest
}

/// Returns true for the usual form of a UUID.
pub fn is_uuid(text: &str) -> bool {
    let is_dash = |place| matches!(place, 8 | 13 | 18 | 23);
    text.len() == 36
        && text.bytes().enumerate().all(|(place, byte)| match is_dash(place) {
            true => byte == b'-',
            false => byte.is_ascii_hexdigit(),
        })
}

/// Returns true for a number that stands for a text.
pub fn is_text(number: i64) -> bool {
    number < MIN_ID
}

/// Returns the number of a row: its id within a series, where 0 is the first series. Returns `None`
/// when the series has no room for the id.
pub fn number_in(id: i64, series: u32) -> Option<i64> {
    if is_text(id) {
        let is_id = id < i64::MIN + TEXT_IDS;
        return (is_id && series < TEXT_SERIES).then(|| id + i64::from(series) * TEXT_IDS);
    }
    match series {
        0 => (id <= MAX_ID).then_some(id),
        1..=MAX_SERIES if (0..SERIES_IDS).contains(&id) => {
            Some(FIRST_OFFSET + i64::from(series - 1) * SERIES_IDS + id)
        }
        _ => None,
    }
}

/// Returns the first and the last number of the ids `first..=last` within a series, or `None` when the
/// series has room for none of them. Ids that are texts have no place among whole numbers.
pub fn numbers_between(first: i64, last: i64, series: u32) -> Option<(i64, i64)> {
    let (lowest, highest) = if series == 0 { (MIN_ID, MAX_ID) } else { (0, SERIES_IDS - 1) };
    let (first, last) = (first.max(lowest), last.min(highest));
    if first > last { None } else { Some((number_in(first, series)?, number_in(last, series)?)) }
}

/// Returns the id that a row has in the table, as a number.
pub fn id_of(number: i64) -> i64 {
    match number {
        number if number > MAX_ID => (number - FIRST_OFFSET) % SERIES_IDS,
        number if is_text(number) => i64::MIN + (number - i64::MIN) % TEXT_IDS,
        id => id,
    }
}

/// Returns the series of a number; 0 is the first.
pub fn series_of(number: i64) -> u32 {
    let series = match number {
        number if number > MAX_ID => (number - FIRST_OFFSET) / SERIES_IDS + 1,
        number if is_text(number) => (number - i64::MIN) / TEXT_IDS,
        _ => 0,
    };
    u32::try_from(series).unwrap_or(MAX_SERIES)
}

/// A row that is kept, and the version of its text: the state that a change or a removal applies
/// to. When the row has another version meanwhile, the change does not take place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeptRow {
    /// Id in the table, as a number.
    pub id: i64,
    /// Number of the row.
    pub number: i64,
    /// Version of the row's text, from 1.
    pub version: u16,
}

/// An id that is a text, of a row that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptText {
    /// Id in the table.
    pub id: RowId,
    /// Second in which the row was stored, by the broker's clock.
    pub stored: Timestamp,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_ascend_from_series_to_series() {
        assert_eq!(number_in(7, 0), Some(7));
        assert_eq!(number_in(-7, 0), Some(-7));
        let (second, third) = (number_in(7, 1).unwrap(), number_in(0, 2).unwrap());
        assert!(MAX_ID < second && second < third);
        assert_eq!((id_of(second), series_of(second)), (7, 1));
        assert_eq!(number_in(SERIES_IDS - 1, MAX_SERIES), Some(i64::MAX));
        for (id, series) in [(MAX_ID + 1, 0), (-1, 1), (SERIES_IDS, 1), (1, MAX_SERIES + 1), (MIN_ID, 1)] {
            assert_eq!(number_in(id, series), None, "{id} in {series}");
        }
    }

    #[test]
    fn an_id_that_is_a_text_has_a_number_of_its_own() {
        let id = |text: &str| RowId::of_text(text).unwrap();
        let uuid = "3f1c0c1e-5b1f-4b0a-8a0e-9d5e1f2a7c66";
        assert!(is_text(id(uuid).number()) && is_text(id("form-7").number()));
        assert_eq!(id(uuid), id(&uuid.to_uppercase()), "a UUID is one in any case");
        assert_ne!(id("form-a"), id("form-A"));
        assert_eq!((id(uuid).to_string(), id(uuid).text()), (uuid.to_owned(), Some(uuid)));
        assert_eq!(id("7"), RowId::of_number(7));
        assert_eq!(id("a\u{202e}b").to_string(), "a\\u{202e}b");
        for text in ["007", "+7", "7 ", "9223372036854775807", "-9223372036854775808"] {
            assert!(is_text(id(text).number()), "{text}");
        }
        for text in ["", "a\nb", &"x".repeat(1001)] {
            assert!(text.parse::<RowId>().is_err(), "{text}");
        }
        let number = number_in(id(uuid).number(), 3).unwrap();
        assert_eq!((id_of(number), series_of(number)), (id(uuid).number(), 3));
        assert_eq!(number_in(number, 1), None, "this is no id");
        assert_eq!(number_in(id(uuid).number(), TEXT_SERIES), None);
        assert_eq!(numbers_between(i64::MIN, 7, 0), Some((MIN_ID, 7)));
    }

    proptest! {
        #[test]
        fn any_text_has_a_number_within_its_bounds(text in ".{0,60}") {
            if let Some(id) = RowId::of_text(&text) {
                prop_assert_eq!((id_of(id.number()), series_of(id.number())), (id.number(), 0));
                prop_assert_eq!(id.text(), Some(text.as_str()));
            }
        }

        #[test]
        fn a_number_gives_its_id_and_series_back(id in any::<i64>(), series in 0_u32..5000) {
            if let Some(number) = number_in(id, series) {
                prop_assert_eq!((id_of(number), series_of(number)), (id, series));
            }
        }

        #[test]
        fn every_number_is_the_number_of_its_id(number in any::<i64>()) {
            prop_assert_eq!(number_in(id_of(number), series_of(number)), Some(number));
        }
    }
}

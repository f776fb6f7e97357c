//! The dedup ledger: for each stored row its digest, the version of its text, and its place.
//!
//! A million rows with consecutive ids take 16 MB: rows lie in chunks of 256 numbers, sorted, with
//! 16 bytes each.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::digest::RowDigest;
use crate::row_identity::{KeptRow, KeptText, RowId, id_of, is_text, number_in, numbers_between, series_of};

/// Number of row numbers in a chunk, as a power of two.
const CHUNK_BITS: u32 = 8;

/// Place of a row's current version. The order decides between two messages of the same version: a
/// tombstone wins over everything, and a released row is among the pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    Quarantine,
    Pairs,
    /// The row's text was erased. No later copy of the row is stored.
    Erased,
}

/// State of a row in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) digest: RowDigest,
    pub(super) version: u16,
    pub(super) place: Place,
}

/// A row as it lies in a chunk.
#[derive(Debug, Clone, Copy)]
struct Slot {
    content: u64,
    created: u32,
    version: u16,
    /// Last byte of the number.
    low: u8,
    place: Place,
}

impl Slot {
    fn entry(self) -> Entry {
        let digest = RowDigest { content: self.content, created: self.created };
        Entry { digest, version: self.version, place: self.place }
    }
}

/// Text of an id.
#[derive(Debug)]
struct StoredText {
    text: Box<str>,
    /// Unix time of the row's first message that was read, in seconds.
    stored: i64,
}

/// Relation of a row to the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recognition {
    /// The row is new; this is its number.
    New(i64),
    /// The row is stored, or an older copy of it, or was erased.
    Repeat,
    /// The row is stored with another text.
    Changed(KeptRow),
}

/// All rows that are stored or erased, by their number.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    chunks: BTreeMap<i64, Vec<Slot>>,
    /// Current series of ids: new rows belong to it.
    series: u32,
    /// Rows of earlier series that the table has shown since the ids started anew: it was not truncated,
    /// but had some ids used again. Kept in memory only; the comparison of kept rows finds them again.
    shown_again: BTreeSet<i64>,
    /// Ids that are texts, unless the row was erased. About a hundred bytes each.
    texts: BTreeMap<i64, StoredText>,
}

impl Ledger {
    pub(super) fn get(&self, number: i64) -> Option<Entry> {
        let chunk = self.chunks.get(&(number >> CHUNK_BITS))?;
        let place = chunk.binary_search_by_key(&low(number), |slot| slot.low).ok()?;
        chunk.get(place).map(|slot| slot.entry())
    }

    /// Records what a message says of a row. A message of an older version changes nothing.
    pub(super) fn record(&mut self, number: i64, entry: Entry) {
        self.begin_series_of(number);
        let chunk = self.chunks.entry(number >> CHUNK_BITS).or_default();
        let Entry { digest: RowDigest { content, created }, version, place } = entry;
        let slot = Slot { content, created, version, low: low(number), place };
        match chunk.binary_search_by_key(&slot.low, |slot| slot.low) {
            Err(at) => chunk.insert(at, slot),
            Ok(at) => {
                let Some(known) = chunk.get_mut(at) else { return };
                if known.place == Place::Erased {
                    return;
                }
                if place == Place::Erased {
                    // A tombstone of an earlier version has no digest.
                    let created = if created == 0 { known.created } else { created };
                    *known = Slot { created, ..slot };
                    // Unless another row has the id now.
                    if self.kept(id_of(number)).is_none() {
                        self.texts.remove(&id_of(number));
                    }
                } else if (version, place) > (known.version, known.place) {
                    *known = slot;
                }
            }
        }
    }

    /// Begins the series of a number that is about to be stored, so that further new rows belong to
    /// it. A text that is used again says nothing of other rows.
    pub(super) fn begin_series_of(&mut self, number: i64) {
        if !is_text(number) {
            self.series = self.series.max(series_of(number));
        }
    }

    /// Records the text that a row has as its id, and the time at which a message of the row was stored.
    pub(super) fn record_text(&mut self, number: i64, text: &str, stored: Timestamp) {
        if self.get(number).is_some_and(|entry| entry.place != Place::Erased) {
            let stored = stored.as_second();
            let known =
                self.texts.entry(id_of(number)).or_insert_with(|| StoredText { text: text.into(), stored });
            known.stored = known.stored.min(stored);
        }
    }

    /// Records a text as [`text_ids`](Self::text_ids) returns it.
    pub(super) fn restore_text(&mut self, id: i64, text: &str, stored: i64) {
        self.texts.insert(id, StoredText { text: text.into(), stored });
    }

    /// Returns the ids that are texts, each with its text and the Unix time, in seconds, of its row's first
    /// message that was read.
    pub(super) fn text_ids(&self) -> impl Iterator<Item = (i64, &str, i64)> {
        self.texts.iter().map(|(id, known)| (*id, known.text.as_ref(), known.stored))
    }

    /// Returns the id that a row has in the table.
    pub(super) fn row_id(&self, number: i64) -> RowId {
        let id = id_of(number);
        RowId::new(id, self.texts.get(&id).map(|known| known.text.as_ref()))
    }

    /// Returns the next ids that are texts, in the order of their numbers after `after`, at most `count`.
    /// Erased rows are left out.
    pub(super) fn text_ids_after(&self, after: i64, count: usize) -> Vec<KeptText> {
        let ids = after.checked_add(1).map(|first| self.texts.range(first..));
        let texts = ids.into_iter().flatten().map(|(_, known)| known);
        let kept = texts.filter_map(|StoredText { text, stored }| {
            let stored = Timestamp::from_second(*stored).unwrap_or(Timestamp::MIN);
            Some(KeptText { id: RowId::of_text(text)?, stored })
        });
        kept.take(count).collect()
    }

    /// Notes that the table shows a known row.
    pub(super) fn shown(&mut self, id: i64) {
        if self.series > 0
            && !is_text(id)
            && let Some(kept) = self.kept(id)
            && series_of(kept.number) < self.series
        {
            self.shown_again.insert(kept.number);
        }
    }

    /// Returns true when the table may still have this row, as far as its number tells: it belongs to
    /// the current series, or was shown since that began. A row of an earlier series may have gone with
    /// the whole table, and a deletion of its id may be about a row that was never seen here.
    pub(super) fn may_be_in_table(&self, number: i64) -> bool {
        self.texts.contains_key(&id_of(number))
            || series_of(number) == self.series
            || self.shown_again.contains(&number)
    }

    /// Returns true for the number of a new row that is not above every number of the current series, and
    /// so may belong to a later one. Ids that are texts come in no order.
    pub(super) fn is_late(&self, number: i64) -> bool {
        let begins_none = !is_text(number) && series_of(number) == self.series;
        begins_none && self.highest().is_some_and(|highest| number <= highest)
    }

    /// Returns the current series of ids.
    pub(super) fn series(&self) -> u32 {
        self.series
    }

    /// Decides what a row is, by its id in the table and its digest.
    ///
    /// A row with a known id and another time of insert is another row: the table's ids have started
    /// anew, or a row with this text as its id was deleted and another one inserted. A row that matches
    /// an earlier holder of its id is an old copy of that row, read before.
    pub(super) fn recognize(&self, id: i64, digest: RowDigest) -> Recognition {
        let mut latest = None;
        for number in self.numbers_of(id) {
            let Some(entry) = self.get(number) else { continue };
            let same_row = entry.digest.may_be_same_row(digest);
            match entry.place {
                Place::Erased if same_row => return Recognition::Repeat,
                Place::Erased => {}
                _ if entry.digest.content == digest.content => return Recognition::Repeat,
                _ if same_row && latest.is_some() => return Recognition::Repeat,
                _ if same_row => return Recognition::Changed(kept(number, entry)),
                _ => {}
            }
            latest = latest.or(Some((number, entry)));
        }
        let series = if is_text(id) { 0 } else { self.series };
        match latest {
            None => Recognition::New(number_in(id, series).unwrap_or(id)),
            Some((number, entry)) => {
                let series = series.max(series_of(number) + 1);
                match number_in(id, series) {
                    Some(number) => Recognition::New(number),
                    None if entry.place == Place::Erased => Recognition::Repeat,
                    None => Recognition::Changed(kept(number, entry)),
                }
            }
        }
    }

    /// Returns true when a row with this id is stored or was erased.
    pub(super) fn contains_id(&self, id: i64) -> bool {
        self.numbers_of(id).any(|number| self.get(number).is_some())
    }

    /// Returns the row that has this id now, unless it was erased.
    pub(super) fn kept(&self, id: i64) -> Option<KeptRow> {
        let (number, entry) =
            self.numbers_of(id).find_map(|number| self.get(number).map(|entry| (number, entry)))?;
        (entry.place != Place::Erased).then(|| kept(number, entry))
    }

    /// Returns every row that has or had this id, unless it was erased.
    pub(super) fn kept_ever(&self, id: i64) -> Vec<KeptRow> {
        let entries = self.numbers_of(id).filter_map(|number| Some((number, self.get(number)?)));
        entries
            .filter(|(_, entry)| entry.place != Place::Erased)
            .map(|(number, entry)| kept(number, entry))
            .collect()
    }

    /// Returns the rows with an id above `after` and up to `last` that the table had when they were seen
    /// last: those of the current series, and those of earlier ones that were shown since.
    pub(super) fn kept_between(&self, after: i64, last: i64) -> Vec<KeptRow> {
        let numbers = after.checked_add(1).and_then(|first| numbers_between(first, last, self.series));
        let current = numbers.into_iter().flat_map(|(first, last)| self.entries(first, last));
        let current = current
            .filter(|(_, entry)| entry.place != Place::Erased)
            .map(|(number, entry)| kept(number, entry));
        let shown = self.shown_again.iter().filter_map(|number| {
            let id = id_of(*number);
            self.kept(id).filter(|kept| id > after && id <= last && kept.number == *number)
        });
        current.chain(shown).collect()
    }

    /// Returns the number of rows with an id up to and including `last`, over all series. Ids that are
    /// texts are below all others. Erased rows don't count.
    pub(super) fn count_up_to(&self, last: i64) -> u64 {
        let texts = self.all().take_while(|(number, _)| is_text(*number));
        let texts = texts.filter(|(_, entry)| entry.place != Place::Erased).count() as u64;
        let of_series = |series| {
            let Some((first, last)) = numbers_between(i64::MIN, last, series) else { return 0 };
            self.entries(first, last).filter(|(_, entry)| entry.place != Place::Erased).count() as u64
        };
        texts + (0..=self.series).map(of_series).sum::<u64>()
    }

    /// Returns the highest number.
    pub(super) fn highest(&self) -> Option<i64> {
        let (chunk, slots) = self.chunks.last_key_value()?;
        slots.last().map(|slot| number(*chunk, slot))
    }

    /// Returns the numbers of all erased rows.
    pub(super) fn erased(&self) -> impl Iterator<Item = i64> {
        self.all().filter(|(_, entry)| entry.place == Place::Erased).map(|(number, _)| number)
    }

    /// Returns the numbers that an id may have, from the current series down to the first.
    fn numbers_of(&self, id: i64) -> impl Iterator<Item = i64> + use<> {
        let last = match is_text(id) {
            true => (0..)
                .take_while(|series| number_in(id, *series).is_some_and(|number| self.get(number).is_some()))
                .count() as u32,
            false => self.series,
        };
        (0..=last).rev().filter_map(move |series| number_in(id, series))
    }

    /// Returns the number of rows, erased ones included.
    pub(super) fn len(&self) -> u64 {
        self.chunks.values().map(|chunk| chunk.len() as u64).sum()
    }

    /// Returns all rows, by their numbers.
    pub(super) fn all(&self) -> impl Iterator<Item = (i64, Entry)> {
        self.entries(i64::MIN, i64::MAX)
    }

    fn entries(&self, first: i64, last: i64) -> impl Iterator<Item = (i64, Entry)> {
        let chunks = (first <= last).then(|| self.chunks.range(first >> CHUNK_BITS..=last >> CHUNK_BITS));
        chunks
            .into_iter()
            .flatten()
            .flat_map(|(chunk, slots)| slots.iter().map(|slot| (number(*chunk, slot), slot.entry())))
            .filter(move |(number, _)| (first..=last).contains(number))
    }
}

fn low(number: i64) -> u8 {
    number.to_le_bytes()[0]
}

fn number(chunk: i64, slot: &Slot) -> i64 {
    chunk << CHUNK_BITS | i64::from(slot.low)
}

fn kept(number: i64, entry: Entry) -> KeptRow {
    KeptRow { id: id_of(number), number, version: entry.version }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    fn digest(content: u64, created: u32) -> RowDigest {
        RowDigest { content, created }
    }

    fn entry(content: u64, created: u32, version: u16, place: Place) -> Entry {
        Entry { digest: digest(content, created), version, place }
    }

    /// Stores a row as the worker does, and returns what it was to the ledger.
    fn store(ledger: &mut Ledger, id: i64, content: u64, created: u32) -> Recognition {
        let recognition = ledger.recognize(id, digest(content, created));
        match recognition {
            Recognition::New(number) => ledger.record(number, entry(content, created, 1, Place::Pairs)),
            Recognition::Changed(kept) => {
                ledger.record(kept.number, entry(content, created, kept.version + 1, Place::Pairs));
            }
            Recognition::Repeat => {}
        }
        recognition
    }

    #[test]
    fn a_repeat_a_change_and_another_row_with_the_id_are_told_apart() {
        let mut ledger = Ledger::default();
        assert_eq!(store(&mut ledger, 7, 1, 100), Recognition::New(7));
        assert_eq!(store(&mut ledger, 7, 1, 100), Recognition::Repeat);
        assert_eq!(
            store(&mut ledger, 7, 2, 100),
            Recognition::Changed(KeptRow { id: 7, number: 7, version: 1 })
        );
        let again = number_in(7, 1).unwrap();
        assert_eq!(store(&mut ledger, 7, 3, 200), Recognition::New(again));
        assert_eq!(store(&mut ledger, 8, 4, 200), Recognition::New(number_in(8, 1).unwrap()));
        assert_eq!(store(&mut ledger, 7, 1, 100), Recognition::Repeat, "an old copy of the first row");
        assert_eq!(store(&mut ledger, 7, 2, 100), Recognition::Repeat, "likewise");
        assert_eq!(ledger.kept(7).unwrap(), KeptRow { id: 7, number: again, version: 1 });
        assert_eq!(ledger.kept_ever(7).len(), 2);
        let now: Vec<_> = ledger.kept_between(0, 100).into_iter().map(|kept| kept.id).collect();
        assert_eq!(now, [7, 8]);
    }

    #[test]
    fn a_row_of_an_earlier_series_is_in_the_table_only_if_it_was_shown_again() {
        let mut ledger = Ledger::default();
        store(&mut ledger, 7, 1, 100);
        store(&mut ledger, 8, 2, 100);
        assert!(ledger.may_be_in_table(7));
        store(&mut ledger, 8, 3, 200);
        assert!(!ledger.may_be_in_table(7) && !ledger.may_be_in_table(8));
        let ids =
            |ledger: &Ledger| ledger.kept_between(0, 100).iter().map(|kept| kept.id).collect::<Vec<_>>();
        assert_eq!(ids(&ledger), [8]);
        ledger.shown(7);
        ledger.shown(8);
        assert_eq!(ids(&ledger), [8, 7]);
        assert!(ledger.may_be_in_table(7) && !ledger.may_be_in_table(8));
        assert!(ledger.may_be_in_table(number_in(8, 1).unwrap()));
    }

    #[test]
    fn a_new_row_below_others_of_its_series_is_late() {
        let mut ledger = Ledger::default();
        let text = RowId::of_text("form-7").unwrap().number();
        assert!(!ledger.is_late(7) && !ledger.is_late(text));
        store(&mut ledger, 7, 1, 100);
        assert!(ledger.is_late(6) && !ledger.is_late(8) && !ledger.is_late(text));
        assert!(!ledger.is_late(number_in(3, 1).unwrap()), "it begins a series");
        store(&mut ledger, 7, 2, 200);
        let in_series = |id| number_in(id, 1).unwrap();
        assert!(ledger.is_late(in_series(6)) && !ledger.is_late(in_series(8)));
        ledger.begin_series_of(number_in(1, 2).unwrap());
        assert!(!ledger.is_late(number_in(1, 2).unwrap()), "no row of the series is stored yet");
    }

    #[test]
    fn without_a_time_every_other_text_is_a_change() {
        let mut ledger = Ledger::default();
        store(&mut ledger, 7, 1, 0);
        assert!(matches!(store(&mut ledger, 7, 2, 0), Recognition::Changed(_)));
        assert!(matches!(store(&mut ledger, 7, 3, 100), Recognition::Changed(_)));
    }

    #[test]
    fn an_erased_row_stays_erased_and_its_id_can_be_used_again() {
        let mut ledger = Ledger::default();
        store(&mut ledger, 7, 1, 100);
        ledger.record(7, entry(0, 0, 1, Place::Erased));
        assert_eq!(ledger.recognize(7, digest(9, 100)), Recognition::Repeat);
        assert_eq!(ledger.kept(7), None);
        assert_eq!(ledger.count_up_to(i64::MAX), 0);
        assert!(ledger.contains_id(7));
        ledger.record(7, entry(5, 100, 9, Place::Pairs));
        assert_eq!(ledger.get(7).unwrap().place, Place::Erased, "a late message changes nothing");
        assert!(
            matches!(ledger.recognize(7, digest(9, 200)), Recognition::New(number) if series_of(number) == 1)
        );
    }

    #[test]
    fn the_newest_version_decides_and_a_released_row_is_a_pair() {
        let mut ledger = Ledger::default();
        ledger.record(7, entry(1, 100, 2, Place::Quarantine));
        ledger.record(7, entry(1, 100, 1, Place::Pairs));
        assert_eq!(ledger.get(7).unwrap().place, Place::Quarantine);
        ledger.record(7, entry(1, 100, 2, Place::Pairs));
        ledger.record(7, entry(1, 100, 2, Place::Quarantine));
        assert_eq!(ledger.get(7).unwrap().place, Place::Pairs);
    }

    proptest! {
        #[test]
        fn a_ledger_is_a_map_of_numbers(ids in prop::collection::vec(prop_oneof![
            -20_i64..20,
            1_000_i64..1_600,
            -(1_i64 << 62)..=-(1_i64 << 62) + 3,
        ], 0..60), series in 0_u32..3) {
            let mut ledger = Ledger::default();
            let mut set = BTreeSet::new();
            ledger.begin_series_of(number_in(0, series).unwrap());
            for id in ids {
                let new = matches!(store(&mut ledger, id, 1, 1), Recognition::New(_));
                prop_assert_eq!(new, set.insert(id));
            }
            for id in (-22..22).chain(990..1_610).chain(i64::MIN..=(i64::MIN + 5)) {
                prop_assert_eq!(ledger.contains_id(id), set.contains(&id));
            }
            for last in [i64::MIN, -7, 0, 5, 1_300, i64::MAX] {
                prop_assert_eq!(ledger.count_up_to(last), set.range(..=last).count() as u64);
                let between: Vec<_> = ledger.kept_between(-3, last).into_iter().map(|kept| kept.id).collect();
                let lowest = if series == 0 { -2 } else { 0 };
                let expected: Vec<_> =
                    set.range(lowest.min(last.saturating_add(1))..).copied().filter(|id| *id <= last && *id >= lowest).collect();
                prop_assert_eq!(between, expected);
            }
        }

        #[test]
        fn the_order_of_messages_changes_nothing(
            messages in prop::collection::vec((0_i64..3, 1_u16..4, 0_usize..3), 0..20), seed in any::<u64>(),
        ) {
            let places = [Place::Quarantine, Place::Pairs, Place::Erased];
            let build = |messages: &[(i64, u16, usize)]| {
                let mut ledger = Ledger::default();
                for (number, version, place) in messages {
                    ledger.record(*number, entry(u64::from(*version), 1, *version, places[*place]));
                }
                (0..3).filter_map(|number| Some((number, ledger.get(number)?.place, ledger.get(number)?.version)))
                    .map(|(number, place, version)| (number, (place, if place == Place::Erased { 0 } else { version })))
                    .collect::<BTreeMap<_, _>>()
            };
            let mut other = messages.clone();
            let middle = if other.is_empty() { 0 } else { (seed % other.len() as u64) as usize };
            other.rotate_left(middle);
            prop_assert_eq!(build(&messages), build(&other));
        }
    }

    #[test]
    fn a_row_costs_sixteen_bytes() {
        assert_eq!(size_of::<Slot>(), 16);
    }
}

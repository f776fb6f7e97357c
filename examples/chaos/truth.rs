//! Everything that the table ever held, and what must have become of it.

use std::collections::BTreeMap;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::stored::Stored;

/// Word in every text, by which logs and records are searched for texts.
pub(crate) const MARK: &str = "qzxw";
/// Largest number of differences that are told.
const MAX_DIFFERENCES: usize = 12;

/// Id and texts of a row. No two rows or versions have the same texts.
pub(crate) type Texts = (i64, String, String);

/// State of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// The row has this text in the table.
    Current,
    /// The row had this text when the table was emptied. It stays in the data.
    Archived,
    /// The row has another text now. Messages with this text may stay, but a newer one counts.
    Replaced,
    /// The row was deleted, and every message with one of its texts is erased.
    Deleted,
}

/// Everything that the table ever held.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    fates: BTreeMap<Texts, Fate>,
    /// Texts of each row that the table has now; the last one is current.
    rows: BTreeMap<i64, Vec<Texts>>,
    counter: usize,
    pub(crate) inserted: usize,
    pub(crate) updated: usize,
    pub(crate) deleted: usize,
    pub(crate) truncated: usize,
}

/// Differences that a comparison has found.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct RowVerdict {
    pub(crate) lost: usize,
    pub(crate) doubled: usize,
    pub(crate) stale: usize,
    pub(crate) undead: usize,
    /// Texts that the table never had, and rows in the wrong stream.
    pub(crate) wrong: usize,
    pub(crate) differences: Vec<String>,
}

impl RowVerdict {
    pub(crate) fn is_right(&self) -> bool {
        self.lost + self.doubled + self.stale + self.undead + self.wrong == 0
    }
}

impl Truth {
    /// Returns texts that no row has had. One row in twenty is unfit for training.
    pub(crate) fn new_texts(&mut self, random: &mut ChaCha8Rng) -> (String, String) {
        self.counter += 1;
        let typo = match random.random_bool(0.05) {
            true => " ".to_owned(),
            false => format!("toyta {MARK}{}", self.counter),
        };
        (typo, format!("Toyota {MARK}{}", self.counter))
    }

    pub(crate) fn insert(&mut self, texts: Texts) {
        self.fates.insert(texts.clone(), Fate::Current);
        self.rows.entry(texts.0).or_default().push(texts);
        self.inserted += 1;
    }

    pub(crate) fn update(&mut self, texts: Texts) {
        let versions = self.rows.entry(texts.0).or_default();
        if let Some(before) = versions.last() {
            self.fates.insert(before.clone(), Fate::Replaced);
        }
        versions.push(texts.clone());
        self.fates.insert(texts, Fate::Current);
        self.updated += 1;
    }

    pub(crate) fn delete(&mut self, id: i64) {
        for texts in self.rows.remove(&id).into_iter().flatten() {
            self.fates.insert(texts, Fate::Deleted);
        }
        self.deleted += 1;
    }

    pub(crate) fn truncate(&mut self) {
        let versions = std::mem::take(&mut self.rows).into_values();
        for texts in versions.filter_map(|mut versions| versions.pop()) {
            self.fates.insert(texts, Fate::Archived);
        }
        self.truncated += 1;
    }

    /// Returns a random row of the table.
    pub(crate) fn pick(&self, random: &mut ChaCha8Rng) -> Option<i64> {
        let place = (!self.rows.is_empty()).then(|| random.random_range(0..self.rows.len()))?;
        self.rows.keys().nth(place).copied()
    }

    /// Returns the rows that the table must have now.
    pub(crate) fn current(&self) -> impl Iterator<Item = &Texts> {
        self.rows.values().filter_map(|versions| versions.last())
    }

    /// Compares what is stored with what must be.
    pub(crate) fn judge(&self, stored: &Stored) -> RowVerdict {
        let mut verdict = RowVerdict::default();
        let mut told = Vec::new();
        let mut tell = |what: &str, texts: &Texts, fate: Option<&Fate>, message: &str| {
            if told.len() < MAX_DIFFERENCES {
                told.push(format!("{what}: row {} {:?}, {fate:?}, {message}", texts.0, texts.2));
            }
        };
        for message in &stored.rows {
            let texts = &message.texts;
            match self.fates.get(texts) {
                None => {
                    verdict.wrong += 1;
                    tell("never in the table", texts, None, &message.id);
                }
                Some(Fate::Deleted) => {
                    verdict.undead += 1;
                    tell("undead", texts, Some(&Fate::Deleted), &message.id);
                }
                Some(_) if message.is_quarantined != texts.1.trim().is_empty() => {
                    verdict.wrong += 1;
                    tell("in the wrong stream", texts, None, &message.id);
                }
                Some(_) => {}
            }
        }
        for id in stored.repeated_ids() {
            verdict.doubled += 1;
            tell("stored twice", &(0, String::new(), String::new()), None, &id);
        }
        let mut seen: BTreeMap<&Texts, usize> = BTreeMap::new();
        for message in stored.newest() {
            *seen.entry(&message.texts).or_default() += 1;
            if let Some(fate @ Fate::Replaced) = self.fates.get(&message.texts) {
                verdict.stale += 1;
                tell("stale", &message.texts, Some(fate), &message.id);
            }
        }
        for (texts, fate) in
            self.fates.iter().filter(|(_, fate)| [Fate::Current, Fate::Archived].contains(fate))
        {
            match seen.get(texts) {
                None => {
                    verdict.lost += 1;
                    tell("lost", texts, Some(fate), "");
                }
                Some(1) => {}
                Some(times) => {
                    verdict.doubled += times - 1;
                    tell("doubled", texts, Some(fate), "");
                }
            }
        }
        RowVerdict { differences: told, ..verdict }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Row 1 was changed, row 2 deleted, row 3 is unfit for training, and row 4 as it was inserted.
    fn truth() -> Truth {
        let mut truth = Truth::default();
        for (id, typo) in [(1, "a"), (2, "b"), (3, " "), (4, "d")] {
            truth.insert(texts(id, typo));
        }
        truth.update(texts(1, "aa"));
        truth.delete(2);
        truth
    }

    fn texts(id: i64, typo: &str) -> Texts {
        (id, typo.to_owned(), format!("corrected {id} {typo}"))
    }

    /// Judges all that must be stored, and these messages besides.
    fn judged(more: &[(&str, Texts)]) -> RowVerdict {
        let wanted = [
            ("t:1", texts(1, "a")),
            ("t:1:v2", texts(1, "aa")),
            ("t:3", texts(3, " ")),
            ("t:4", texts(4, "d")),
        ];
        judged_exactly(&[&wanted, more].concat())
    }

    fn judged_exactly(messages: &[(&str, Texts)]) -> RowVerdict {
        let mut stored = Stored::default();
        for (id, texts) in messages {
            stored.add_row(id, texts.clone(), texts.1 == " ").unwrap();
        }
        stored.add_row("t:2:dropped", texts(2, ""), true).unwrap();
        truth().judge(&stored)
    }

    #[test]
    fn what_must_be_stored_is_right_and_every_difference_has_its_name() {
        assert_eq!(judged(&[]), RowVerdict::default());
        let lost =
            judged_exactly(&[("t:1", texts(1, "a")), ("t:1:v2", texts(1, "aa")), ("t:3", texts(3, " "))]);
        assert_eq!((lost.lost, lost.differences.len()), (1, 1), "{lost:?}");
        assert_eq!(judged(&[("t:4", texts(4, "d"))]).doubled, 1, "the same message id");
        assert_eq!(judged(&[("t:4:s1", texts(4, "d"))]).doubled, 1, "in another series");
        assert_eq!(judged(&[("t:1:v3", texts(1, "a"))]).stale, 1, "and lost");
        assert_eq!(judged(&[("t:2", texts(2, "b"))]).undead, 1);
        assert_eq!(judged(&[("t:5", texts(5, "e"))]).wrong, 1, "never in the table");
    }

    #[test]
    fn rows_of_before_a_truncation_must_stay() {
        let mut truth = truth();
        truth.truncate();
        truth.insert(texts(1, "new"));
        let mut stored = Stored::default();
        let archived = [("t:1", texts(1, "a")), ("t:1:v2", texts(1, "aa")), ("t:3", texts(3, " "))];
        for (id, texts) in archived.into_iter().chain([("t:1:s1", texts(1, "new"))]) {
            stored.add_row(id, texts.clone(), texts.1 == " ").unwrap();
        }
        assert_eq!(truth.judge(&stored).lost, 1, "row 4 is gone");
        stored.add_row("t:4", texts(4, "d"), false).unwrap();
        assert!(truth.judge(&stored).is_right());
    }
}

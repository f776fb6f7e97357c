//! Conflicts between rows: the same typo corrected to different names, decided by a vote.
//!
//! Rows enter the table with a key that every visitor has, so a pair may be wrong or malicious.
//! Every row stays on the stream as a vote, because only later rows show which correction is the
//! outlier; otherwise the first row would always win. Each dataset counts the votes of all rows and
//! leaves out the rows that lose, even rows that earlier runs trained on.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::correction::{Row, normalize};

/// Smallest ratio of the winning correction's votes to the runner-up's votes.
const MARGIN: usize = 2;

/// Rows for each correction of one typo: each with its place in the order of inserts, and its id.
type Voters = BTreeMap<String, BTreeSet<(i64, i64)>>;

/// Rows that a dataset leaves out because other rows correct the same typo differently.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conflicts {
    /// Ids of the rows whose typo has another correction as its winner.
    pub outvoted: BTreeSet<i64>,
    /// Ids of the rows whose typo has no winning correction.
    pub undecided: BTreeSet<i64>,
}

impl Conflicts {
    /// Counts the votes. A correction wins with at least twice as many rows as the runner-up. A
    /// correction that a person released wins over all others; among several released ones, the
    /// latest wins. The order of the rows doesn't matter.
    pub fn among<R: Borrow<Row>>(
        rows: impl IntoIterator<Item = R, IntoIter: Clone>,
        released: &BTreeSet<i64>,
    ) -> Self {
        let rows = rows.into_iter();
        let contested = contested(rows.clone());
        let mut typos: BTreeMap<(String, String), Voters> = BTreeMap::new();
        for row in rows.filter(|row| contested.contains(&typo_hash(row.borrow()))) {
            let row: &Row = row.borrow();
            let corrections = typos.entry((normalize(&row.domain), normalize(&row.typo))).or_default();
            corrections.entry(normalize(&row.corrected)).or_default().insert((row.insert_order(), row.id));
        }
        let mut conflicts = Self::default();
        for corrections in typos.into_values().filter(|corrections| corrections.len() > 1) {
            let winner = winner(&corrections, released).map(str::to_owned);
            let losing_ids = match winner {
                Some(_) => &mut conflicts.outvoted,
                None => &mut conflicts.undecided,
            };
            let losers =
                corrections.into_iter().filter(|(correction, _)| Some(correction) != winner.as_ref());
            losing_ids.extend(losers.flat_map(|(_, rows)| rows).map(|(_, id)| id));
        }
        conflicts
    }

    /// Returns true when the row is left out.
    pub fn contains(&self, id: i64) -> bool {
        self.outvoted.contains(&id) || self.undecided.contains(&id)
    }

    /// Returns the number of rows that are left out.
    pub fn len(&self) -> usize {
        self.outvoted.len() + self.undecided.len()
    }

    /// Returns true when no row is left out.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Returns the hashes of the typos that rows correct to different names. Most typos have one correction,
/// and their texts need no memory here. Two typos with one hash look contested and are compared by their
/// texts.
fn contested<R: Borrow<Row>>(rows: impl Iterator<Item = R>) -> HashSet<u64> {
    let (mut first, mut contested) = (HashMap::new(), HashSet::new());
    for row in rows {
        let row: &Row = row.borrow();
        let (typo, correction) = (typo_hash(row), hash_of([&normalize(&row.corrected)]));
        if *first.entry(typo).or_insert(correction) != correction {
            contested.insert(typo);
        }
    }
    contested
}

fn typo_hash(row: &Row) -> u64 {
    hash_of([&normalize(&row.domain), &normalize(&row.typo)])
}

fn hash_of<const N: usize>(texts: [&String; N]) -> u64 {
    let mut hasher = DefaultHasher::new();
    texts.hash(&mut hasher);
    hasher.finish()
}

fn winner<'a>(corrections: &'a Voters, released: &BTreeSet<i64>) -> Option<&'a str> {
    let released_corrections = corrections.iter().filter_map(|(correction, rows)| {
        let latest = rows.iter().rev().find(|(_, id)| released.contains(id))?;
        Some((latest, correction))
    });
    if let Some((_, correction)) = released_corrections.max() {
        return Some(correction);
    }
    let mut votes: Vec<_> = corrections.iter().map(|(correction, rows)| (rows.len(), correction)).collect();
    votes.sort_unstable();
    match votes.as_slice() {
        [.., (next, _), (most, correction)] if *most >= MARGIN * next => Some(correction),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rows(corrections: &[&str]) -> Vec<Row> {
        (1..)
            .zip(corrections)
            .map(|(id, corrected)| Row {
                id,
                typo: if id % 2 == 0 { "toyta" } else { " TOYTA" }.to_owned(),
                corrected: (*corrected).to_owned(),
                domain: "brand".to_owned(),
                ..Row::default()
            })
            .collect()
    }

    fn left_out(corrections: &[&str], released: &[i64]) -> (Vec<i64>, Vec<i64>) {
        let conflicts = Conflicts::among(rows(corrections), &released.iter().copied().collect());
        (conflicts.outvoted.into_iter().collect(), conflicts.undecided.into_iter().collect())
    }

    #[test]
    fn the_majority_wins_with_a_margin() {
        assert_eq!(left_out(&["Toyota", "toyota "], &[]), (vec![], vec![]));
        assert_eq!(left_out(&["Skoda", "Toyota", "Toyota"], &[]), (vec![1], vec![]));
        assert_eq!(left_out(&["Skoda", "Toyota"], &[]), (vec![], vec![1, 2]));
        assert_eq!(left_out(&["Skoda", "Skoda", "Toyota", "Toyota", "Toyota"], &[]).1.len(), 5);
    }

    #[test]
    fn one_correction_in_several_encodings_is_no_conflict() {
        assert_eq!(
            left_out(&["Citroën", "Citroe\u{308}n", "Citroën\u{200e}", "\u{feff}CITROËN"], &[]),
            (vec![], vec![])
        );
        let mut rows = rows(&["Citroën", "Skoda"]);
        rows[1].domain = "Brand\u{200b} ".to_owned();
        let conflicts = Conflicts::among(&rows, &BTreeSet::new());
        assert_eq!(conflicts.undecided.len(), 2, "one domain, one typo, two corrections");
    }

    #[test]
    fn a_pair_that_was_in_the_majority_can_lose_it() {
        let earlier = ["Skoda", "Skoda", "Toyota"];
        assert_eq!(left_out(&earlier, &[]).0, [3]);
        let later = ["Skoda", "Skoda", "Toyota", "Toyota", "Toyota", "Toyota"];
        assert_eq!(left_out(&later, &[]).0, [1, 2]);
    }

    #[test]
    fn a_person_decides_and_the_latest_decision_counts() {
        let corrections = ["Skoda", "Toyota", "Toyota", "Seat"];
        assert_eq!(left_out(&corrections, &[1]).0, [2, 3, 4]);
        assert_eq!(left_out(&corrections, &[1, 4]).0, [1, 2, 3]);
    }

    proptest! {
        #[test]
        fn the_order_of_rows_changes_nothing_and_one_correction_at_most_is_left(
            picks in prop::collection::vec(0_usize..4, 0..30), released in prop::collection::btree_set(1_i64..30, 0..4),
        ) {
            let names = ["Skoda", "Toyota", "Seat", "Audi"];
            let mut rows = rows(&picks.iter().map(|pick| names[*pick]).collect::<Vec<_>>());
            let one = Conflicts::among(&rows, &released);
            rows.reverse();
            prop_assert_eq!(&one, &Conflicts::among(&rows, &released));
            let kept: BTreeSet<_> = rows.iter().filter(|row| !one.contains(row.id)).map(|row| &row.corrected).collect();
            prop_assert!(kept.len() <= 1);
            prop_assert!(one.outvoted.is_disjoint(&one.undecided));
        }
    }
}

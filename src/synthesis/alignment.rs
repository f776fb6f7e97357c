//! Alignment of a typo with its correction: the cheapest path of an edit distance whose edits are
//! the slips.

use super::edit::{Edit, Typing, edits};
use super::letters::lower;
use super::rates::MOST_SLIPS;
use super::{Slip, SlipSet};
use crate::correction::normalize;

/// Cost of one slip.
const SLIP: u32 = 2;
/// Cost of a slip that can explain more than one letter, or any letter. It is more than the cost of
/// one slip and less than that of two, so that it never hides another kind.
const BROAD: u32 = 3;
/// Cost of a character that no slip explains, for the same reason.
const UNEXPLAINED: u32 = 3;

/// Slips that turn a correction into its typo.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Alignment {
    /// Slips, from left to right.
    pub slips: Vec<Slip>,
    /// Number of characters that no slip explains.
    pub unexplained: usize,
    /// True when the typo is another word altogether: the texts have nothing in common, or two slips or
    /// more change half of the longer text, or leave less than half of the shorter one. With the
    /// original slips, true when there are more than three slips or an unexplained character.
    pub is_another_word: bool,
}

/// Costs up to which a path is looked for, one after the other. Most typos are near their
/// corrections, so that the first search visits few cells.
const SEARCHES: [u32; 2] = [4 * SLIP, u32::MAX - UNEXPLAINED];

/// Last step of the cheapest path to a cell of the table.
#[derive(Clone, Copy)]
struct PathStep {
    cost: u32,
    from: (usize, usize),
    slip: Option<Slip>,
}

/// Returns the cost of a slip in an alignment.
fn cost(slip: Slip) -> u32 {
    match slip {
        Slip::Substituted | Slip::Inserted | Slip::WordAdded => BROAD,
        slip if slip.shortens() => BROAD,
        _ => SLIP,
    }
}

/// Aligns a typo with its correction. Case and extra white space are ignored.
///
/// The run time is proportional to the product of the two lengths. The checks of a row limit each
/// length to 256 characters.
pub fn align(typo: &str, corrected: &str, typing: Typing) -> Alignment {
    Correction::new(corrected, typing).align(typo)
}

/// A correction, with every edit that a slip can make to it.
pub(super) struct Correction {
    letters: Vec<char>,
    /// Edits by the places at which they begin.
    from_place: Vec<Vec<(Slip, Edit)>>,
    slips: SlipSet,
}

impl Correction {
    /// Lists the edits of a correction, in lower case and without extra white space.
    pub(super) fn new(corrected: &str, typing: Typing) -> Self {
        let letters = lower(&normalize(corrected).chars().collect::<Vec<_>>());
        let mut from_place: Vec<Vec<(Slip, Edit)>> = vec![Vec::new(); letters.len() + 1];
        for slip in typing.slips.kinds() {
            for edit in edits(slip, &letters, typing) {
                from_place[edit.at].push((slip, edit));
            }
        }
        Self { letters, from_place, slips: typing.slips }
    }

    /// Aligns a typo with the correction, as [`align`] does.
    pub(super) fn align(&self, typo: &str) -> Alignment {
        let typo: Vec<char> = normalize(typo).chars().collect();
        let corrected = &self.letters;
        let end = (corrected.len(), typo.len());
        let mut table = Vec::new();
        for limit in SEARCHES {
            table = paths(corrected, &typo, &self.from_place, limit);
            if table[end.0][end.1].cost <= limit {
                break;
            }
        }
        let mut alignment = Alignment::default();
        // Characters that the typo still has of the correction. Those of a slip that writes a letter again,
        // or beside it, don't count.
        let mut kept = 0;
        let mut place = end;
        while place != (0, 0) {
            let step = table[place.0][place.1];
            let free = step.cost == table[step.from.0][step.from.1].cost;
            alignment.slips.extend(step.slip);
            kept += match step.slip {
                Some(Slip::Abbreviated | Slip::Swapped) => place.1 - step.from.1,
                _ => usize::from(free),
            };
            alignment.unexplained += usize::from(step.slip.is_none() && !free);
            place = step.from;
        }
        alignment.slips.reverse();
        let changes = alignment.slips.len() + alignment.unexplained;
        alignment.is_another_word = match self.slips {
            SlipSet::Original => alignment.unexplained > 0 || alignment.slips.len() > MOST_SLIPS,
            SlipSet::Full => {
                let (shorter, longer) = (corrected.len().min(typo.len()), corrected.len().max(typo.len()));
                let many = table[end.0][end.1].cost as usize > longer || kept * 2 < shorter;
                changes > 0 && (kept == 0 || (changes > 1 && many))
            }
        };
        alignment
    }
}

/// Returns the cheapest path to each cell, as far as paths of at most `limit` reach.
fn paths(
    corrected: &[char],
    typo: &[char],
    from_place: &[Vec<(Slip, Edit)>],
    limit: u32,
) -> Vec<Vec<PathStep>> {
    let start = PathStep { cost: u32::MAX, from: (0, 0), slip: None };
    let mut table = vec![vec![start; typo.len() + 1]; corrected.len() + 1];
    table[0][0].cost = 0;
    for i in 0..=corrected.len() {
        for j in 0..=typo.len() {
            let reached = table[i][j].cost;
            if reached > limit {
                continue;
            }
            let mut offer = |to: (usize, usize), cost: u32, slip: Option<Slip>| {
                let Some(step) = table.get_mut(to.0).and_then(|row| row.get_mut(to.1)) else { return };
                if reached + cost < step.cost {
                    *step = PathStep { cost: reached + cost, from: (i, j), slip };
                }
            };
            if corrected.get(i).is_some_and(|c| typo.get(j) == Some(c)) {
                offer((i + 1, j + 1), 0, None);
            }
            for (slip, edit) in &from_place[i] {
                if let Some(written) = edit.written(corrected, typo, j) {
                    offer((i + edit.length, j + written), cost(*slip), Some(*slip));
                }
            }
            for to in [(i + 1, j + 1), (i + 1, j), (i, j + 1)] {
                offer(to, UNEXPLAINED, None);
            }
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FULL: Typing = Typing { keyboard: super::super::Keyboard::Qwerty, slips: SlipSet::Full };
    const ORIGINAL: Typing = Typing { slips: SlipSet::Original, ..FULL };

    fn slips(typo: &str, corrected: &str) -> Vec<Slip> {
        let alignment = align(typo, corrected, FULL);
        assert_eq!(alignment.unexplained, 0, "{typo} for {corrected}");
        assert!(!alignment.is_another_word, "{typo} for {corrected}");
        alignment.slips
    }

    #[test]
    fn slips_are_recognized() {
        assert_eq!(slips("TOYOTA ", "Toyota"), []);
        assert_eq!(slips("toyta", "Toyota"), [Slip::Dropped]);
        assert_eq!(slips("toyyota", "Toyota"), [Slip::Doubled]);
        assert_eq!(slips("nisan", "Nissan"), [Slip::Undoubled]);
        assert_eq!(slips("toyoat", "Toyota"), [Slip::Swapped]);
        assert_eq!(slips("toyora", "Toyota"), [Slip::Neighbor]);
        assert_eq!(slips("landrover", "Land Rover"), [Slip::Joined]);
        assert_eq!(slips("mcdonalds", "McDonald's"), [Slip::Unpunctuated]);
        assert_eq!(slips("faeton", "Phaeton"), [Slip::Phonetic]);
        assert_eq!(slips("toyoto", "Toyota"), [Slip::Vowel]);
        assert_eq!(slips("t0yota", "Toyota"), [Slip::Digit]);
        assert_eq!(slips("gol f", "Golf"), [Slip::Split]);
        assert_eq!(slips("goplf", "Golf"), [Slip::Stray]);
        assert_eq!(slips("toytaa", "Toyota"), [Slip::Dropped, Slip::Doubled]);
        assert_eq!(slips("CHEV", "Chevrolet"), [Slip::Truncated]);
        assert_eq!(slips("e. hartford", "East Hartford"), [Slip::Truncated]);
        assert_eq!(slips("TOYT", "Toyota"), [Slip::Abbreviated]);
        assert_eq!(slips("vw", "Volkswagen"), [Slip::Abbreviated]);
        assert_eq!(slips("benz", "Mercedes-Benz"), [Slip::WordMissing]);
        assert_eq!(slips("toyota sedan", "Toyota"), [Slip::WordAdded]);
        assert_eq!(slips("the golf", "Golf"), [Slip::WordAdded]);
        assert_eq!(slips("tokota", "Toyota"), [Slip::Substituted]);
        assert_eq!(slips("toyonta", "Toyota"), [Slip::Inserted]);
    }

    #[test]
    fn the_original_slips_explain_what_they_did() {
        assert_eq!(align("nisan", "Nissan", ORIGINAL).slips, [Slip::Dropped]);
        assert_eq!(align("tokota", "Toyota", ORIGINAL).unexplained, 1);
        let alignment = align("vw", "Volkswagen", ORIGINAL);
        assert!(alignment.unexplained + alignment.slips.len() >= 8);
        assert_eq!(align("", "Golf", ORIGINAL).unexplained, 0, "each letter dropped");
        assert_eq!(align("golf", "", ORIGINAL).unexplained, 4);
    }

    #[test]
    fn another_word_is_recognized() {
        for (typo, corrected) in [("audi", "Toyota"), ("moodus", "East Haddam"), ("", "Golf"), ("xyz", "Kia")]
        {
            assert!(align(typo, corrected, FULL).is_another_word, "{typo} for {corrected}");
        }
        assert!(!align("golf", "Golf", FULL).is_another_word);
    }

    proptest! {
        #[test]
        fn any_two_texts_align(typo in ".{0,20}|[ab -]{0,9}", corrected in ".{0,20}|[ab -]{0,9}", full: bool) {
            let alignment = align(&typo, &corrected, if full { FULL } else { ORIGINAL });
            let changed = alignment.unexplained + alignment.slips.len();
            prop_assert_eq!(changed == 0, normalize(&typo) == normalize(&corrected) || lower_equal(&typo, &corrected));
            let lengths = [&typo, &corrected].map(|text| normalize(text).chars().count());
            prop_assert!(changed <= typo.chars().count().max(corrected.chars().count()) * 3);
            prop_assert!(alignment.unexplained <= lengths[0].max(lengths[1]));
        }
    }

    fn lower_equal(typo: &str, corrected: &str) -> bool {
        let normal = |text: &str| normalize(text).chars().collect::<Vec<_>>();
        normal(typo) == lower(&normal(corrected))
    }
}

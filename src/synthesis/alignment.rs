//! Alignment of a typo with its correction: the cheapest path of an edit distance whose edits are
//! the slips.

use super::slip::{Edit, edits, lower};
use super::{Keyboard, Slip};
use crate::correction::normalize;

/// Cost of one slip.
const SLIP: u32 = 2;
/// Cost of a character that no slip explains. It is more than the cost of one slip and less than
/// that of two, so that an unexplained character never hides a slip.
const UNEXPLAINED: u32 = 3;

/// Slips that turn a correction into its typo.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Alignment {
    /// Slips, from left to right.
    pub slips: Vec<Slip>,
    /// Number of characters that no slip explains.
    pub unexplained: usize,
}

/// Last step of the cheapest path to a cell of the table.
#[derive(Clone, Copy)]
struct PathStep {
    cost: u32,
    from: (usize, usize),
    slip: Option<Slip>,
    unexplained: bool,
}

/// Aligns a typo with its correction. Case and extra white space are ignored.
///
/// The run time is proportional to the product of the two lengths. The checks of a row limit each
/// length to 256 characters.
pub fn align(typo: &str, corrected: &str, keyboard: Keyboard) -> Alignment {
    let typo: Vec<char> = normalize(typo).chars().collect();
    let corrected = lower(&normalize(corrected).chars().collect::<Vec<_>>());
    let mut from_place: Vec<Vec<(Slip, Edit)>> = vec![Vec::new(); corrected.len() + 1];
    for slip in Slip::ALL {
        for edit in edits(slip, &corrected, keyboard) {
            from_place[edit.at].push((slip, edit));
        }
    }
    let start = PathStep { cost: u32::MAX, from: (0, 0), slip: None, unexplained: false };
    let mut table = vec![vec![start; typo.len() + 1]; corrected.len() + 1];
    table[0][0].cost = 0;
    for i in 0..=corrected.len() {
        for j in 0..=typo.len() {
            let reached = table[i][j].cost;
            if reached == u32::MAX {
                continue;
            }
            let mut offer = |to: (usize, usize), cost: u32, slip: Option<Slip>| {
                let Some(step) = table.get_mut(to.0).and_then(|row| row.get_mut(to.1)) else { return };
                let unexplained = cost == UNEXPLAINED;
                if reached + cost < step.cost {
                    *step = PathStep { cost: reached + cost, from: (i, j), slip, unexplained };
                }
            };
            if corrected.get(i).is_some_and(|c| typo.get(j) == Some(c)) {
                offer((i + 1, j + 1), 0, None);
            }
            for (slip, edit) in &from_place[i] {
                if typo[j..].starts_with(&edit.replacement) {
                    offer((i + edit.length, j + edit.replacement.len()), SLIP, Some(*slip));
                }
            }
            for to in [(i + 1, j + 1), (i + 1, j), (i, j + 1)] {
                offer(to, UNEXPLAINED, None);
            }
        }
    }
    let mut alignment = Alignment::default();
    let mut place = (corrected.len(), typo.len());
    while place != (0, 0) {
        let step = table[place.0][place.1];
        alignment.slips.extend(step.slip);
        alignment.unexplained += usize::from(step.unexplained);
        place = step.from;
    }
    alignment.slips.reverse();
    alignment
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn slips(typo: &str, corrected: &str) -> Vec<Slip> {
        let alignment = align(typo, corrected, Keyboard::Qwerty);
        assert_eq!(alignment.unexplained, 0, "{typo} for {corrected}");
        alignment.slips
    }

    #[test]
    fn slips_are_recognized() {
        assert_eq!(slips("TOYOTA ", "Toyota"), []);
        assert_eq!(slips("toyta", "Toyota"), [Slip::Dropped]);
        assert_eq!(slips("toyyota", "Toyota"), [Slip::Doubled]);
        assert_eq!(slips("toyoat", "Toyota"), [Slip::Swapped]);
        assert_eq!(slips("toyora", "Toyota"), [Slip::Neighbor]);
        assert_eq!(slips("landrover", "Land Rover"), [Slip::Joined]);
        assert_eq!(slips("faeton", "Phaeton"), [Slip::Phonetic]);
        assert_eq!(slips("gol f", "Golf"), [Slip::Split]);
        assert_eq!(slips("goplf", "Golf"), [Slip::Stray]);
        assert_eq!(slips("toytaa", "Toyota"), [Slip::Dropped, Slip::Doubled]);
    }

    #[test]
    fn what_is_no_slip_is_said_to_be_unexplained() {
        let alignment = align("vw", "Volkswagen", Keyboard::Qwerty);
        assert!(alignment.unexplained + alignment.slips.len() >= 8);
        assert_eq!(align("", "Golf", Keyboard::Qwerty).unexplained, 0, "each letter dropped");
        assert_eq!(align("golf", "", Keyboard::Qwerty).unexplained, 4);
    }

    proptest! {
        #[test]
        fn any_two_texts_align(typo in ".{0,20}", corrected in ".{0,20}") {
            let alignment = align(&typo, &corrected, Keyboard::Qwerty);
            let changed = alignment.unexplained + alignment.slips.len();
            prop_assert_eq!(changed == 0, normalize(&typo) == normalize(&corrected) || lower_equal(&typo, &corrected));
            prop_assert!(changed <= typo.chars().count().max(corrected.chars().count()) * 3);
        }
    }

    fn lower_equal(typo: &str, corrected: &str) -> bool {
        let normal = |text: &str| normalize(text).chars().collect::<Vec<_>>();
        normal(typo) == lower(&normal(corrected))
    }
}

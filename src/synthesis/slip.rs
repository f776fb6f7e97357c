//! Kinds of slip, and every edit that each can make to a text.
//!
//! The generator and the learning of rates use the same list of edits, so the learned rates apply
//! to exactly the slips that are drawn.

use serde::{Deserialize, Serialize};

use super::Keyboard;
use super::sounds::substitutions;

/// One kind of slip of the hand or the ear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Slip {
    /// A key was hit twice: `toyyota`.
    Doubled,
    /// A key was not hit: `toyta`.
    Dropped,
    /// Two letters changed places: `toyoat`.
    Swapped,
    /// A space or hyphen was left out, or replaced by the other: `landrover`.
    Joined,
    /// A sound was spelled differently: `mitsubishy`.
    Phonetic,
    /// An adjacent key was hit instead: `toyora`.
    #[serde(rename = "neighbour")]
    Neighbor,
    /// A space was inserted where none belongs: `land cruis er`.
    Split,
    /// An adjacent key was hit as well: `toyotra`.
    Stray,
}

impl Slip {
    /// All kinds. When several kinds explain an edit, an alignment takes the first in this order.
    /// An edit that is both phonetic and an adjacent key (`s` for `z`) counts as phonetic: there
    /// are few sounds and many neighbors, so the sound is the stronger evidence.
    pub const ALL: [Self; 8] = [
        Self::Doubled,
        Self::Dropped,
        Self::Swapped,
        Self::Joined,
        Self::Phonetic,
        Self::Neighbor,
        Self::Split,
        Self::Stray,
    ];
}

/// One edit that a slip can make: `length` characters from position `at` are replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edit {
    pub(super) at: usize,
    pub(super) length: usize,
    pub(super) replacement: Vec<char>,
}

impl Edit {
    /// Applies the edit to a text. A replaced capital stays a capital.
    pub(super) fn apply(&self, text: &mut Vec<char>) {
        let capital = text.get(self.at).is_some_and(|c| c.is_uppercase());
        let mut replacement = self.replacement.clone();
        if let Some(first) = replacement.first_mut().filter(|_| capital) {
            let mut upper = first.to_uppercase();
            if let (Some(letter), None) = (upper.next(), upper.next()) {
                *first = letter;
            }
        }
        text.splice(self.at..self.at + self.length, replacement);
    }
}

/// Converts each character to lower case. A character without a single lower-case character stays
/// as it is.
pub(super) fn lower(text: &[char]) -> Vec<char> {
    let single = |c: &char| {
        let mut lower = c.to_lowercase();
        match (lower.next(), lower.next()) {
            (Some(only), None) => only,
            _ => *c,
        }
    };
    text.iter().map(single).collect()
}

/// True when slips can affect this character.
fn typed(c: char) -> bool {
    c.is_alphanumeric()
}

/// Returns every edit that `slip` can make to a lower-case text, from left to right.
pub(super) fn edits(slip: Slip, text: &[char], keyboard: Keyboard) -> Vec<Edit> {
    let one = |at: usize, replacement: Vec<char>| Edit { at, length: 1, replacement };
    let typed_at = || text.iter().copied().enumerate().filter(|(_, c)| typed(*c));
    let followed = |at: usize| text.get(at + 1).copied().filter(|next| typed(*next));
    match slip {
        Slip::Doubled => typed_at().map(|(at, c)| one(at, vec![c, c])).collect(),
        // Nobody can recognize a two-letter name from one letter.
        Slip::Dropped if text.len() <= 2 => Vec::new(),
        Slip::Dropped => typed_at().map(|(at, _)| one(at, Vec::new())).collect(),
        Slip::Swapped => typed_at()
            .filter_map(|(at, c)| {
                let next = followed(at).filter(|next| *next != c)?;
                Some(Edit { at, length: 2, replacement: vec![next, c] })
            })
            .collect(),
        Slip::Joined => text
            .iter()
            .enumerate()
            .flat_map(|(at, c)| match c {
                ' ' => vec![one(at, Vec::new()), one(at, vec!['-'])],
                '-' => vec![one(at, Vec::new()), one(at, vec![' '])],
                _ => Vec::new(),
            })
            .collect(),
        Slip::Neighbor => typed_at()
            .flat_map(|(at, c)| keyboard.neighbors(c).into_iter().map(move |key| one(at, vec![key])))
            .collect(),
        Slip::Phonetic => {
            let mut edits = Vec::new();
            for (heard, written) in substitutions() {
                let heard: Vec<char> = heard.chars().collect();
                let places = text.windows(heard.len()).enumerate().filter(|(_, window)| *window == heard);
                edits.extend(places.map(|(at, _)| Edit {
                    at,
                    length: heard.len(),
                    replacement: written.chars().collect(),
                }));
            }
            edits.sort_by_key(|edit| edit.at);
            edits
        }
        Slip::Split => typed_at()
            .filter(|(at, _)| followed(*at).is_some())
            .map(|(at, c)| one(at, vec![c, ' ']))
            .collect(),
        Slip::Stray => typed_at()
            .flat_map(|(at, c)| keyboard.neighbors(c).into_iter().map(move |key| one(at, vec![c, key])))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(slip: Slip, text: &str) -> Vec<String> {
        let text: Vec<char> = text.chars().collect();
        let each = edits(slip, &lower(&text), Keyboard::Qwerty).into_iter().map(|edit| {
            let mut text = text.clone();
            edit.apply(&mut text);
            text.into_iter().collect()
        });
        each.collect()
    }

    #[test]
    fn each_slip_does_what_it_says() {
        assert_eq!(after(Slip::Doubled, "Kia"), ["Kkia", "Kiia", "Kiaa"]);
        assert_eq!(after(Slip::Dropped, "kia"), ["ia", "ka", "ki"]);
        assert_eq!(after(Slip::Swapped, "kia"), ["ika", "kai"]);
        assert_eq!(after(Slip::Joined, "C-HR"), ["CHR", "C HR"]);
        assert_eq!(after(Slip::Joined, "Up GTI"), ["UpGTI", "Up-GTI"]);
        assert_eq!(after(Slip::Neighbor, "Q7"), ["W7", "A7", "Q6", "Q8"]);
        assert_eq!(after(Slip::Split, "i30"), ["i 30", "i3 0"]);
        assert_eq!(after(Slip::Stray, "Q"), ["Qw", "Qa"]);
        assert!(after(Slip::Phonetic, "Phaeton").contains(&"Faeton".to_owned()));
        assert!(after(Slip::Phonetic, "Škoda").contains(&"Skoda".to_owned()));
    }

    #[test]
    fn what_cannot_happen_is_not_offered() {
        assert!(after(Slip::Dropped, "up").is_empty());
        assert!(after(Slip::Swapped, "aa").is_empty());
        assert!(after(Slip::Joined, "kia").is_empty());
        assert!(after(Slip::Phonetic, "bmp").is_empty());
    }
}

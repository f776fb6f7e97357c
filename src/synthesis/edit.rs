//! Every edit that each kind of slip can make to a text.
//!
//! The generator and the learning of rates use the same list of edits, so the learned rates apply
//! to exactly the slips that are drawn.

use std::ops::Range;

use super::letters::{is_mark, is_separator, is_typed, is_vowel, look_alikes, other_vowels};
use super::sounds::substitutions;
use super::words::words;
use super::{Keyboard, Slip, SlipSet};

/// Minimum length of a word that is abbreviated, and of one that is cut short without another beside it.
const LONG_WORD: usize = 5;
/// Number of letters by which a name can still be told: the minimum that is left of a name, or of another
/// word beside one that is cut short. A shorter beginning of a word may be its abbreviation.
const STUMP: usize = 3;
/// Numbers of letters that an abbreviation has.
const ABBREVIATION: Range<usize> = 2..6;

/// Way in which people type: the keyboard, and the kinds of slip that are distinguished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Typing {
    /// Layout of the keyboard.
    pub keyboard: Keyboard,
    /// Kinds of slip.
    pub slips: SlipSet,
}

/// Text that an edit writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Replacement {
    /// Exactly these characters.
    Text(Vec<char>),
    /// Any letter or digit.
    AnyLetter,
    /// Some of the letters of the word that is replaced: the first, and not only its beginning.
    Abbreviation,
    /// Any word, and the space between it and the rest.
    AnyWord,
}

/// One edit that a slip can make: `length` characters from position `at` are replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edit {
    pub(super) at: usize,
    pub(super) length: usize,
    pub(super) replacement: Replacement,
}

impl Edit {
    fn text(at: usize, length: usize, replacement: Vec<char>) -> Self {
        Self { at, length, replacement: Replacement::Text(replacement) }
    }

    /// Returns the number of characters of `typo` from position `from` that this edit can have
    /// written in place of its part of `text`; `None` when it has not written them.
    pub(super) fn written(&self, text: &[char], typo: &[char], from: usize) -> Option<usize> {
        let rest = &typo[from..];
        let starts_word = from == 0 || is_separator(typo[from - 1]);
        let word = |rest: &[char]| rest.iter().position(|c| is_separator(*c)).unwrap_or(rest.len());
        match &self.replacement {
            Replacement::Text(text) => rest.starts_with(text).then_some(text.len()),
            Replacement::AnyLetter => rest.first().copied().is_some_and(is_typed).then_some(1),
            Replacement::Abbreviation => {
                let length = word(rest);
                let letters = rest[..length].strip_suffix(&['.']).unwrap_or(&rest[..length]);
                let whole = &text[self.at..self.at + self.length];
                (starts_word && abbreviates(letters, whole)).then_some(length)
            }
            Replacement::AnyWord if self.at < text.len() => {
                let length = word(rest);
                (starts_word && length > 0 && length < rest.len()).then_some(length + 1)
            }
            Replacement::AnyWord => {
                let (space, rest) = rest.split_first()?;
                let length = word(rest);
                (is_separator(*space) && length > 0).then_some(length + 1)
            }
        }
    }
}

/// Returns true when `short` could be an abbreviation of `word`.
fn abbreviates(short: &[char], word: &[char]) -> bool {
    let mut rest = word.iter();
    ABBREVIATION.contains(&short.len())
        && short.len() <= abbreviation_limit(word.len())
        && short.first() == word.first()
        && (short.len() < STUMP || !word.starts_with(short))
        && short.iter().all(|c| rest.any(|other| other == c))
}

/// Returns the maximum length of an abbreviation of a word: two thirds of it. Longer ones are words
/// with dropped letters.
pub(super) fn abbreviation_limit(word: usize) -> usize {
    (word * 2 / 3).min(ABBREVIATION.end - 1)
}

/// Returns every edit that `slip` can make to a lower-case text, from left to right.
pub(super) fn edits(slip: Slip, text: &[char], typing: Typing) -> Vec<Edit> {
    let one = |at: usize, replacement: Vec<char>| Edit::text(at, 1, replacement);
    let typed_at = || text.iter().copied().enumerate().filter(|(_, c)| is_typed(*c));
    let followed = |at: usize| text.get(at + 1).copied().filter(|next| is_typed(*next));
    let neighbors = |c: char| typing.keyboard.neighbors(c);
    let full = typing.slips == SlipSet::Full;
    match slip {
        Slip::Doubled => typed_at().map(|(at, c)| one(at, vec![c, c])).collect(),
        // Nobody can recognize a two-letter name from one letter.
        Slip::Dropped | Slip::Undoubled if text.len() <= 2 => Vec::new(),
        Slip::Undoubled => typed_at()
            .filter(|(at, c)| followed(*at) == Some(*c))
            .map(|(at, c)| Edit::text(at, 2, vec![c]))
            .collect(),
        Slip::Dropped => {
            let doubled = |at: usize, c: char| followed(at) == Some(c) || (at > 0 && text[at - 1] == c);
            let dropped = typed_at().filter(|(at, c)| !full || !doubled(*at, *c));
            dropped.map(|(at, _)| one(at, Vec::new())).collect()
        }
        Slip::Swapped => typed_at()
            .filter_map(|(at, c)| {
                let next = followed(at).filter(|next| *next != c)?;
                Some(Edit::text(at, 2, vec![next, c]))
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
        Slip::Unpunctuated => {
            let marks = text.iter().enumerate().filter(|(_, c)| is_mark(**c));
            marks.map(|(at, _)| one(at, Vec::new())).collect()
        }
        Slip::Neighbor => typed_at()
            .flat_map(|(at, c)| neighbors(c).into_iter().map(move |key| (at, c, key)))
            .filter(|(_, c, key)| !(full && is_vowel(*c) && is_vowel(*key)))
            .map(|(at, _, key)| one(at, vec![key]))
            .collect(),
        Slip::Vowel => {
            typed_at().flat_map(|(at, c)| other_vowels(c).map(move |other| one(at, vec![other]))).collect()
        }
        Slip::Digit => {
            typed_at().flat_map(|(at, c)| look_alikes(c).map(move |other| one(at, vec![other]))).collect()
        }
        Slip::Phonetic => phonetic(text),
        Slip::Split => typed_at()
            .filter(|(at, _)| followed(*at).is_some())
            .map(|(at, c)| one(at, vec![c, ' ']))
            .collect(),
        Slip::Stray => typed_at()
            .flat_map(|(at, c)| neighbors(c).into_iter().map(move |key| one(at, vec![c, key])))
            .collect(),
        Slip::Truncated => truncated(text),
        Slip::Abbreviated => words(text)
            .into_iter()
            .filter(|word| word.len() >= LONG_WORD)
            .map(|word| Edit { at: word.start, length: word.len(), replacement: Replacement::Abbreviation })
            .collect(),
        Slip::WordMissing => word_missing(text),
        Slip::WordAdded => {
            let word = |at| Edit { at, length: 0, replacement: Replacement::AnyWord };
            if text.is_empty() { Vec::new() } else { vec![word(0), word(text.len())] }
        }
        Slip::Substituted => {
            typed_at().map(|(at, _)| Edit { at, length: 1, replacement: Replacement::AnyLetter }).collect()
        }
        Slip::Inserted => {
            let beside = |at: &usize| {
                let [before, after] = [at.checked_sub(1), Some(*at)].map(|at| text.get(at?).copied());
                before.is_some_and(is_typed) || after.is_some_and(is_typed)
            };
            (0..=text.len())
                .filter(beside)
                .map(|at| Edit { at, length: 0, replacement: Replacement::AnyLetter })
                .collect()
        }
    }
}

fn phonetic(text: &[char]) -> Vec<Edit> {
    let mut edits = Vec::new();
    for (heard, written) in substitutions() {
        let heard: Vec<char> = heard.chars().collect();
        let places = text.windows(heard.len()).enumerate().filter(|(_, window)| *window == heard);
        edits.extend(places.map(|(at, _)| Edit::text(at, heard.len(), written.chars().collect())));
    }
    edits.sort_by_key(|edit| edit.at);
    edits
}

/// Cuts two or more letters off a word. Of a word beside others, one letter may be left.
fn truncated(text: &[char]) -> Vec<Edit> {
    let words = words(text);
    let mut edits = Vec::new();
    for word in &words {
        let beside = words.iter().any(|other| other != word && other.len() >= STUMP);
        let left = match beside {
            true => 1,
            false if word.len() < LONG_WORD => continue,
            false => STUMP,
        };
        for at in word.start + left..word.end - 1 {
            edits.push(Edit::text(at, word.end - at, Vec::new()));
            edits.push(Edit::text(at, word.end - at, vec!['.']));
        }
    }
    edits
}

/// Leaves out a word, and the separator between it and the rest.
fn word_missing(text: &[char]) -> Vec<Edit> {
    let words = words(text);
    if words.len() < 2 {
        return Vec::new();
    }
    let letters: usize = words.iter().map(ExactSizeIterator::len).sum();
    let mut edits = Vec::new();
    for (number, word) in words.iter().enumerate().filter(|(_, word)| letters - word.len() >= STUMP) {
        let gone = match number {
            0 => word.start..words[1].start,
            _ => words[number - 1].end..word.end,
        };
        edits.push(Edit::text(gone.start, gone.len(), Vec::new()));
    }
    edits
}

#[cfg(test)]
mod tests {
    use super::super::letters::lower;
    use super::*;

    fn after(slip: Slip, text: &str) -> Vec<String> {
        let text: Vec<char> = text.chars().collect();
        let typing = Typing { slips: SlipSet::Full, ..Typing::default() };
        let each = edits(slip, &lower(&text), typing).into_iter().map(|edit| {
            let Replacement::Text(written) = edit.replacement else { panic!("{slip:?} is open-ended") };
            let mut text = text.clone();
            text.splice(edit.at..edit.at + edit.length, written);
            text.into_iter().collect()
        });
        each.collect()
    }

    #[test]
    fn each_slip_does_what_it_says() {
        assert_eq!(after(Slip::Doubled, "kia"), ["kkia", "kiia", "kiaa"]);
        assert_eq!(after(Slip::Dropped, "kia"), ["ia", "ka", "ki"]);
        assert_eq!(after(Slip::Dropped, "loop"), ["oop", "loo"]);
        assert_eq!(after(Slip::Undoubled, "nissan"), ["nisan"]);
        assert_eq!(after(Slip::Swapped, "kia"), ["ika", "kai"]);
        assert_eq!(after(Slip::Joined, "c-hr"), ["chr", "c hr"]);
        assert_eq!(after(Slip::Joined, "up gti"), ["upgti", "up-gti"]);
        assert_eq!(after(Slip::Unpunctuated, "arby's"), ["arbys"]);
        assert_eq!(after(Slip::Neighbor, "q7"), ["w7", "a7", "q6", "q8"]);
        assert_eq!(after(Slip::Vowel, "kia"), ["kaa", "koa", "kua", "kii", "kio", "kiu"]);
        assert_eq!(after(Slip::Digit, "os1"), ["0s1", "o51", "osi", "osl"]);
        assert_eq!(after(Slip::Split, "i30"), ["i 30", "i3 0"]);
        assert_eq!(after(Slip::Stray, "q"), ["qw", "qa"]);
        assert_eq!(after(Slip::Truncated, "toyota"), ["toy", "toy.", "toyo", "toyo."]);
        assert_eq!(after(Slip::Truncated, "east lyme")[..2], ["e lyme", "e. lyme"]);
        assert_eq!(after(Slip::WordMissing, "mercedes-benz"), ["benz", "mercedes"]);
        assert!(after(Slip::Phonetic, "phaeton").contains(&"faeton".to_owned()));
        assert!(after(Slip::Phonetic, "škoda").contains(&"skoda".to_owned()));
    }

    #[test]
    fn what_cannot_happen_is_not_offered() {
        assert!(after(Slip::Dropped, "up").is_empty());
        assert!(after(Slip::Swapped, "aa").is_empty());
        assert!(after(Slip::Joined, "kia").is_empty());
        assert!(after(Slip::Phonetic, "bmp").is_empty());
        assert!(after(Slip::Truncated, "ford").is_empty());
        assert!(after(Slip::WordMissing, "golf").is_empty());
        assert!(after(Slip::WordMissing, "x 5").is_empty());
    }

    #[test]
    fn an_abbreviation_keeps_the_first_letter_and_the_order() {
        let short = |short: &str, word: &str| {
            let [short, word] = [short, word].map(|text| text.chars().collect::<Vec<_>>());
            abbreviates(&short, &word)
        };
        assert!(short("toyt", "toyota") && short("htfd", "hartford") && short("vw", "volkswagen"));
        assert!(!short("oyta", "toyota") && !short("tayo", "toyota") && !short("toyta", "toyota"));
        assert!(!short("toyo", "toyota"), "cut short");
    }
}

//! Classes of characters.

/// Vowels that people confuse.
const VOWELS: [char; 5] = ['a', 'e', 'i', 'o', 'u'];
/// Pairs of a letter and the digit that looks like it.
const ALIKE: [(char, char); 9] = [
    ('o', '0'),
    ('i', '1'),
    ('l', '1'),
    ('z', '2'),
    ('e', '3'),
    ('a', '4'),
    ('s', '5'),
    ('b', '8'),
    ('g', '9'),
];

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

/// Returns true when slips can affect this character.
pub(super) fn is_typed(c: char) -> bool {
    c.is_alphanumeric()
}

/// Returns true for a character between two words.
pub(super) fn is_separator(c: char) -> bool {
    matches!(c, ' ' | '-' | '/')
}

/// Returns true for a mark within or after a word, such as an apostrophe or a period.
pub(super) fn is_mark(c: char) -> bool {
    !is_typed(c) && !is_separator(c) && !c.is_whitespace()
}

/// Returns true for a lower-case vowel.
pub(super) fn is_vowel(c: char) -> bool {
    VOWELS.contains(&c)
}

/// Returns the other vowels of a lower-case vowel whose confusion is not already a confusion of
/// sounds, and nothing for any other character.
pub(super) fn other_vowels(c: char) -> impl Iterator<Item = char> {
    let alike = move |other: char| matches!((c, other), ('a', 'e') | ('e', 'a') | ('e', 'i') | ('i', 'e'));
    VOWELS.into_iter().filter(move |other| is_vowel(c) && *other != c && !alike(*other))
}

/// Returns the digits that look like a letter, or the letters that look like a digit.
pub(super) fn look_alikes(c: char) -> impl Iterator<Item = char> {
    ALIKE.into_iter().filter_map(move |(letter, digit)| match c {
        _ if c == letter => Some(digit),
        _ if c == digit => Some(letter),
        _ => None,
    })
}

//! Words of a name, and the words that people add to one.

use std::collections::HashSet;
use std::ops::Range;

use super::letters::is_separator;

/// Words that people write before or after a name without meaning another one.
const GENERIC: [&str; 26] = [
    "auto", "brand", "car", "center", "city", "co", "company", "edition", "group", "inc", "ltd", "make",
    "model", "new", "original", "sedan", "series", "shop", "store", "suv", "the", "town", "truck", "type",
    "used", "4x4",
];
/// Years that people write after a name.
const YEARS: Range<u32> = 1995..2026;

/// Returns the places of the words of a text: the runs of characters between separators.
pub(super) fn words(text: &[char]) -> Vec<Range<usize>> {
    let mut words: Vec<Range<usize>> = Vec::new();
    for (at, c) in text.iter().enumerate() {
        match words.last_mut() {
            _ if is_separator(*c) => {}
            Some(word) if word.end == at => word.end += 1,
            _ => words.push(at..at + 1),
        }
    }
    words
}

/// Returns the words that may be added to the names of a domain: generic words, years, and the
/// domain's own name. A word of one of the names is left out, because it could turn one name into
/// another.
pub(super) fn addable<'a>(domain: &str, names: impl Iterator<Item = &'a str>) -> Vec<Vec<char>> {
    let taken: HashSet<&str> = names.flat_map(|name| name.split(is_separator)).collect();
    let generic = GENERIC.into_iter().map(str::to_owned).chain(YEARS.map(|year| year.to_string()));
    generic
        .chain([domain.to_owned()])
        .filter(|word| !word.is_empty() && !taken.contains(word.as_str()))
        .map(|word| word.chars().collect())
        .collect()
}

//! Names of a domain, as seen by the draw of a typo.

use std::collections::{HashMap, HashSet};

use super::edit::{Replacement, Typing, edits};
use super::words::addable;
use super::{Slip, SlipSet};
use crate::correction::normalize;

/// Names of one domain: the words that may be added to them, and the texts that stand for more than
/// one of them.
#[derive(Clone)]
pub(super) struct DomainNames {
    /// Words that may be added to a name.
    pub(super) words: Vec<Vec<char>>,
    /// Normalized names, sorted.
    sorted: Vec<String>,
    /// Texts that two names or more become when a word of each is left out.
    shared: HashSet<String>,
}

impl DomainNames {
    /// Reads the names of a domain.
    pub(super) fn new(domain: &str, names: &[String]) -> Self {
        let mut sorted: Vec<String> = names.iter().map(|name| normalize(name)).collect();
        sorted.sort_unstable();
        sorted.dedup();
        let mut rests: HashMap<String, usize> = HashMap::new();
        for name in &sorted {
            let own: HashSet<String> = without_a_word(name).collect();
            own.into_iter().for_each(|rest| *rests.entry(rest).or_default() += 1);
        }
        let shared = rests.into_iter().filter(|(_, names)| *names > 1).map(|(rest, _)| rest).collect();
        Self { words: addable(domain, sorted.iter().map(String::as_str)), sorted, shared }
    }

    /// Returns true when a shortened typo of `name` could as well stand for another name: it begins
    /// another name, or is what two names or more become without one of their words. Both texts are
    /// normalized.
    pub(super) fn is_ambiguous(&self, typo: &str, name: &str) -> bool {
        let from = self.sorted.partition_point(|other| other.as_str() < typo);
        let mut begun = self.sorted[from..].iter().take_while(|other| other.starts_with(typo));
        self.shared.contains(typo) || begun.any(|other| other != name)
    }
}

/// Returns the texts that a normalized name becomes when one of its words is left out.
fn without_a_word(name: &str) -> impl Iterator<Item = String> {
    let text: Vec<char> = name.chars().collect();
    let typing = Typing { slips: SlipSet::Full, ..Typing::default() };
    edits(Slip::WordMissing, &text, typing).into_iter().filter_map(move |edit| {
        let Replacement::Text(written) = edit.replacement else { return None };
        let mut rest = text.clone();
        rest.splice(edit.at..edit.at + edit.length, written);
        Some(normalize(&rest.into_iter().collect::<String>()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_for_two_names_is_ambiguous() {
        let names = ["Galaxy S23", "Galaxy S23 Ultra", "Galaxy A54 Ultra", "Pixel Fold", "Pixel 8"];
        let names = DomainNames::new("phone", &names.map(str::to_owned));
        assert!(names.is_ambiguous("galaxy", "galaxy s23"), "begins three names");
        assert!(names.is_ambiguous("galaxy ultra", "galaxy s23 ultra"), "two without a word");
        assert!(names.is_ambiguous("pixel", "pixel 8"));
        assert!(!names.is_ambiguous("s23 ultra", "galaxy s23 ultra"));
        assert!(!names.is_ambiguous("pixel f", "pixel fold"));
    }

    #[test]
    fn a_word_of_a_name_is_never_added() {
        let names = DomainNames::new("car", &["New Beetle".to_owned(), "City".to_owned()]);
        let words: Vec<String> = names.words.iter().map(|word| word.iter().collect()).collect();
        assert!(!words.contains(&"new".to_owned()) && !words.contains(&"city".to_owned()));
        assert!(words.contains(&"car".to_owned()) && words.contains(&"2012".to_owned()));
    }
}

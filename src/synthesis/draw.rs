//! The draw of one typo of a name.

use rand::RngExt;
use rand::seq::IndexedRandom;

use super::edit::{Edit, Replacement, Typing, abbreviation_limit, edits};
use super::letters::{is_vowel, lower};
use super::rates::MOST_SLIPS;
use super::{Slip, SlipRates};

/// Number of draws for one edit, one letter, or one typo; when all of them fail, there is none.
pub(super) const TRIES: usize = 24;
/// Maximum length, in characters, of a short name. A short name is hard to recognize after only two
/// slips.
const SHORT: usize = 8;

/// Sources of a draw.
pub(super) struct Draw<'a> {
    pub(super) rates: &'a SlipRates,
    pub(super) typing: Typing,
    /// Words that may be added to the name.
    pub(super) words: &'a [Vec<char>],
}

/// Typo as it was drawn.
pub(super) struct Drawn {
    pub(super) typo: String,
    /// True when much of the name is gone, so that the rest may stand for another name, too.
    pub(super) shortened: bool,
}

impl Draw<'_> {
    /// Draws one typo of `name`. A `hard` typo has one slip more.
    pub(super) fn typo(&self, name: &str, hard: bool, random: &mut impl RngExt) -> Option<Drawn> {
        let mut text: Vec<char> = name.chars().collect();
        let mut slips = 1 + weighted(&self.rates.counts, random)?;
        if hard {
            slips = (slips + 1).min(if text.len() <= SHORT { MOST_SLIPS } else { MOST_SLIPS + 1 });
        }
        let mut once = Vec::new();
        while slips > 0 {
            let (slip, edit) = self.edit(&text, &once, random)?;
            self.apply(&edit, &mut text, random)?;
            slips -= 1;
            if slip.shortens() || slip == Slip::WordAdded {
                once.push(slip);
            }
            // A shortened name is hard enough.
            if hard && slip.shortens() {
                slips = slips.saturating_sub(1);
            }
        }
        let shortened = once.iter().any(|slip| slip.shortens());
        let text: String = text.into_iter().collect();
        let style = random.random::<f64>();
        let typo = if style < self.rates.lower_case {
            text.to_lowercase()
        } else if style < self.rates.lower_case + self.rates.capitals {
            text.to_uppercase()
        } else {
            text
        };
        Some(Drawn { typo, shortened })
    }

    /// Draws one edit: first the kind of slip, drawn again when it is not possible in this text,
    /// then the place. `once` has the kinds that the typo already has, and may not have again.
    fn edit(&self, text: &[char], once: &[Slip], random: &mut impl RngExt) -> Option<(Slip, Edit)> {
        let text = lower(text);
        let barred =
            |kind: Slip| once.contains(&kind) || (kind.shortens() && once.iter().any(|slip| slip.shortens()));
        let weights = Slip::ALL.map(|kind| match barred(kind) {
            true => 0.0,
            false => self.rates.kinds.get(&kind).copied().unwrap_or_default(),
        });
        for _ in 0..TRIES {
            let slip = Slip::ALL[weighted(&weights, random)?];
            let edits = edits(slip, &text, self.typing);
            let later = &edits[edits.partition_point(|edit| edit.at == 0)..];
            // People watch the first letter while they type it, so its slips are drawn a quarter as
            // often as their share.
            let drawn = later.choose(random).filter(|_| random.random_bool(0.75));
            if let Some(edit) = drawn.or_else(|| edits.choose(random)) {
                return Some((slip, edit.clone()));
            }
        }
        None
    }

    /// Applies an edit to a text. A replaced capital stays a capital. Returns `None` when there is
    /// nothing to write.
    fn apply(&self, edit: &Edit, text: &mut Vec<char>, random: &mut impl RngExt) -> Option<()> {
        let mut written = self.write(edit, text, random)?;
        let capital = text.get(edit.at).is_some_and(|c| c.is_uppercase());
        if let Some(first) = written.first_mut().filter(|_| capital) {
            let mut upper = first.to_uppercase();
            if let (Some(letter), None) = (upper.next(), upper.next()) {
                *first = letter;
            }
        }
        text.splice(edit.at..edit.at + edit.length, written);
        Some(())
    }

    /// Draws the text that an edit writes.
    fn write(&self, edit: &Edit, text: &[char], random: &mut impl RngExt) -> Option<Vec<char>> {
        let replaced = &text[edit.at..edit.at + edit.length];
        Some(match &edit.replacement {
            Replacement::Text(written) => written.clone(),
            Replacement::AnyLetter => vec![self.letter(edit, text, random)?],
            Replacement::Abbreviation => abbreviation(replaced, random),
            Replacement::AnyWord => {
                let word = self.words.choose(random)?;
                match edit.at < text.len() {
                    true => [word.as_slice(), &[' ']].concat(),
                    false => [&[' '], word.as_slice()].concat(),
                }
            }
        })
    }

    /// Draws the letter that is written in place of another or beside it. It is often one of the
    /// name itself, as people repeat what they have in mind. A letter that is more likely another
    /// kind of slip at this place is drawn again.
    fn letter(&self, edit: &Edit, text: &[char], random: &mut impl RngExt) -> Option<char> {
        let text = lower(text);
        let replaced = text.get(edit.at).copied().filter(|_| edit.length > 0);
        let previous = edit.at.checked_sub(1).map(|at| text[at]);
        let beside = match replaced {
            Some(c) => [Some(c), None],
            None => [previous, text.get(edit.at).copied()],
        };
        let keys = beside[0].map(|key| self.typing.keyboard.neighbors(key)).unwrap_or_default();
        let vowel = replaced.is_some_and(is_vowel);
        let own: Vec<char> = text.iter().copied().filter(|c| c.is_alphabetic()).collect();
        let latin = own.is_empty() || own.iter().any(char::is_ascii);
        (0..TRIES).find_map(|_| {
            let letter = match latin && random.random_bool(0.5) {
                true => random.random_range('a'..='z'),
                false => *own.choose(random)?,
            };
            let unlikely =
                beside.contains(&Some(letter)) || keys.contains(&letter) || (vowel && is_vowel(letter));
            (!unlikely).then_some(letter)
        })
    }
}

/// Draws an abbreviation of a word: the first letter and some others, mostly consonants.
fn abbreviation(word: &[char], random: &mut impl RngExt) -> Vec<char> {
    // Only words that are longer than their abbreviation get here.
    let letters = random.random_range(3..=abbreviation_limit(word.len()));
    let mut kept = vec![false; word.len()];
    kept[0] = true;
    let lower = lower(word);
    while kept.iter().filter(|kept| **kept).count() < letters {
        let weight = |at: usize| match (kept[at], is_vowel(lower[at])) {
            (true, _) => 0.0,
            (false, true) => 1.0,
            (false, false) => 3.0,
        };
        let weights: Vec<f64> = (0..word.len()).map(weight).collect();
        let Some(at) = weighted(&weights, random) else { break };
        kept[at] = true;
    }
    // The beginning alone would be a word that is cut short.
    if kept[..letters].iter().all(|kept| *kept) {
        kept[letters - 1] = false;
        kept[random.random_range(letters..word.len())] = true;
    }
    word.iter().zip(kept).filter(|(_, kept)| *kept).map(|(c, _)| *c).collect()
}

/// Draws a position in proportion to its weight. Returns `None` when every weight is zero.
fn weighted(weights: &[f64], random: &mut impl RngExt) -> Option<usize> {
    let mut left = random.random::<f64>() * weights.iter().sum::<f64>();
    let mut last = None;
    for (position, weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
        if left < *weight {
            return Some(position);
        }
        left -= weight;
        last = Some(position);
    }
    last
}

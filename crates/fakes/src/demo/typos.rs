//! Typos as people make them: each is a name with one or more slips of typing or hearing.

use rand::RngExt;
use rand::seq::IndexedRandom;

/// A kind of mistake that people make when they type a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slip {
    /// A neighboring key was hit: `toyora`.
    Neighbor,
    /// A key was hit twice: `toyyota`.
    Doubled,
    /// A key was not hit: `toyta`.
    Dropped,
    /// Two letters changed places: `toyoat`.
    Swapped,
    /// A letter group was replaced by one that sounds alike: `mitsubishy`.
    Phonetic,
    /// A space or hyphen was left out: `landrover`.
    Joined,
}

/// Percentage at which each slip is drawn. A slip that cannot happen to a name is drawn again.
const RATES: [(Slip, u32); 6] = [
    (Slip::Neighbor, 24),
    (Slip::Dropped, 22),
    (Slip::Swapped, 16),
    (Slip::Doubled, 12),
    (Slip::Phonetic, 18),
    (Slip::Joined, 8),
];

/// The letters of a QWERTY keyboard, from the top row down. Each row is shifted half a key to the
/// right of the row above.
const KEYBOARD: [&str; 3] = ["qwertyuiop", "asdfghjkl", "zxcvbnm"];

/// Letter groups that sound alike. Each pair applies in both directions.
const SOUNDS: [(&str, &str); 22] = [
    ("c", "k"),
    ("ck", "k"),
    ("ph", "f"),
    ("i", "y"),
    ("s", "z"),
    ("x", "ks"),
    ("qu", "kw"),
    ("v", "w"),
    ("ee", "ea"),
    ("ai", "ay"),
    ("sch", "sh"),
    ("ch", "sh"),
    ("oo", "u"),
    ("ou", "u"),
    ("au", "o"),
    ("eu", "oi"),
    ("ei", "ai"),
    ("gh", "g"),
    ("th", "t"),
    ("dge", "ge"),
    ("ie", "y"),
    ("er", "ar"),
];

/// Returns `name` with one slip. About a third of the names that stay recognizable after two slips
/// get two.
pub(super) fn typo(name: &str, random: &mut impl RngExt) -> String {
    slipped(name, random, |length, random| if length >= 5 && random.random_ratio(1, 3) { 2 } else { 1 })
}

/// Returns `name` with two slips. Half of the names that stay recognizable after three slips get
/// three.
pub(super) fn hard_typo(name: &str, random: &mut impl RngExt) -> String {
    slipped(name, random, |length, random| if length >= 5 && random.random_ratio(1, 2) { 3 } else { 2 })
}

/// Returns `name` with the number of slips that `count` draws for its length.
fn slipped<R: RngExt>(name: &str, random: &mut R, count: impl Fn(usize, &mut R) -> usize) -> String {
    // Most people type into a form without capital letters.
    let mut text: Vec<char> = if random.random_ratio(2, 3) {
        name.to_lowercase().chars().collect()
    } else {
        name.chars().collect()
    };
    let slips = count(text.len(), random);
    for _ in 0..slips {
        while !slip(&mut text, draw(random), random) {}
    }
    text.into_iter().collect()
}

fn draw(random: &mut impl RngExt) -> Slip {
    let mut left = random.random_range(0..RATES.iter().map(|(_, rate)| rate).sum());
    for (slip, rate) in RATES {
        if left < rate {
            return slip;
        }
        left -= rate;
    }
    Slip::Dropped
}

/// Applies one slip to `text`. Returns false when the slip cannot happen there;
/// [`Slip::Doubled`] always can.
fn slip(text: &mut Vec<char>, slip: Slip, random: &mut impl RngExt) -> bool {
    match slip {
        Slip::Neighbor => letter(text, random).is_some_and(|at| {
            let Some(&key) = neighbors(text[at]).choose(random) else { return false };
            text[at] = if text[at].is_uppercase() { key.to_ascii_uppercase() } else { key };
            true
        }),
        Slip::Doubled => {
            let at = letter(text, random).unwrap_or(0);
            text.insert(at, text[at]);
            true
        }
        Slip::Dropped => text.len() > 2 && letter(text, random).map(|at| text.remove(at)).is_some(),
        Slip::Swapped => letter(text, random).is_some_and(|at| {
            let differ = text.get(at + 1).is_some_and(|next| *next != text[at] && next.is_alphanumeric());
            if differ {
                text.swap(at, at + 1);
            }
            differ
        }),
        Slip::Phonetic => sound_alike(text, random),
        Slip::Joined => {
            let gaps: Vec<usize> = (0..text.len()).filter(|&at| matches!(text[at], ' ' | '-')).collect();
            gaps.choose(random).map(|&at| text.remove(at)).is_some()
        }
    }
}

/// Draws the position of a letter or digit for a slip. The first one is rarely drawn, because
/// people look at the first letter as they type it.
fn letter(text: &[char], random: &mut impl RngExt) -> Option<usize> {
    let from = usize::from(random.random_ratio(9, 10));
    let places: Vec<usize> = (from..text.len()).filter(|&at| text[at].is_alphanumeric()).collect();
    places.choose(random).copied()
}

/// Returns the keys that touch a letter's key, in lower case. Other characters have none.
fn neighbors(letter: char) -> Vec<char> {
    let letter = letter.to_ascii_lowercase();
    let place = KEYBOARD.iter().enumerate().find_map(|(row, keys)| keys.find(letter).map(|at| (row, at)));
    let Some((row, at)) = place else { return Vec::new() };
    let key = |row: Option<usize>, at: Option<usize>| KEYBOARD.get(row?)?.chars().nth(at?);
    [
        key(Some(row), at.checked_sub(1)),
        key(Some(row), Some(at + 1)),
        key(row.checked_sub(1), Some(at)),
        key(row.checked_sub(1), Some(at + 1)),
        key(Some(row + 1), at.checked_sub(1)),
        key(Some(row + 1), Some(at)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn sound_alike(text: &mut Vec<char>, random: &mut impl RngExt) -> bool {
    let lower: Vec<char> = text.iter().map(char::to_ascii_lowercase).collect();
    let mut choices: Vec<(usize, usize, &str)> = Vec::new();
    for (one, other) in SOUNDS {
        for (heard, written) in [(one, other), (other, one)] {
            let heard: Vec<char> = heard.chars().collect();
            let places = lower.windows(heard.len()).enumerate().filter(|(_, window)| *window == heard);
            choices.extend(places.map(|(at, _)| (at, heard.len(), written)));
        }
    }
    let Some(&(at, length, written)) = choices.choose(random) else { return false };
    text.splice(at..at + length, written.chars());
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    fn slips(name: &str, kind: Slip) -> Vec<String> {
        let mut random = ChaCha8Rng::seed_from_u64(7);
        let mut seen: Vec<String> = (0..200)
            .filter_map(|_| {
                let mut text = name.chars().collect();
                slip(&mut text, kind, &mut random).then(|| text.into_iter().collect())
            })
            .collect();
        seen.sort();
        seen.dedup();
        seen
    }

    #[test]
    fn each_slip_does_what_it_says() {
        assert_eq!(slips("kia", Slip::Dropped), ["ia", "ka", "ki"]);
        assert_eq!(slips("kia", Slip::Doubled), ["kiaa", "kiia", "kkia"]);
        assert_eq!(slips("kia", Slip::Swapped), ["ika", "kai"]);
        assert_eq!(slips("Land Rover", Slip::Joined), ["LandRover"]);
        assert_eq!(slips("Mercedes-Benz", Slip::Joined), ["MercedesBenz"]);
        assert_eq!(slips("fox", Slip::Phonetic), ["faux", "foks", "phox"]);
        assert!(slips("Audi", Slip::Neighbor).contains(&"Aufi".to_owned()));
    }

    #[test]
    fn a_slip_that_cannot_happen_is_refused() {
        assert!(slips("kia", Slip::Joined).is_empty());
        assert!(slips("lada", Slip::Phonetic).is_empty());
        assert!(slips("aa", Slip::Swapped).is_empty());
    }

    #[test]
    fn neighbors_touch_on_the_keyboard() {
        assert_eq!(neighbors('g'), ['f', 'h', 't', 'y', 'v', 'b']);
        assert_eq!(neighbors('Q'), ['w', 'a']);
        assert!(neighbors('3').is_empty());
    }
}

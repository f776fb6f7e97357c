//! Kinds of slip.

use serde::{Deserialize, Serialize};

/// One kind of slip of the hand, the ear or the memory.
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
    /// One of two equal letters was left out: `nisan`.
    Undoubled,
    /// Another vowel was written: `toyoto`.
    Vowel,
    /// A letter was written as the digit that looks like it, or a digit as the letter: `t0yota`.
    Digit,
    /// A mark, such as an apostrophe or a period, was left out: `mcdonalds`.
    Unpunctuated,
    /// A word was cut short: `chev`, `e hartford`.
    Truncated,
    /// A word was abbreviated to some of its letters: `toyt`, `htfd`.
    Abbreviated,
    /// A word was left out: `mercedes` for Mercedes-Benz.
    WordMissing,
    /// A word was added: `toyota sedan`.
    WordAdded,
    /// Another letter was written that no other kind explains: `tokota`.
    Substituted,
    /// A letter was added that no other kind explains: `toyonta`.
    Inserted,
}

impl Slip {
    /// All kinds. When several kinds explain an edit at the same cost, an alignment takes the first
    /// in this order, so the kinds that explain everything come last. An edit that is both phonetic
    /// and an adjacent key (`s` for `z`) counts as phonetic: there are few sounds and many
    /// neighbors, so the sound is the stronger evidence. The same holds for vowels.
    pub const ALL: [Self; 18] = [
        Self::Doubled,
        Self::Undoubled,
        Self::Dropped,
        Self::Swapped,
        Self::Joined,
        Self::Unpunctuated,
        Self::Phonetic,
        Self::Vowel,
        Self::Digit,
        Self::Neighbor,
        Self::Split,
        Self::Stray,
        Self::Truncated,
        Self::Abbreviated,
        Self::WordMissing,
        Self::WordAdded,
        Self::Substituted,
        Self::Inserted,
    ];

    /// Returns true for the kinds after which much of the name is gone. A typo has at most one of
    /// them.
    pub(super) fn shortens(self) -> bool {
        matches!(self, Self::Truncated | Self::Abbreviated | Self::WordMissing)
    }
}

/// Set of the kinds of slip that are learned and drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SlipSet {
    /// The eight kinds of the first versions. Records of those versions don't name a set, so this is
    /// the default of the type: a replay draws the typos that the run had.
    #[default]
    Original,
    /// Every kind.
    Full,
}

impl SlipSet {
    /// Returns true when the set contains a kind.
    fn contains(self, slip: Slip) -> bool {
        match self {
            Self::Full => true,
            Self::Original => matches!(
                slip,
                Slip::Doubled
                    | Slip::Dropped
                    | Slip::Swapped
                    | Slip::Joined
                    | Slip::Phonetic
                    | Slip::Neighbor
                    | Slip::Split
                    | Slip::Stray
            ),
        }
    }

    /// Iterates over the kinds of the set, in the order of [`Slip::ALL`].
    pub fn kinds(self) -> impl Iterator<Item = Slip> {
        Slip::ALL.into_iter().filter(move |slip| self.contains(*slip))
    }
}

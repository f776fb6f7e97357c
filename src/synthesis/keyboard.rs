//! Adjacent keys, by keyboard layout.

use serde::{Deserialize, Serialize};

/// Layout of the keyboard that people type on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Keyboard {
    /// English and most others.
    #[default]
    Qwerty,
    /// German and Central European.
    Qwertz,
    /// French.
    Azerty,
}

impl Keyboard {
    /// Returns the rows of keys from the top, digits first. Each row is shifted about half a key to
    /// the right of the row above.
    fn rows(self) -> [&'static str; 4] {
        let digits = "1234567890";
        match self {
            Self::Qwerty => [digits, "qwertyuiop", "asdfghjkl", "zxcvbnm"],
            Self::Qwertz => [digits, "qwertzuiopü", "asdfghjklöä", "yxcvbnm"],
            Self::Azerty => [digits, "azertyuiop", "qsdfghjklm", "wxcvbn"],
        }
    }

    /// Returns the keys adjacent to the key of a lower-case letter or a digit. Letters are adjacent
    /// only to letters, and digits only to digits, because people look at the keyboard when they
    /// leave the letters. Returns nothing for a character that has no key.
    pub fn neighbors(self, key: char) -> Vec<char> {
        let rows = self.rows();
        let place = |row: usize| rows[row].chars().position(|other| other == key).map(|column| (row, column));
        let Some((row, column)) = (0..rows.len()).find_map(place) else { return Vec::new() };
        let touching = [
            (Some(row), column.checked_sub(1)),
            (Some(row), Some(column + 1)),
            (row.checked_sub(1), Some(column)),
            (row.checked_sub(1), Some(column + 1)),
            (Some(row + 1), column.checked_sub(1)),
            (Some(row + 1), Some(column)),
        ];
        touching
            .into_iter()
            .filter_map(|(row, column)| rows.get(row?)?.chars().nth(column?))
            .filter(|other| other.is_alphabetic() == key.is_alphabetic())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbors_follow_the_layout() {
        assert_eq!(Keyboard::Qwerty.neighbors('g'), ['f', 'h', 't', 'y', 'v', 'b']);
        assert_eq!(Keyboard::Qwertz.neighbors('g'), ['f', 'h', 't', 'z', 'v', 'b']);
        assert_eq!(Keyboard::Azerty.neighbors('q'), ['s', 'a', 'z', 'w']);
        assert_eq!(Keyboard::Qwerty.neighbors('1'), ['2']);
        assert!(Keyboard::Qwerty.neighbors('ß').is_empty());
    }

    #[test]
    fn touching_is_mutual() {
        for keyboard in [Keyboard::Qwerty, Keyboard::Qwertz, Keyboard::Azerty] {
            for key in "abcdefghijklmnopqrstuvwxyz0123456789".chars() {
                for other in keyboard.neighbors(key) {
                    assert!(keyboard.neighbors(other).contains(&key), "{keyboard:?}: {key} and {other}");
                }
            }
        }
    }
}

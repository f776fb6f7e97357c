//! Which keys touch, by keyboard layout.

use serde::{Deserialize, Serialize};

/// Where the letters lie on the keyboard people type with.
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
    /// The rows from the top, digits first. Each is set about half a key to the right of the one above.
    fn rows(self) -> [&'static str; 4] {
        let digits = "1234567890";
        match self {
            Self::Qwerty => [digits, "qwertyuiop", "asdfghjkl", "zxcvbnm"],
            Self::Qwertz => [digits, "qwertzuiopü", "asdfghjklöä", "yxcvbnm"],
            Self::Azerty => [digits, "azertyuiop", "qsdfghjklm", "wxcvbn"],
        }
    }

    /// The keys that touch the key of a lower case letter or a digit. Letters touch letters only and digits
    /// digits: people look up when they leave the letters. Nothing for what is on none of the keys.
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

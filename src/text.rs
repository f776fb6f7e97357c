//! Identity of a text: two texts that look alike to a person are one text everywhere.
//!
//! Keyboards, file names, spreadsheets and web pages deliver one name in several encodings: an
//! accent as a character of its own or as a part of its letter, invisible marks for the direction
//! of writing, a place for a hyphen. Whoever reads the name can't see the difference. A vote, a
//! catalog, a hold-out or a search that sees one splits a name in two.
//!
//! Canonical composition (NFC) joins letters and accents. The invisible characters are those with
//! Unicode's property `Default_Ignorable_Code_Point`, which programs show as nothing: joiners,
//! direction marks, the byte order mark, the soft hyphen, variation selectors and their kind.
//! Compatibility forms such as full-width letters look different, so they stay different.

use std::borrow::Cow;

use icu_normalizer::ComposingNormalizerBorrowed;
use icu_properties::props::DefaultIgnorableCodePoint;
use icu_properties::{CodePointSetData, CodePointSetDataBorrowed};

const COMPOSITION: ComposingNormalizerBorrowed<'static> = ComposingNormalizerBorrowed::new_nfc();
const INVISIBLE: CodePointSetDataBorrowed<'static> = CodePointSetData::new::<DefaultIgnorableCodePoint>();

/// Normalizes a text: composes it as [`compose`] does, and converts it to lower case. Two texts with
/// the same result count as the same entry.
pub fn normalize(text: &str) -> String {
    let lower: String = compose(text).chars().flat_map(char::to_lowercase).collect();
    match lower.is_ascii() {
        true => lower,
        // A letter in lower case may have a composed form that the letter in upper case lacks.
        false => COMPOSITION.normalize(&lower).into_owned(),
    }
}

/// Composes a text: removes invisible characters, joins letters and accents (NFC), trims it, and
/// collapses each run of white space to one space. The case stays.
pub fn compose(text: &str) -> String {
    if text.is_ascii() {
        return collapse(text);
    }
    let visible: Cow<'_, str> = match text.chars().any(|character| INVISIBLE.contains(character)) {
        true => text.chars().filter(|character| !INVISIBLE.contains(*character)).collect(),
        false => Cow::Borrowed(text),
    };
    collapse(&COMPOSITION.normalize(&visible))
}

/// Trims a text, and collapses each run of white space to one space.
pub fn collapse(text: &str) -> String {
    join(text.split_whitespace())
}

fn join<'t>(words: impl Iterator<Item = &'t str>) -> String {
    let mut joined = String::new();
    for word in words {
        if !joined.is_empty() {
            joined.push(' ');
        }
        joined.push_str(word);
    }
    joined
}

/// Cuts a text to at most `limit` bytes, with an ellipsis in place of what is left out.
pub fn shorten(text: &str, limit: usize) -> Cow<'_, str> {
    const ELLIPSIS: char = '…';
    if text.len() <= limit {
        return Cow::Borrowed(text);
    }
    let end = text.floor_char_boundary(limit.saturating_sub(ELLIPSIS.len_utf8()));
    Cow::Owned(format!("{}{ELLIPSIS}", &text[..end]))
}

/// Puts a text from outside, such as the answer of a server, on one line of at most `limit` bytes.
/// Each run of white space and control characters becomes one space, so that the line can go to a
/// terminal, a log or a header.
pub fn plain_line(text: &str, limit: usize) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control());
    shorten(&join(words.filter(|word| !word.is_empty())), limit).into_owned()
}

/// Longest label, in bytes.
const LABEL: usize = 64;

/// Turns a text from outside, such as the name of a domain, into a label for a record or a table.
pub fn label(text: &str) -> String {
    plain_line(text, LABEL)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_that_look_alike_are_one() {
        for (one, other) in [
            ("Peugéot", "Peuge\u{301}ot"),
            ("ÉLAN", "e\u{301}lan"),
            ("Škoda", "S\u{30c}KODA"),
            ("Ⱥ", "ⱥ"),
            ("K", "\u{212a}"),
            ("한국", "\u{1112}\u{1161}\u{11ab}\u{1100}\u{116e}\u{11a8}"),
            ("land rover", "\u{feff}Land\u{a0}\u{2009}Rover\u{200e}"),
            ("citroen", "ci\u{ad}tro\u{200b}\u{200d}en"),
            ("ab", "\u{202e}a\u{2066}b\u{2069}\u{fe0f}\u{e0100}\u{180e}\u{34f}\u{2060}"),
            ("peugéot", "peuge\u{34f}\u{301}ot"),
        ] {
            assert_eq!(normalize(one), normalize(other), "{one} {other:?}");
        }
        assert_ne!(normalize("BMW"), normalize("ＢＭＷ"), "compatibility forms look different");
        assert_ne!(normalize("Skoda"), normalize("Škoda"));
        assert_eq!(normalize(" \u{200b}\u{feff} "), "");
    }

    #[test]
    fn composing_keeps_the_case() {
        assert_eq!(compose(" Cite\u{301}  \u{200e}DS\t"), "Cité DS");
    }

    /// A character that joins or leaves this set moves texts between hold-out and training.
    #[test]
    fn the_invisible_characters_are_those_of_unicode_15() {
        let invisible = ('\0'..=char::MAX).filter(|character| INVISIBLE.contains(*character));
        assert_eq!(invisible.clone().count(), 4_174);
        assert!(invisible.clone().all(|character| !character.is_alphanumeric()
            || "\u{115f}\u{1160}\u{3164}\u{ffa0}".contains(character)));
        assert!(invisible.clone().all(|character| !character.is_whitespace() && !character.is_control()));
    }

    #[test]
    fn a_long_text_ends_with_an_ellipsis() {
        assert_eq!(shorten("größe", 7), "größe");
        assert_eq!(shorten("größe", 6), "gr…");
        assert_eq!(label("a\nb"), "a b");
        assert_eq!(plain_line(" \u{1b}[31mno\r\n such\u{0}  key ", 99), "[31mno such key");
        assert_eq!(label(&"x".repeat(100)).len(), LABEL);
    }

    /// Texts of letters, accents, invisible characters and white space.
    fn mixed() -> impl Strategy<Value = String> {
        let character = prop_oneof![
            any::<char>(),
            prop::sample::select("aéEÅİIıßǅſσςΣ\u{1e9e}\u{345}\u{300}\u{301}\u{323}\u{307}\u{200d}\u{200e}\u{ad} \u{a0}\u{212b}".chars().collect::<Vec<_>>()),
        ];
        prop::collection::vec(character, 0..24).prop_map(|characters| characters.into_iter().collect())
    }

    proptest! {
        #[test]
        fn normalizing_twice_changes_nothing(text in mixed()) {
            let once = normalize(&text);
            prop_assert_eq!(&normalize(&once), &once);
            prop_assert_eq!(normalize(&compose(&text)), once);
        }

        #[test]
        fn plain_ascii_is_only_lowered_and_collapsed(text in "[ -~\t\n]{0,40}") {
            let words: Vec<String> = text.split_whitespace().map(str::to_ascii_lowercase).collect();
            prop_assert_eq!(normalize(&text), words.join(" "));
        }

        #[test]
        fn a_shortened_text_keeps_its_limit(text in ".{0,40}", limit in 3_usize..50) {
            prop_assert!(shorten(&text, limit).len() <= limit);
            let line = plain_line(&text, limit);
            prop_assert!(line.len() <= limit && !line.contains(char::is_control));
        }
    }
}

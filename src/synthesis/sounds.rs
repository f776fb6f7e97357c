//! Spellings that sound alike, and plain letters for accented ones.

/// Spellings that sound alike; each can replace the other.
///
/// Pairs that differ by one dropped or doubled letter (`ck` and `k`) are left out: other slips
/// already draw them, and an alignment couldn't tell the kinds apart.
const ALIKE: [(&str, &str); 31] = [
    ("k", "c"),
    ("f", "ph"),
    ("f", "v"),
    ("v", "w"),
    ("z", "s"),
    ("ce", "se"),
    ("ci", "si"),
    ("x", "ks"),
    ("x", "cs"),
    ("x", "z"),
    ("q", "k"),
    ("qu", "kv"),
    ("qu", "kw"),
    ("ch", "tsh"),
    ("ch", "sh"),
    ("j", "g"),
    ("j", "y"),
    ("g", "dj"),
    ("i", "y"),
    ("i", "ee"),
    ("u", "oo"),
    ("a", "e"),
    ("e", "i"),
    ("o", "au"),
    ("ai", "ay"),
    ("ai", "ei"),
    ("ea", "ee"),
    ("er", "ar"),
    ("er", "or"),
    ("ia", "ya"),
    ("tion", "shon"),
];

/// Accented letters that people often write without the accent.
const PLAIN: [(&str, &str); 20] = [
    ("á", "a"),
    ("à", "a"),
    ("â", "a"),
    ("ä", "a"),
    ("ä", "ae"),
    ("ã", "a"),
    ("ç", "c"),
    ("é", "e"),
    ("è", "e"),
    ("ê", "e"),
    ("ë", "e"),
    ("í", "i"),
    ("ï", "i"),
    ("ñ", "n"),
    ("ó", "o"),
    ("ö", "o"),
    ("ö", "oe"),
    ("š", "s"),
    ("ü", "u"),
    ("ü", "ue"),
];

/// Iterates over all `(heard, written)` pairs: a text that contains `heard` may be typed with
/// `written` in its place.
pub(super) fn substitutions() -> impl Iterator<Item = (&'static str, &'static str)> {
    let both = ALIKE.iter().flat_map(|(one, other)| [(*one, *other), (*other, *one)]);
    both.chain(PLAIN)
}

//! What people write instead because it sounds alike, and letters without their accents.

/// Spellings that sound alike, each usable for the other.
///
/// Pairs that differ by one dropped or doubled letter (`ck` and `k`) are left out: those slips are drawn anyway,
/// and an alignment couldn't tell which it was.
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

/// Letters that are often written plain.
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

/// Every `(heard, written)`: a text that has `heard` at some place may come out with `written` there.
pub(super) fn substitutions() -> impl Iterator<Item = (&'static str, &'static str)> {
    let both = ALIKE.iter().flat_map(|(one, other)| [(*one, *other), (*other, *one)]);
    both.chain(PLAIN)
}

//! The card on the repo's own page: ours, or a part of somebody else's.
//!
//! A card of ours is written anew with each release. A page that a person wrote is left alone, unless it holds the
//! two markers: then what stands between them is ours.

/// Where our part of a page begins.
pub(super) const BEGIN: &str = "<!-- autovalidate:begin -->";
/// Where our part of a page ends.
pub(super) const END: &str = "<!-- autovalidate:end -->";
/// The line that makes the front matter ours.
pub(super) const OURS: &str =
    "# autovalidate writes this block anew with each release; delete this line to keep changes";

/// The repo's page with this card on it; `None` when the page is a person's and has no room for it.
pub(super) fn merged(page: Option<&str>, card: &str) -> Option<String> {
    let Some(page) = page.filter(|page| !page.trim().is_empty()) else { return Some(card.to_owned()) };
    let (before, _, after) = parts(page)?;
    if is_ours(before) && after.trim().is_empty() {
        return Some(card.to_owned());
    }
    let section = parts(card).map_or(card, |(_, section, _)| section);
    Some(format!("{before}{section}{after}"))
}

/// A card with this line at the head of its marked part; `None` when it has none.
pub(super) fn with_note(card: &str, note: &str) -> Option<String> {
    let (before, section, after) = parts(card)?;
    let rest = section.strip_prefix(BEGIN)?;
    Some(format!("{before}{BEGIN}\n\n> {note}{rest}{after}"))
}

/// What stands before our part, our part with its markers, and what stands after it.
fn parts(page: &str) -> Option<(&str, &str, &str)> {
    let begin = page.find(BEGIN)?;
    let end = begin + page[begin..].find(END)? + END.len();
    Some((&page[..begin], &page[begin..end], &page[end..]))
}

/// Whether this is front matter of ours and nothing else.
fn is_ours(before: &str) -> bool {
    let Some(front) = before.trim().strip_prefix("---").and_then(|front| front.strip_suffix("---")) else {
        return false;
    };
    front.lines().any(|line| line.trim() == OURS) && !front.lines().any(|line| line.trim() == "---")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(text: &str) -> String {
        format!("---\n{OURS}\ntags:\n- onnx\n---\n\n{BEGIN}\n{text}\n{END}\n")
    }

    #[test]
    fn a_card_of_ours_is_replaced_whole() {
        for page in [None, Some(String::new()), Some(card("old"))] {
            assert_eq!(merged(page.as_deref(), &card("new")).unwrap(), card("new"));
        }
    }

    #[test]
    fn of_a_persons_page_only_what_stands_between_the_markers_changes() {
        let page = format!("---\nlicense: mit\n---\n# Ours\n{BEGIN}\nold\n{END}\n## Contact\n");
        let expected = format!("---\nlicense: mit\n---\n# Ours\n{BEGIN}\nnew\n{END}\n## Contact\n");
        assert_eq!(merged(Some(&page), &card("new")).unwrap(), expected);
        // A person took the front matter over by deleting the line.
        let page = card("old").replace(OURS, "license: mit");
        assert_eq!(merged(Some(&page), &card("new")).unwrap(), page.replace("old", "new"));
        // A person wrote something below.
        let page = format!("{}Write to us.\n", card("old"));
        assert_eq!(merged(Some(&page), &card("new")).unwrap(), page.replace("old", "new"));
    }

    #[test]
    fn a_page_without_markers_is_left_alone() {
        for page in ["# Mine\n", "---\nlicense: mit\n---\n", BEGIN, END] {
            assert_eq!(merged(Some(page), &card("new")), None, "{page}");
        }
    }

    #[test]
    fn a_note_stands_first() {
        let noted = with_note(&card("text"), "a rollback").unwrap();
        assert!(noted.contains(&format!("{BEGIN}\n\n> a rollback\ntext")));
        assert_eq!(with_note("# Mine\n", "x"), None);
    }
}

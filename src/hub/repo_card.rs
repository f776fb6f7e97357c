//! The card on the repo's own page: ours, or a part of somebody else's.
//!
//! A card of ours is written anew with each release. Of a page that a person wrote, every word stays: ours is what stands
//! between the two markers, and a page without them gets them at its end.

/// Where our part of a page begins.
pub(super) const BEGIN: &str = "<!-- autovalidate:begin -->";
/// Where our part of a page ends.
pub(super) const END: &str = "<!-- autovalidate:end -->";
/// The line that makes the front matter ours.
pub(super) const OURS: &str =
    "# autovalidate writes this block anew with each release; delete this line to keep changes";

/// The repo's page with this card on it.
pub(super) fn merged(page: Option<&str>, card: &str) -> String {
    let Some(page) = page.filter(|page| !page.trim().is_empty()) else { return card.to_owned() };
    let section = parts(card).map_or(card, |(_, section, _)| section);
    match parts(page) {
        Some((before, _, after)) if is_ours(before) && after.trim().is_empty() => card.to_owned(),
        Some((before, _, after)) => format!("{before}{section}{after}"),
        // An empty line keeps a list or a table at the end of the page from running on into ours.
        None => format!("{page}{}\n{section}\n", if page.ends_with('\n') { "" } else { "\n" }),
    }
}

/// A card with this line at the head of its marked part; `None` when it has none.
pub(super) fn with_note(card: &str, note: &str) -> Option<String> {
    let (before, section, after) = parts(card)?;
    let rest = section.strip_prefix(BEGIN)?;
    Some(format!("{before}{BEGIN}\n\n> {note}{rest}{after}"))
}

/// What stands before our part, our part with its markers, and what stands after it. A marker that has lost its other
/// half is a person's text: the nearest two make a part.
fn parts(page: &str) -> Option<(&str, &str, &str)> {
    let (begin, end) = page
        .match_indices(END)
        .find_map(|(end, _)| page[..end].rfind(BEGIN).map(|begin| (begin, end + END.len())))?;
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
            assert_eq!(merged(page.as_deref(), &card("new")), card("new"));
        }
    }

    #[test]
    fn of_a_persons_page_only_what_stands_between_the_markers_changes() {
        let page = format!("---\nlicense: mit\n---\n# Ours\n{BEGIN}\nold\n{END}\n## Contact\n");
        let expected = format!("---\nlicense: mit\n---\n# Ours\n{BEGIN}\nnew\n{END}\n## Contact\n");
        assert_eq!(merged(Some(&page), &card("new")), expected);
        // A person took the front matter over by deleting the line.
        let page = card("old").replace(OURS, "license: mit");
        assert_eq!(merged(Some(&page), &card("new")), page.replace("old", "new"));
        // A person wrote something below.
        let page = format!("{}Write to us.\n", card("old"));
        assert_eq!(merged(Some(&page), &card("new")), page.replace("old", "new"));
    }

    #[test]
    fn a_page_without_markers_keeps_every_word_and_gets_ours_at_its_end() {
        let ours = |text: &str| format!("{BEGIN}\n{text}\n{END}");
        for page in ["# Mine\n", "# Mine", "---\nlicense: mit\n---\n", BEGIN, END] {
            let first = merged(Some(page), &card("new"));
            assert!(first.starts_with(page), "{first}");
            assert_eq!(first[page.len()..].trim(), ours("new"), "{page}");
            // From then on only our part changes.
            assert_eq!(merged(Some(&first), &card("newer")), first.replace("\nnew\n", "\nnewer\n"));
        }
    }

    #[test]
    fn markers_that_lost_their_other_half_guard_no_text() {
        let page = format!("{END}\nmine\n{BEGIN}\nmine, too\n{BEGIN}\nold\n{END}\nand mine\n{END}\n");
        assert_eq!(merged(Some(&page), &card("new")), page.replace("old", "new"));
    }

    #[test]
    fn a_note_stands_first() {
        let noted = with_note(&card("text"), "a rollback").unwrap();
        assert!(noted.contains(&format!("{BEGIN}\n\n> a rollback\ntext")));
        assert_eq!(with_note("# Mine\n", "x"), None);
    }
}

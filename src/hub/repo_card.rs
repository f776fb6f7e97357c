//! The card on the repo's own page, which is all ours or partly written by a person.
//!
//! Every release rewrites a page that is all ours. On a page that a person wrote, we own only the
//! section between the two markers, and every other word stays. A page without markers gets our
//! section appended.

/// Marker at the start of our section of a page.
pub(super) const BEGIN: &str = "<!-- autovalidate:begin -->";
/// Marker at the end of our section of a page.
pub(super) const END: &str = "<!-- autovalidate:end -->";
/// Line that marks the front matter as ours.
pub(super) const OURS: &str =
    "# autovalidate writes this block anew with each release; delete this line to keep changes";

/// Returns the repo's page with this card merged in.
pub(super) fn merged(page: Option<&str>, card: &str) -> String {
    let Some(page) = page.filter(|page| !page.trim().is_empty()) else { return card.to_owned() };
    let section = parts(card).map_or(card, |(_, section, _)| section);
    match parts(page) {
        Some((before, _, after)) if is_ours(before) && after.trim().is_empty() => card.to_owned(),
        Some((before, _, after)) => format!("{before}{section}{after}"),
        // An empty line ends a list or a table at the end of the page before our section starts.
        None => format!("{page}{}\n{section}\n", if page.ends_with('\n') { "" } else { "\n" }),
    }
}

/// Returns the card with this note at the start of its marked section; `None` when the card has no
/// such section.
pub(super) fn with_note(card: &str, note: &str) -> Option<String> {
    let (before, section, after) = parts(card)?;
    let rest = section.strip_prefix(BEGIN)?;
    Some(format!("{before}{BEGIN}\n\n> {note}{rest}{after}"))
}

/// Splits a page into the text before our section, our section with its markers, and the text after
/// it. The section is bounded by the nearest pair of markers. A marker without a counterpart counts
/// as a person's text.
fn parts(page: &str) -> Option<(&str, &str, &str)> {
    let (begin, end) = page
        .match_indices(END)
        .find_map(|(end, _)| page[..end].rfind(BEGIN).map(|begin| (begin, end + END.len())))?;
    Some((&page[..begin], &page[begin..end], &page[end..]))
}

/// Returns true when the text is our front matter and nothing else.
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

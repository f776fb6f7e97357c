//! The card on the repo's own page, which is all ours or partly written by a person.
//!
//! Of the text we own the section between the two markers, and every other word stays. Of the front
//! matter we own the fields that it lists as ours. The list is data, not a comment, because tools that
//! change a field write the YAML anew and drop every comment. A page without markers gets our section
//! appended, and front matter without the list is a person's.

use super::front_matter::FrontMatter;

/// Marker at the start of our section of a page.
pub(super) const BEGIN: &str = "<!-- autovalidate:begin -->";
/// Marker at the end of our section of a page.
pub(super) const END: &str = "<!-- autovalidate:end -->";
/// Key of the front matter that lists our fields.
pub(super) const FIELDS: &str = "autovalidate_fields";
/// Comment that explains the list to people.
pub(super) const HINT: &str = "# autovalidate writes these fields anew with each release; remove a name from the list to keep your own value";
/// Comment by which earlier versions of this program told their front matter.
const OURS: &str =
    "# autovalidate writes this block anew with each release; delete this line to keep changes";
/// Fields about the license. They are written once, and after that they are people's.
const LICENSE: &str = "license";
/// Field whose items by others stay.
const TAGS: &str = "tags";

/// Returns the repo's page with this card merged in.
pub(super) fn merged(page: Option<&str>, card: &str) -> String {
    let Some(page) = page.map(|page| page.trim_start_matches('\u{feff}')) else { return card.to_owned() };
    if page.trim().is_empty() {
        return card.to_owned();
    }
    // Editors of Windows end each line with two characters.
    let lines = page.matches('\n').count();
    if lines > 0 && lines == page.matches("\r\n").count() {
        return merged_lines(&page.replace("\r\n", "\n"), card).replace('\n', "\r\n");
    }
    merged_lines(page, card)
}

fn merged_lines(page: &str, card: &str) -> String {
    let section = parts(card).map_or(card, |(_, section, _)| section);
    let (front, text) = match (FrontMatter::split(page), FrontMatter::split(card)) {
        (Some((front, text)), Some((ours, _))) => match owned(&front, &ours) {
            Some(owned) => (merged_front(front, ours, &owned).text(), text),
            None => (page[..page.len() - text.len()].to_owned(), text),
        },
        _ => (String::new(), page),
    };
    match parts(text) {
        Some((before, _, after)) => format!("{front}{before}{section}{after}"),
        // An empty line ends a list or a table at the end of the page before our section starts.
        None => format!("{front}{text}{}\n{section}\n", if page.ends_with('\n') { "" } else { "\n" }),
    }
}

/// Returns the fields of a page's front matter that are ours; `None` when it is a person's.
fn owned(page: &FrontMatter, ours: &FrontMatter) -> Option<Vec<String>> {
    if page.get(FIELDS).is_some() {
        return Some(page.items(FIELDS));
    }
    let is_ours = page.comment.lines().any(|line| line.trim() == OURS);
    is_ours.then(|| ours.items(FIELDS))
}

/// Returns the page's front matter with our fields as the card has them.
fn merged_front(page: FrontMatter, ours: FrontMatter, owned: &[String]) -> FrontMatter {
    let is_owned = |key: &str| owned.iter().any(|field| field == key);
    let tags = page.items(TAGS);
    let is_licensed = page.get(LICENSE).is_some();
    let listed = page.get(FIELDS).is_some();
    let comment = match page.comment.lines().any(|line| line.trim() != OURS) {
        true => {
            page.comment.lines().filter(|line| line.trim() != OURS).map(|line| format!("{line}\n")).collect()
        }
        false => ours.comment.clone(),
    };
    let mut entries = page.entries;
    entries.retain(|(key, _)| !is_owned(key) || ours.get(key).is_some());
    for (key, text) in ours.entries {
        let is_new = (key == FIELDS && !listed) || (key.starts_with(LICENSE) && !is_licensed);
        if !is_owned(&key) && !is_new {
            continue;
        }
        let text = if key == TAGS { with_tags(text, &tags) } else { text };
        match entries.iter_mut().find(|(known, _)| *known == key) {
            Some(entry) => entry.1 = text,
            None => entries.push((key, text)),
        }
    }
    FrontMatter { comment, entries }
}

/// Returns our list of tags with those of the page after them.
fn with_tags(ours: String, page: &[String]) -> String {
    let has = |tag: &String| ours.lines().any(|line| line.strip_prefix("- ") == Some(tag));
    let others = page.iter().filter(|tag| !has(tag));
    let others: String = others.map(|tag| format!("- {}\n", serde_json::Value::from(tag.as_str()))).collect();
    ours + &others
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

#[cfg(test)]
mod tests {
    use super::*;

    fn card(text: &str) -> String {
        format!(
            "---\n{HINT}\n{FIELDS}:\n- tags\n- model-index\nlicense: mit\ntags:\n- onnx\nmodel-index: {text}\n---\n\n{BEGIN}\n{text}\n{END}\n"
        )
    }

    #[test]
    fn a_card_of_ours_is_replaced_whole() {
        let old =
            card("old").replace(&format!("{HINT}\n{FIELDS}:\n- tags\n- model-index\nlicense: mit"), OURS);
        for page in [None, Some(String::new()), Some(card("old")), Some(format!("\u{feff}{}", card("old")))] {
            assert_eq!(merged(page.as_deref(), &card("new")), card("new"));
        }
        let renewed = merged(Some(&old), &card("new"));
        assert!(!renewed.contains("old") && !renewed.contains(OURS), "{renewed}");
        let keys = |page: &str| {
            let mut keys: Vec<_> =
                FrontMatter::split(page).unwrap().0.entries.into_iter().map(|(key, _)| key).collect();
            keys.sort();
            keys
        };
        assert_eq!(keys(&renewed), keys(&card("new")));
        let windows = card("old").replace('\n', "\r\n");
        assert_eq!(merged(Some(&windows), &card("new")), card("new").replace('\n', "\r\n"));
    }

    #[test]
    fn what_people_and_tools_change_in_the_front_matter_stays() {
        // As a tool writes it: without comments, in another order, with its own fields.
        let page = format!(
            "---\nlanguage: de\nlicense: apache-2.0\ntags:\n- cars\n- onnx\nmodel-index: old\n{FIELDS}:\n- tags\n- model-index\n---\n\n{BEGIN}\nold\n{END}\n"
        );
        let page = merged(Some(&page), &card("new"));
        let (front, _) = FrontMatter::split(&page).unwrap();
        assert_eq!(front.value("license").as_deref(), Some("apache-2.0"), "a person's license is not ours");
        assert_eq!(front.value("language").as_deref(), Some("de"));
        assert_eq!(front.value("model-index").as_deref(), Some("new"));
        assert_eq!(front.items("tags"), ["onnx", "cars"]);
        // A person took a field off the list.
        let kept = card("old").replace("- model-index\n", "");
        let page = merged(Some(&kept), &card("new"));
        let (front, _) = FrontMatter::split(&page).unwrap();
        assert_eq!(front.value("model-index").as_deref(), Some("old"));
        // A field that a release no longer has goes.
        let gone = card("new").replace("model-index: new\n", "");
        assert!(!merged(Some(&card("old")), &gone).contains("model-index: old"));
    }

    #[test]
    fn of_a_persons_page_only_what_stands_between_the_markers_changes() {
        let page = format!("---\nlicense: mit\n---\n# Ours\n{BEGIN}\nold\n{END}\n## Contact\n");
        let expected = format!("---\nlicense: mit\n---\n# Ours\n{BEGIN}\nnew\n{END}\n## Contact\n");
        assert_eq!(merged(Some(&page), &card("new")), expected);
        // A person took the front matter over by deleting the list.
        let page = card("old").replace(&format!("{FIELDS}:\n- tags\n- model-index\n"), "");
        let taken = merged(Some(&page), &card("new"));
        assert!(taken.contains("model-index: old") && taken.contains(&format!("{BEGIN}\nnew\n")), "{taken}");
        // A person wrote something below.
        let page = format!("{}Write to us.\n", card("old"));
        assert_eq!(merged(Some(&page), &card("new")), page.replace("old", "new"));
    }

    #[test]
    fn a_page_without_markers_keeps_every_word_and_gets_ours_at_its_end() {
        let ours = |text: &str| format!("{BEGIN}\n{text}\n{END}");
        let mixed = "---\nautovalidate_fields:\n- a\n---\r\n---\n# Mine\n";
        for page in ["# Mine\n", "# Mine", "---\nlicense: mit\n---\n", BEGIN, END, mixed] {
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

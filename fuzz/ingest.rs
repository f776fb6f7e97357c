//! Answers and messages of Supabase, or of whoever answers in its place.

use autovalidate::correction::{Row, normalize, subject_token};
use autovalidate::failure::{Failure, chain};
use autovalidate::ingest::{TableAccess, fuzzing, webhook};
use secrecy::SecretString;

/// Key that no output may show.
const KEY: &str = "sb_secret_0123456789abcdef";

fn access() -> TableAccess {
    TableAccess::new("https://example.org".parse().expect("an address"), KEY.to_owned().into())
}

/// Handles the input's lines as the text frames of one Realtime session.
pub(crate) fn realtime(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let session = fuzzing::frames(&access(), text);
    session.rows.iter().for_each(read);
    if let Some(reason) = session.ended {
        printable(&chain(&reason));
        assert!(!reason.advice().is_empty());
    }
}

/// Reads the input as an answer of PostgREST. Its first byte chooses the question and the status, and the
/// rest is the body.
pub(crate) fn rest(input: &[u8]) {
    let Some((first, body)) = input.split_first() else { return };
    let after = i64::from(*first) - 100;
    if let Ok(page) = fuzzing::page(body, after) {
        // Otherwise the sweep would ask for the same page again.
        assert!(page.last_id.is_none_or(|last| last > after), "{:?} is not after {after}", page.last_id);
        assert!(page.last_id.is_some() || (page.rows.is_empty() && page.malformed.is_empty()));
        page.rows.iter().for_each(read);
    }
    let status = 300 + u16::from(*first);
    let answer = fuzzing::error_answer(&access(), status, body);
    printable(&answer.to_string());
    assert!(answer.to_string().len() < 6_000 && !answer.advice().contains(KEY));
}

/// Receives the input as the body of a database webhook.
pub(crate) fn webhook(input: &[u8]) {
    let secret = SecretString::from("0123456789abcdef");
    let received = webhook::receive(&access(), &secret, Some(b"0123456789abcdef"), input);
    match received {
        Ok(hint) => assert!(hint.changed.len() <= 2),
        Err(error) => printable(&error.to_string()),
    }
}

/// Reads a row as its way to the stream does.
fn read(row: &Row) {
    plain(&row.row_id().to_string());
    plain(&subject_token(&row.domain));
    if row.check().is_ok() {
        assert!(!normalize(&row.typo).is_empty() && !normalize(&row.corrected).is_empty());
    }
    let stored = serde_json::to_vec(row).expect("JSON");
    assert_eq!(&serde_json::from_slice::<Row>(&stored).expect("a row"), row);
    let _ = row.insert_order();
}

/// Fails on a message that shows the key or would change a terminal's other text.
fn printable(text: &str) {
    assert!(!text.contains(KEY), "{text:?}");
    plain(text);
}

/// Fails on a text that would change a terminal's other text.
fn plain(text: &str) {
    assert!(!text.chars().any(char::is_control), "{text:?}");
}

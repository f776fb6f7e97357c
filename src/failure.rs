//! The contract of every error in this program, shared with the fine-tuning crate.

use std::error::Error;

pub use autovalidate_finetune::failure::{Failure, RetryDirective};
use tokio::task::JoinError;

use crate::redaction::redact;

/// Formats an error and all its sources on one line, `outer: middle: inner`, without the secrets
/// that a source may quote, and without control characters but the line breaks of the program's own lists.
/// Whatever prints, logs or records an error takes its text from here.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let text = redact(&autovalidate_finetune::failure::chain(error)).into_owned();
    text.replace(|letter: char| letter.is_control() && letter != '\n', " ")
}

/// The message of a task that ended without a result: its panic's text, or that it was cancelled.
pub fn panic_message(error: JoinError) -> String {
    if error.is_cancelled() {
        return "the task was cancelled".to_owned();
    }
    let Ok(panic) = error.try_into_panic() else { return "the task ended without a result".to_owned() };
    // `panic!` with a literal carries a `&str`, with arguments a `String`.
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (None, Some(text)) => text.clone(),
        (None, None) => "a panic without a text".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_in_a_source_is_not_told() {
        let error = std::io::Error::other("can't reach nats://u:s3cr3t@host");
        assert_eq!(chain(&error), "can't reach nats://***@host");
        assert_eq!(chain(&std::io::Error::other("a\u{1b}[2J\rb")), "a [2J b");
    }

    #[tokio::test]
    async fn a_panic_is_told_by_its_message() {
        let literal = tokio::spawn(async { panic!("no room") }).await.unwrap_err();
        assert_eq!(panic_message(literal), "no room");
        let formatted = tokio::task::spawn_blocking(|| panic!("row {}", 7)).await.unwrap_err();
        assert_eq!(panic_message(formatted), "row 7");
        let cancelled = tokio::spawn(std::future::pending::<()>());
        cancelled.abort();
        assert_eq!(panic_message(cancelled.await.unwrap_err()), "the task was cancelled");
    }
}

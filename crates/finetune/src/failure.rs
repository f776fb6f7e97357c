//! What an error asks of whoever meets it.
//!
//! Owns the three answers every error of this crate can give (try again, call a person, give up on this
//! input) and the sentence that tells the operator what to do. Never owns an error type: each area defines
//! its own enum and implements [`Failure`] for it, with an exhaustive match, so that a new variant can't
//! slip in without a decision.

use std::error::Error;

/// What to do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryDirective {
    /// Passing trouble (network, a busy server): the same step may succeed later, so retry with backoff.
    Retry,
    /// Something outside must change first (a setting, a right, a full disk): tell a person, keep the work.
    Person,
    /// This input will never succeed (a malformed request): record why and go on with the next.
    Never,
}

/// An error that knows its [`RetryDirective`] and can tell the operator what to do.
pub trait Failure: Error + Send + Sync + 'static {
    /// What to do about it.
    fn directive(&self) -> RetryDirective;

    /// One sentence for the operator: what to check or change.
    fn advice(&self) -> String;
}

/// Writes an error and all its sources on one line: `outer: middle: inner`.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        // Some libraries repeat their source's text in their own; don't say it twice.
        if !text.ends_with(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        source = inner.source();
    }
    text
}

//! Classification of errors: retry, call a person, or give up on this input.
//!
//! Owns the three directives that an error can carry, and the contract that every error has one
//! sentence of advice for the operator. Never defines an error type: each area has its own enum and
//! implements [`Failure`] for it. The `match` there is exhaustive, so a new variant doesn't compile
//! until someone decides on its directive.

use std::error::Error;

/// Response that an error calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryDirective {
    /// A temporary fault (network, busy server). The same step may succeed later: retry with
    /// backoff.
    Retry,
    /// Something outside must change first (a setting, a permission, a full disk). Tell a person,
    /// and keep the work.
    Person,
    /// This input will never succeed (a malformed request). Record the reason, and continue with
    /// the next input.
    Never,
}

/// An error that knows its [`RetryDirective`] and can tell the operator what to do.
pub trait Failure: Error + Send + Sync + 'static {
    /// Returns the response that this error calls for.
    fn directive(&self) -> RetryDirective;

    /// Returns one sentence that tells the operator what to check or change.
    fn advice(&self) -> String;
}

/// Formats an error and all its sources on one line: `outer: middle: inner`.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        // Some libraries include the text of the source in their own: don't repeat it.
        if !text.ends_with(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        source = inner.source();
    }
    text
}

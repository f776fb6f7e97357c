//! The result of one check.

use serde::Serialize;

use crate::failure::{Failure, chain};

/// Result of one check.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    /// Name of what was checked, such as `table`.
    pub(super) check: &'static str,
    pub(super) outcome: Outcome,
    /// Description of what was found.
    pub(super) found: String,
    /// Advice for the operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) advice: Option<String>,
}

/// Outcome of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outcome {
    Ok,
    /// A worker runs like this, and a person should know.
    Note,
    Failed,
}

impl Finding {
    pub(super) fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, outcome: Outcome::Ok, found: found.into(), advice: None }
    }

    pub(super) fn note(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, outcome: Outcome::Note, found: found.into(), advice: Some(advice.into()) }
    }

    pub(super) fn failed(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, outcome: Outcome::Failed, found: found.into(), advice: Some(advice.into()) }
    }

    pub(super) fn of(check: &'static str, failure: &impl Failure) -> Self {
        Self::failed(check, chain(failure), failure.advice())
    }

    /// Returns the finding for a check that took too long.
    pub(super) fn late(check: &'static str) -> Self {
        let found = format!("no answer within {:?}", super::CHECK_TIMEOUT);
        Self::failed(check, found, "Check the address and the network.")
    }

    /// Returns the lines that a person reads.
    pub(super) fn lines(&self) -> String {
        let Self { check, outcome, found, advice } = self;
        let word = match outcome {
            Outcome::Ok => "ok  ",
            Outcome::Note => "note",
            Outcome::Failed => "FAIL",
        };
        let advice = advice.as_ref().map(|advice| format!("      what to do: {advice}\n"));
        format!("{word}  {check}: {found}\n{}", advice.unwrap_or_default())
    }
}

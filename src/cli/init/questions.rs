//! Questions on a terminal, for what only a person can know. An empty answer leaves a setting empty.

use std::io::IsTerminal;

use dialoguer::{Confirm, Input, Password};

use super::env_file::is_plain;
use crate::cli::CliError;

/// A person who can be asked.
pub(super) struct Questions {
    asks: bool,
}

impl Questions {
    /// Asks if there is a terminal to ask on, and `wanted`.
    pub(super) fn new(wanted: bool) -> Self {
        Self { asks: wanted && std::io::stdin().is_terminal() && std::io::stderr().is_terminal() }
    }

    /// Returns true when there is a person who can be asked.
    pub(super) fn can_ask(&self) -> bool {
        self.asks
    }

    /// Asks for a text that `check` accepts.
    pub(super) fn text(
        &self,
        question: &str,
        check: impl Fn(&str) -> Result<(), String>,
    ) -> Result<Option<String>, CliError> {
        if !self.asks {
            return Ok(None);
        }
        let check = |answer: &String| if answer.is_empty() { Ok(()) } else { check(answer) };
        let input = Input::new().with_prompt(question).allow_empty(true).validate_with(check);
        input.interact_text().map(given).map_err(failed)
    }

    /// Asks for a key, which is not shown while it is typed.
    pub(super) fn key(&self, question: &str) -> Result<Option<String>, CliError> {
        if !self.asks {
            return Ok(None);
        }
        let check = |answer: &String| match is_plain(answer.trim()) {
            true => Ok(()),
            false => Err("that is no key: it has a space or another special character"),
        };
        let password = Password::new().with_prompt(question).allow_empty_password(true).validate_with(check);
        password.interact().map(given).map_err(failed)
    }

    /// Asks for yes or no; no when nobody can be asked.
    pub(super) fn yes(&self, question: &str) -> Result<bool, CliError> {
        if !self.asks {
            return Ok(false);
        }
        Confirm::new().with_prompt(question).default(false).wait_for_newline(true).interact().map_err(failed)
    }
}

/// Returns an answer without the spaces around it, unless it is empty.
fn given(answer: String) -> Option<String> {
    let answer = answer.trim();
    (!answer.is_empty()).then(|| answer.to_owned())
}

fn failed(error: dialoguer::Error) -> CliError {
    CliError::Plain {
        what: "the question was not answered".to_owned(),
        advice: "Run it again, or give the answers as arguments; see `autovalidate init --help`.".to_owned(),
        source: Some(error.into()),
    }
}

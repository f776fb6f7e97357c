//! The nats-server program: lookup, and the check of its version.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use super::process::server_command;
use crate::broker::error::BrokerError;
use crate::broker::version::{OLDEST_SERVER, is_new_enough};
use crate::text::plain_line;

/// Time that `nats-server --version` may take: long enough for a cold start from a slow disk.
const VERSION_DEADLINE: Duration = Duration::from_secs(20);

/// Finds the program to run: the configured one, or else `nats-server` on `PATH`.
pub(super) fn find(set: Option<&Path>) -> Result<PathBuf, BrokerError> {
    let missing = |program: &Path| BrokerError::ProgramMissing { program: program.to_owned() };
    if let Some(program) = set {
        return if program.is_file() { Ok(program.to_owned()) } else { Err(missing(program)) };
    }
    let name = Path::new("nats-server");
    std::env::var_os("PATH")
        .iter()
        .flat_map(std::env::split_paths)
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
        .ok_or_else(|| missing(name))
}

/// Runs `--version`, refuses a server that is too old, and returns the version.
pub(super) async fn check_version(program: &Path) -> Result<String, BrokerError> {
    let failed = |source| BrokerError::Program { program: program.to_owned(), source };
    let asked = server_command(program).arg("--version").stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(VERSION_DEADLINE, asked)
        .await
        .map_err(|_| BrokerError::TimedOut { what: "nats-server --version" })?
        .map_err(failed)?;
    let version = parse_version(&String::from_utf8_lossy(&output.stdout));
    if is_new_enough(&version) {
        Ok(version)
    } else {
        Err(BrokerError::ServerTooOld { found: version, needed: OLDEST_SERVER })
    }
}

/// Extracts the version: `nats-server: v2.10.27` becomes `2.10.27`. An answer without a version is
/// returned on one line, cut to 40 bytes.
fn parse_version(answer: &str) -> String {
    let word = answer
        .split_whitespace()
        .map(|word| word.trim_start_matches('v'))
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()))
        .unwrap_or(answer.trim());
    plain_line(word, 40)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_found_in_what_the_program_prints() {
        assert_eq!(parse_version("nats-server: v2.10.27\n"), "2.10.27");
        assert_eq!(parse_version("nats-server: v2.15.0-RC.1"), "2.15.0-RC.1");
        assert_eq!(parse_version("what?"), "what?");
        assert_eq!(parse_version(""), "");
    }
}

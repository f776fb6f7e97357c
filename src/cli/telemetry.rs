//! Logs, written to standard error: text on a terminal, JSON elsewhere. `RUST_LOG` sets the levels.

use std::io::IsTerminal;

use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::redaction::Redacting;

/// Log level when `RUST_LOG` is not set.
pub(super) enum DefaultLevel {
    Info,
    #[cfg_attr(not(feature = "dev"), expect(dead_code, reason = "only `dev` is this quiet"))]
    Warn,
    Error,
}

impl DefaultLevel {
    fn filter(&self) -> &'static str {
        match self {
            // Libraries log warnings and errors only.
            Self::Info => "warn,autovalidate=info",
            Self::Warn => "error,autovalidate=warn",
            Self::Error => "error",
        }
    }
}

/// Returns true for a record that may be logged, whatever `RUST_LOG` asks for. At `trace`, libraries log
/// what they send and receive: URLs with their key, and the texts of pairs.
fn is_allowed(metadata: &Metadata<'_>) -> bool {
    is_own(metadata.target()) || *metadata.level() != Level::TRACE
}

/// Returns true for a target of this program: its name, or a path below it.
fn is_own(target: &str) -> bool {
    ["autovalidate", "autovalidate_finetune", "autovalidate_fakes"]
        .iter()
        .any(|own| target.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with("::")))
}

/// Starts logging.
pub(super) fn start(default: DefaultLevel) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default.filter()));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // Libraries log addresses and answers, which may hold a password or a key.
        .with_writer(|| Redacting(std::io::stderr()))
        // When the reader of the log has gone, a message about that has no reader either, and
        // printing it would panic.
        .log_internal_errors(false);
    let started = if std::io::stderr().is_terminal() {
        builder.compact().with_target(false).finish().with(filter_fn(is_allowed)).try_init()
    } else {
        builder.json().flatten_event(true).finish().with(filter_fn(is_allowed)).try_init()
    };
    if let Err(error) = started {
        eprintln!("logging can't start: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::is_own;

    #[test]
    fn a_library_is_not_own() {
        assert!(
            is_own("autovalidate") && is_own("autovalidate::http") && is_own("autovalidate_finetune::train")
        );
        assert!(!is_own("tungstenite::handshake") && !is_own("autovalidate_other") && !is_own("async_nats"));
    }
}

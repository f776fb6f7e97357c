//! Logs, written to standard error: text on a terminal, JSON elsewhere. `RUST_LOG` sets the levels.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

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

/// Starts logging.
pub(super) fn start(default: DefaultLevel) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default.filter()));
    // At `trace`, the websocket library logs URLs with their key, and every frame.
    let filter = match "tungstenite=debug".parse() {
        Ok(cap) if filter.max_level_hint() == Some(LevelFilter::TRACE) => filter.add_directive(cap),
        _ => filter,
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // Libraries log addresses and answers, which may hold a password or a key.
        .with_writer(|| Redacting(std::io::stderr()))
        // When the reader of the log has gone, a message about that has no reader either, and
        // printing it would panic.
        .log_internal_errors(false);
    let started = if std::io::stderr().is_terminal() {
        builder.compact().with_target(false).try_init()
    } else {
        builder.json().flatten_event(true).try_init()
    };
    if let Err(error) = started {
        eprintln!("logging can't start: {error}");
    }
}

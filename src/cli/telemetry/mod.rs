//! Logs, written to standard error: text on a terminal, JSON elsewhere. `RUST_LOG` sets the levels. With the
//! feature `otel`, also traces.

#[cfg(feature = "otel")]
mod traces;

use std::io::IsTerminal;

use tracing::{Level, Metadata};
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

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

/// Handle that has to live as long as the program: dropping it sends the last spans.
#[must_use]
pub(super) struct Telemetry {
    #[cfg(feature = "otel")]
    _traces: Option<traces::Traces>,
}

/// Starts logging and, with the feature `otel`, the export of traces.
pub(super) fn start(default: DefaultLevel) -> Telemetry {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default.filter()));
    let layer = tracing_subscriber::fmt::layer()
        // Libraries log addresses and answers, which may hold a password or a key.
        .with_writer(|| Redacting(std::io::stderr()))
        // When the reader of the log has gone, a message about that has no reader either, and
        // printing it would panic.
        .log_internal_errors(false);
    let is_terminal = std::io::stderr().is_terminal();
    let layer = match is_terminal {
        true => layer.compact().with_target(false).boxed(),
        // The innermost span has the run and its stage.
        false => layer.json().flatten_event(true).with_span_list(false).boxed(),
    };
    // On a terminal, a line is what happened; the spans around it would repeat its fields.
    let is_shown =
        move |metadata: &Metadata<'_>| is_allowed(metadata) && !(is_terminal && metadata.is_span());
    // Without the hint, every library would build its records of all levels, only for them to be dropped
    // here: the tokenizer has some for each character. Spans are exported whatever `RUST_LOG` asks for, so
    // their level is the least.
    let most = filter.max_level_hint().unwrap_or(LevelFilter::TRACE).max(LevelFilter::INFO);
    let log = layer.with_filter(filter).with_filter(filter_fn(is_shown).with_max_level_hint(most));
    #[cfg(not(feature = "otel"))]
    let (started, telemetry) = (tracing_subscriber::registry().with(log).try_init(), Telemetry {});
    #[cfg(feature = "otel")]
    let (started, telemetry) = {
        let traces = traces::Traces::start().unwrap_or_else(|error| {
            eprintln!("traces are not exported: {error}");
            None
        });
        let layer = traces.as_ref().map(traces::Traces::layer);
        (tracing_subscriber::registry().with(layer).with(log).try_init(), Telemetry { _traces: traces })
    };
    if let Err(error) = started {
        eprintln!("logging can't start: {error}");
    }
    telemetry
}

#[cfg(test)]
mod tests {
    use super::{DefaultLevel, LevelFilter, is_own, start};

    #[test]
    fn libraries_build_no_records_that_nobody_sees() {
        let _telemetry = start(DefaultLevel::Info);
        assert!(LevelFilter::current() < LevelFilter::TRACE, "unless RUST_LOG asks for them");
    }

    #[test]
    fn a_library_is_not_own() {
        assert!(
            is_own("autovalidate") && is_own("autovalidate::http") && is_own("autovalidate_finetune::train")
        );
        assert!(!is_own("tungstenite::handshake") && !is_own("autovalidate_other") && !is_own("async_nats"));
    }
}

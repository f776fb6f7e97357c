//! Faults by name, for the command line: `--fault cut-sockets=5s --fault hide-rows`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::faults::{Faults, RestFault, SocketFault};

/// Default interval at which a repeated fault strikes.
const PERIOD: Duration = Duration::from_secs(10);

/// A fault given by name.
#[derive(Debug, Clone, Copy)]
pub struct NamedFault {
    entry: &'static Entry,
    value: Value,
}

/// Error for text that names no fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    /// The fault does not exist.
    #[error("no such fault")]
    Unknown,
    /// The value is not of the kind that this fault takes.
    #[error("the value must be {0}")]
    Value(&'static str),
}

#[derive(Debug)]
struct Entry {
    name: &'static str,
    kind: Kind,
    help: &'static str,
}

#[derive(Debug)]
enum Kind {
    /// On from the start.
    Switch(fn(&Faults)),
    /// Strikes repeatedly.
    Every(fn(&Faults)),
    /// On from the start, with a number.
    Number(fn(&Faults, u64)),
    /// On from the start, with a duration.
    Lasting(fn(&Faults, Duration)),
}

#[derive(Debug, Clone, Copy)]
enum Value {
    None,
    Number(u64),
    Duration(Duration),
}

const FAULTS: [Entry; 30] = [
    Entry {
        name: "cut-sockets",
        kind: Kind::Every(|faults| faults.strike(SocketFault::Kill)),
        help: "drops every websocket without a close frame",
    },
    Entry {
        name: "close-sockets",
        kind: Kind::Every(|faults| faults.strike(SocketFault::Close(1012))),
        help: "closes every websocket with code 1012",
    },
    Entry {
        name: "expire-tokens",
        kind: Kind::Every(|faults| faults.strike(SocketFault::TokenExpired)),
        help: "says that the token has expired and closes the channels",
    },
    Entry {
        name: "crash-channels",
        kind: Kind::Every(|faults| faults.strike(SocketFault::ChannelCrash)),
        help: "answers phx_error on every channel",
    },
    Entry {
        name: "resubscribe",
        kind: Kind::Every(|faults| faults.strike(SocketFault::Resubscribed)),
        help: "loses events and says `Subscribed to PostgreSQL` again",
    },
    Entry {
        name: "degrade",
        kind: Kind::Every(|faults| faults.strike(SocketFault::Degraded)),
        help: "says `Too many database timeouts`, loses events, and subscribes again by itself",
    },
    Entry {
        name: "disable-legacy-keys",
        kind: Kind::Switch(|faults| faults.disable_legacy_keys(true)),
        help: "refuses the legacy keys, as a project does that has only the newer ones",
    },
    Entry {
        name: "slow-frames",
        kind: Kind::Lasting(Faults::delay_frames),
        help: "delays each frame by this much and reads nothing meanwhile",
    },
    Entry {
        name: "silent-heartbeats",
        kind: Kind::Switch(|faults| faults.silence_heartbeats(true)),
        help: "never answers a heartbeat",
    },
    Entry {
        name: "silent-joins",
        kind: Kind::Switch(|faults| faults.silence_joins(true)),
        help: "never answers a join",
    },
    Entry {
        name: "refuse-joins",
        kind: Kind::Switch(|faults| faults.refuse_joins(Some("InitializingProjectConnection: starting"))),
        help: "rejects every join, as a project does while it starts",
    },
    Entry {
        name: "refuse-upgrades",
        kind: Kind::Number(|faults, status| faults.refuse_upgrades(u16::try_from(status).unwrap_or(500), 5)),
        help: "answers the next five websocket upgrades with this HTTP status",
    },
    Entry {
        name: "drop-events",
        kind: Kind::Number(Faults::drop_events),
        help: "loses this many row events silently",
    },
    Entry {
        name: "duplicate-events",
        kind: Kind::Switch(|faults| faults.duplicate_events(true)),
        help: "sends every row event twice",
    },
    Entry {
        name: "broken-events",
        kind: Kind::Switch(|faults| faults.break_events(true)),
        help: "sends row events without the row",
    },
    Entry {
        name: "delay-commits",
        kind: Kind::Lasting(Faults::delay_commits),
        help: "makes inserted rows visible up to this much later, and so out of id order",
    },
    Entry {
        name: "hide-rows",
        kind: Kind::Switch(|faults| faults.hide_rows(true)),
        help: "hides every row from the anon role, as row-level security without a policy does",
    },
    Entry {
        name: "revoke",
        kind: Kind::Switch(|faults| faults.revoke(true)),
        help: "revokes the anon role's permission to read the table",
    },
    Entry {
        name: "skew-clock",
        kind: Kind::Lasting(Faults::skew_clock),
        help: "dates rows this far into the future",
    },
    Entry {
        name: "unpublish",
        kind: Kind::Switch(|faults| faults.unpublish(true)),
        help: "removes the table from the publication",
    },
    Entry {
        name: "rest-401",
        kind: Kind::Every(|faults| faults.fail_rest(RestFault::Status(401), 1)),
        help: "rejects a REST request's key with status 401",
    },
    Entry {
        name: "rest-429",
        kind: Kind::Every(|faults| faults.fail_rest(RestFault::Status(429), 1)),
        help: "answers a REST request with status 429 (too many requests)",
    },
    Entry {
        name: "rest-503",
        kind: Kind::Every(|faults| faults.fail_rest(RestFault::Status(503), 1)),
        help: "answers a REST request with status 503 (database down)",
    },
    Entry {
        name: "rest-html",
        kind: Kind::Every(|faults| faults.fail_rest(RestFault::Html(502), 1)),
        help: "answers a REST request with a gateway's HTML page and status 502",
    },
    Entry {
        name: "rest-truncated",
        kind: Kind::Every(|faults| faults.fail_rest(RestFault::Truncated, 1)),
        help: "cuts a REST response in half",
    },
    Entry {
        name: "rest-timeout",
        kind: Kind::Every(|faults| faults.fail_rest(RestFault::StatementTimeout, 1)),
        help: "cancels a REST request's SQL statement, as a statement timeout does",
    },
    Entry {
        name: "statement-rows",
        kind: Kind::Number(|faults, most| faults.limit_statement_rows(usize::try_from(most).ok())),
        help: "cancels every REST statement that returns more rows than this",
    },
    Entry {
        name: "answer-bytes",
        kind: Kind::Number(|faults, most| faults.limit_answer_bytes(usize::try_from(most).ok())),
        help: "answers 413 in place of every REST page larger than this",
    },
    Entry {
        name: "stale-pages",
        kind: Kind::Switch(|faults| faults.serve_stale_pages(true)),
        help: "answers every REST read with the same page, as a cache that ignores the query does",
    },
    Entry {
        name: "rest-latency",
        kind: Kind::Lasting(Faults::delay_rest),
        help: "delays every REST response by this much",
    },
];

impl Kind {
    fn takes(&self) -> &'static str {
        match self {
            Self::Switch(_) => "",
            Self::Every(_) => "[=PERIOD]",
            Self::Number(_) => "=NUMBER",
            Self::Lasting(_) => "=DURATION",
        }
    }
}

impl FromStr for NamedFault {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let entry = FAULTS.iter().find(|entry| entry.name == name).ok_or(FaultError::Unknown)?;
        let period = |text: &str| {
            let span = text.parse::<jiff::SignedDuration>().ok()?;
            Duration::try_from(span).ok().filter(|period| !period.is_zero())
        };
        let value = match (&entry.kind, value) {
            (Kind::Switch(_), None) => Value::None,
            (Kind::Switch(_), Some(_)) => return Err(FaultError::Value("left out")),
            (Kind::Every(_), None) => Value::Duration(PERIOD),
            (Kind::Every(_) | Kind::Lasting(_), value) => {
                let period =
                    value.and_then(period).ok_or(FaultError::Value("a duration such as 500ms or 5s"))?;
                Value::Duration(period)
            }
            (Kind::Number(_), value) => {
                let number = value.and_then(|value| value.parse().ok());
                Value::Number(number.ok_or(FaultError::Value("a whole number"))?)
            }
        };
        Ok(Self { entry, value })
    }
}

impl fmt::Display for NamedFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.entry.name)
    }
}

impl NamedFault {
    /// Returns the `--help` text: an explanation of the values, and one line per fault with its
    /// name, its value, and its effect.
    pub fn help() -> String {
        let line = |entry: &Entry| {
            format!("  {:<26} {}\n", format!("{}{}", entry.name, entry.kind.takes()), entry.help)
        };
        let lines: String = FAULTS.iter().map(line).collect();
        format!(
            "Faults of the local Supabase. A fault with a PERIOD strikes repeatedly: every {} s, or at the given\n\
             period (`--fault cut-sockets=3s`). The others are on from the start.\n\n{lines}",
            PERIOD.as_secs()
        )
    }

    /// Turns the fault on. A repeated fault strikes until `stop` is cancelled.
    pub async fn run(self, faults: Faults, stop: CancellationToken) {
        let strike = match (&self.entry.kind, self.value) {
            (Kind::Every(strike), _) => strike,
            (Kind::Switch(switch), _) => return switch(&faults),
            (Kind::Number(switch), Value::Number(number)) => return switch(&faults, number),
            (Kind::Lasting(switch), Value::Duration(duration)) => return switch(&faults, duration),
            (Kind::Number(_) | Kind::Lasting(_), _) => return,
        };
        let Value::Duration(period) = self.value else { return };
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(period) => strike(&faults),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_fault_is_found_by_its_name_and_told_what_it_takes() {
        for entry in &FAULTS {
            let text = match entry.kind {
                Kind::Switch(_) | Kind::Every(_) => entry.name.to_owned(),
                Kind::Number(_) => format!("{}=429", entry.name),
                Kind::Lasting(_) => format!("{}=2s", entry.name),
            };
            assert_eq!(text.parse::<NamedFault>().expect("a fault").to_string(), entry.name);
            assert!(NamedFault::help().contains(entry.help));
        }
        assert_eq!("nothing".parse::<NamedFault>().err(), Some(FaultError::Unknown));
        assert_eq!("hide-rows=1".parse::<NamedFault>().err(), Some(FaultError::Value("left out")));
        for wrong in ["cut-sockets=0s", "cut-sockets=x", "drop-events", "rest-latency"] {
            assert!(matches!(wrong.parse::<NamedFault>(), Err(FaultError::Value(_))), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in ".{0,40}") {
            let _ = text.parse::<NamedFault>();
        }
    }
}

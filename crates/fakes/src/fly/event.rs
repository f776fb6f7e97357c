//! Events of a machine, as the API lists them.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::process::Exit;
use super::state::MachineState;

/// An entry of a machine's `events`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) id: String,
    pub(super) kind: &'static str,
    pub(super) status: MachineState,
    pub(super) source: &'static str,
    pub(super) exit: Option<ExitEvent>,
    pub(super) at: Timestamp,
}

/// The part of an event that only an exit has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ExitEvent {
    pub(super) exit: Exit,
    pub(super) requested_stop: bool,
    pub(super) restarting: bool,
    pub(super) restarts: u32,
}

impl Event {
    pub(super) fn json(&self) -> Value {
        let mut event = json!({
            "id": self.id,
            "type": self.kind,
            "status": self.status,
            "source": self.source,
            "timestamp": self.at.as_millisecond(),
        });
        if let Some(exit) = self.exit {
            event["request"] = json!({
                "exit_event": {
                    "requested_stop": exit.requested_stop,
                    "restarting": exit.restarting,
                    "guest_exit_code": exit.exit.code,
                    "guest_signal": exit.exit.signal.unwrap_or(-1),
                    "guest_error": "",
                    "exit_code": exit.exit.code,
                    "signal": exit.exit.signal.unwrap_or(-1),
                    "error": "",
                    "oom_killed": false,
                    "exited_at": self.at.to_string(),
                },
                "restart_count": exit.restarts,
            });
        }
        event
    }
}

//! Opt-out from ONNX Runtime's telemetry.
//!
//! Since version 1.29 the official builds for Linux and macOS report processes, sessions and models
//! (names, hashes, run counts) to Microsoft, store an identifier of the machine, and cache unsent
//! reports under `~/.cache/Microsoft`. The C call `DisableTelemetryEvents` comes after the first
//! report. The environment variable `ORT_DISABLE_TELEMETRY` prevents every report, and is read
//! once, when the library is loaded (<https://github.com/microsoft/onnxruntime/pull/27379>).
//! Windows has no such variable, so there the call has to suffice.
//!
//! A process can't set its own environment variable without `unsafe`, because other threads may be
//! reading the environment. So the program restarts itself with the variable set.
//! [`super::Runtime::load`] refuses to load the library without the variable.

/// Environment variable that disables ONNX Runtime's telemetry.
const VARIABLE: &str = "ORT_DISABLE_TELEMETRY";

/// Returns true when ONNX Runtime's telemetry is disabled.
pub(super) fn is_disabled() -> bool {
    !cfg!(unix) || std::env::var_os(VARIABLE).is_some_and(|value| value == "1")
}

/// Restarts this program with ONNX Runtime's telemetry disabled, as the same process and with the
/// same arguments. Does nothing if telemetry is disabled already. Call this first in `main`: the
/// restart discards the process's state.
///
/// # Errors
/// When the program's own executable can't be run. In that case set `ORT_DISABLE_TELEMETRY=1` where
/// the program is started.
#[cfg(unix)]
pub fn disable_telemetry() -> std::io::Result<()> {
    use std::os::unix::process::CommandExt;

    if is_disabled() {
        return Ok(());
    }
    let mut arguments = std::env::args_os();
    let mut again = std::process::Command::new(std::env::current_exe()?);
    if let Some(name) = arguments.next() {
        again.arg0(name);
    }
    // `exec` returns only on failure.
    Err(again.args(arguments).env(VARIABLE, "1").exec())
}

/// Does nothing: ONNX Runtime has no such variable on this system.
///
/// # Errors
/// None.
#[cfg(not(unix))]
pub fn disable_telemetry() -> std::io::Result<()> {
    Ok(())
}

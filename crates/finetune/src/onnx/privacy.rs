//! Keeps ONNX Runtime from reporting to its makers.
//!
//! From 1.29 on its official builds for Linux and macOS tell Microsoft about processes, sessions and models (names, hashes, how
//! often they ran), keep an identifier of the machine, and store what could not be sent under `~/.cache/Microsoft`. The C call
//! `DisableTelemetryEvents` comes after the first report; the environment variable `ORT_DISABLE_TELEMETRY` keeps all of it
//! from starting, and is read once, when the library is loaded
//! (<https://github.com/microsoft/onnxruntime/pull/27379>). On Windows there is no variable, and the call has to do.
//!
//! A process can't set a variable for itself without `unsafe`, as threads may be reading; so a program starts itself again
//! with it. [`super::Runtime::load`] refuses to work without.

/// What ONNX Runtime reads.
const VARIABLE: &str = "ORT_DISABLE_TELEMETRY";

/// Whether ONNX Runtime will report nothing.
pub(super) fn is_kept() -> bool {
    !cfg!(unix) || std::env::var_os(VARIABLE).is_some_and(|value| value == "1")
}

/// Starts this program again, as the same process and with the same arguments, in an environment where ONNX Runtime reports
/// nothing; does nothing where that is so already. Belongs at the beginning of `main`: what the process had is gone.
///
/// # Errors
/// When the program's own file can't be run; `ORT_DISABLE_TELEMETRY=1` has to be set by whoever starts it then.
#[cfg(unix)]
pub fn keep_private() -> std::io::Result<()> {
    use std::os::unix::process::CommandExt;

    if is_kept() {
        return Ok(());
    }
    let mut arguments = std::env::args_os();
    let mut again = std::process::Command::new(std::env::current_exe()?);
    if let Some(name) = arguments.next() {
        again.arg0(name);
    }
    // Returns only when it didn't work.
    Err(again.args(arguments).env(VARIABLE, "1").exec())
}

/// Does nothing: this system's ONNX Runtime has no such variable.
///
/// # Errors
/// None.
#[cfg(not(unix))]
pub fn keep_private() -> std::io::Result<()> {
    Ok(())
}

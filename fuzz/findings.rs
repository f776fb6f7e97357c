//! The panics that count as findings: those in code of this workspace, and those of a library that the
//! product does not contain.

use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::path::Path;
use std::process::abort;
use std::sync::{Mutex, PoisonError};

/// Message of the last panic in a library.
static LAST: Mutex<String> = Mutex::new(String::new());

/// Replaces the hook of libFuzzer, which ends the process at each panic.
pub(crate) fn watch() {
    let end = take_hook();
    set_hook(Box::new(move |panic| {
        // Cargo names files of the workspace by paths relative to it, and all other files by absolute ones.
        if panic.location().is_some_and(|place| Path::new(place.file()).is_relative()) {
            end(panic);
        }
        *LAST.lock().unwrap_or_else(PoisonError::into_inner) = panic.to_string();
    }));
}

/// Runs a target. A panic that arrives here is one that would have reached the product's caller.
pub(crate) fn run(target: &fn(&[u8]), input: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| target(input))).is_err() {
        eprintln!("not contained: {}", LAST.lock().unwrap_or_else(PoisonError::into_inner));
        abort();
    }
}

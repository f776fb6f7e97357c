//! Gives the program its version: that of the package, and the revision and date of its sources.
//!
//! `AUTOVALIDATE_REVISION` and `AUTOVALIDATE_REVISION_DATE` come first: builds of images and releases set
//! them, since an image's build has no Git. Else Git tells, and without Git the version has no more.
//!
//! Cargo runs this again when a source changes, and then compiles the package in any case. A commit alone
//! compiles nothing: the program still has the sources that its version names.

#![allow(clippy::print_stdout, reason = "printing is how a build script answers")]

use std::path::Path;
use std::process::Command;

/// Files and folders that the program is made of.
const SOURCES: [&str; 6] = ["build.rs", "src", "onnx", "Cargo.toml", "Cargo.lock", "fly.toml"];
/// Number of characters of a revision that are shown.
const SHOWN: usize = 12;

fn main() {
    println!("cargo::rerun-if-env-changed=AUTOVALIDATE_REVISION");
    println!("cargo::rerun-if-env-changed=AUTOVALIDATE_REVISION_DATE");
    for source in SOURCES {
        println!("cargo::rerun-if-changed={source}");
    }
    for package in std::fs::read_dir("crates").into_iter().flatten().flatten() {
        println!("cargo::rerun-if-changed={}", package.path().join("src").display());
    }
    let version = std::env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let version = match source() {
        Some((revision, date)) => format!("{version} ({} {date})", shortened(&revision)),
        None => version,
    };
    println!("cargo::rustc-env=AUTOVALIDATE_VERSION={version}");
}

/// Returns the revision and the date of the sources, if they are known.
fn source() -> Option<(String, String)> {
    let given = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty() && value != "unknown");
    match (given("AUTOVALIDATE_REVISION"), given("AUTOVALIDATE_REVISION_DATE")) {
        (Some(revision), Some(date)) => Some((revision, date)),
        // A package below the folder of another repository has no revision there.
        _ if !Path::new(".git").exists() => None,
        _ => {
            let revision = git(&["describe", "--always", "--abbrev=40", "--exclude", "*", "--dirty"])?;
            Some((revision, git(&["log", "-1", "--format=%cs"])?))
        }
    }
}

/// Returns a revision as it is shown, with its mark for changes that are not committed.
fn shortened(revision: &str) -> String {
    let (hash, mark) = revision.split_once('-').map_or((revision, ""), |(hash, _)| (hash, "-dirty"));
    format!("{}{mark}", hash.get(..SHOWN).unwrap_or(hash))
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

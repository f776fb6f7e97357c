//! Checks that the groups of `.config/nextest.toml` name modules that exist. A group without a
//! module silently groups nothing.

use std::collections::BTreeSet;
use std::path::Path;

/// Modules of this package that start no server and run no real model.
const UNGROUPED: [&str; 5] = ["evaluate", "nextest", "report", "support", "synthesis"];

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The modules that a test binary declares.
fn modules(path: &str) -> BTreeSet<String> {
    let text = read(path);
    text.lines().filter_map(|line| Some(line.strip_prefix("mod ")?.strip_suffix(';')?.to_owned())).collect()
}

/// The modules that the configuration's groups name.
fn grouped() -> BTreeSet<String> {
    let configuration: toml::Table = read(".config/nextest.toml").parse().unwrap();
    let overrides = configuration["profile"]["default"]["overrides"].as_array().unwrap();
    let names = |filter: &str| -> Vec<String> {
        let (_, rest) = filter.split_once("/^(").expect("a filter by module");
        let (names, _) = rest.split_once(")::").expect("a filter by module");
        names.split('|').map(str::to_owned).collect()
    };
    overrides.iter().flat_map(|group| names(group["filter"].as_str().unwrap())).collect()
}

#[test]
fn groups_name_modules_that_exist_and_no_module_is_forgotten() {
    let (service, finetune) = (modules("tests/main.rs"), modules("crates/finetune/tests/main.rs"));
    let grouped = grouped();
    let unknown: Vec<_> =
        grouped.iter().filter(|name| !service.contains(*name) && !finetune.contains(*name)).collect();
    assert!(unknown.is_empty(), "groups of modules that don't exist: {unknown:?}");
    let forgotten: Vec<_> = service
        .iter()
        .filter(|name| !grouped.contains(*name) && !UNGROUPED.contains(&name.as_str()))
        .collect();
    assert!(forgotten.is_empty(), "modules in no group: {forgotten:?}");
}

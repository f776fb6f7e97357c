//! Environment of the machines: what a recipe's secrets and its section `[env]` hold.

use std::collections::BTreeMap;
use std::path::Path;

use autovalidate_fakes::{fly, hub, supabase};
use secrecy::ExposeSecret;

use super::recipe::{APP, Recipe};

/// Secret of the hooks.
pub(super) const WEBHOOK_SECRET: &str = "local-webhook-secret";
/// Token of the embedded broker that two groups share.
const NATS_TOKEN: &str = "local-nats-token";
/// Time without a new pair after which a run is due, in the demo. Longer than a wake, so that the
/// run becomes due while everything sleeps.
const QUIET: &str = "30s";

/// Starts of the names of settings that the machines take over from this process.
const TAKEN_OVER: [&str; 4] = ["TRAIN_", "GATE_", "HOLDOUT_", "SYNTHESIS_"];
/// Names of variables that the machines take over from this process.
const TAKEN_OVER_WHOLE: [&str; 6] =
    ["BASE_MODEL", "NATS_SERVER", "ORT_DYLIB_PATH", "LD_LIBRARY_PATH", "PATH", "RUST_LOG"];
/// Variables that hold paths. A machine has a working directory of its own.
const PATHS: [&str; 3] = ["BASE_MODEL", "NATS_SERVER", "ORT_DYLIB_PATH"];

/// The stand-ins that the machines talk to.
pub(super) struct Services<'a> {
    pub(super) supabase: &'a supabase::Supabase,
    pub(super) hub: &'a hub::Hub,
    pub(super) fly: &'a fly::Fly,
}

/// Variables of the environment, by name.
pub(super) type Environment = BTreeMap<String, String>;

/// Returns the variables that all groups of a recipe share.
pub(super) fn shared(recipe: Recipe, threshold: u64, services: &Services<'_>) -> Environment {
    let mut environment: Environment = [
        ("SUPABASE_URL", services.supabase.url().to_string()),
        ("SUPABASE_SERVICE_KEY", services.supabase.service_key().to_owned()),
        ("HF_ENDPOINT", services.hub.url().to_string()),
        ("HF_TOKEN", services.hub.token().expose_secret().to_owned()),
        ("HF_REPO", format!("local/{}", recipe.name())),
        ("WEBHOOK_SECRET", WEBHOOK_SECRET.to_owned()),
        ("TRAIN_QUIET", QUIET.to_owned()),
        ("TRAIN_COOLDOWN", "off".to_owned()),
        ("ORT_DISABLE_TELEMETRY", "1".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    environment.extend(taken_over());
    environment.insert("TRAIN_THRESHOLD".to_owned(), threshold.to_string());
    if recipe == Recipe::TwoGroups {
        let start = format!("fly:{APP}/trainer");
        let token = services.fly.token().expose_secret().to_owned();
        let more = [
            ("TRAINER_START", start),
            ("FLY_API_TOKEN", token),
            ("FLY_API_HOSTNAME", services.fly.url().to_string()),
            ("NATS_TOKEN", NATS_TOKEN.to_owned()),
        ];
        environment.extend(more.map(|(name, value)| (name.to_owned(), value)));
    }
    environment
}

/// Returns the variables that the machines take over from this process.
fn taken_over() -> impl Iterator<Item = (String, String)> {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        let (name, value) = (name.into_string().ok()?, value.into_string().ok()?);
        let wanted =
            TAKEN_OVER_WHOLE.contains(&&*name) || TAKEN_OVER.iter().any(|start| name.starts_with(start));
        (wanted && !value.is_empty()).then_some((name, value))
    };
    std::env::vars_os().filter_map(text).map(|(name, value)| match PATHS.contains(&&*name) {
        true => (name, absolute(value)),
        false => (name, value),
    })
}

/// Returns an existing path in absolute form. Other values, such as a model's name on the Hub, stay
/// as they are.
fn absolute(value: String) -> String {
    let path = Path::new(&value);
    match std::path::absolute(path) {
        Ok(absolute) if path.exists() => absolute.to_str().map_or(value.clone(), str::to_owned),
        _ => value,
    }
}

//! A secret that was pasted into any setting is not shown: not by `--print-config`, and not in the
//! problems of the settings.

use std::process::Command;

use autovalidate::settings::{Needs, Settings};
use proptest::prelude::*;

/// Returns the names of all settings, as their reference lists them.
fn names() -> Vec<&'static str> {
    let page = include_str!("../../docs/reference/settings.md");
    let cells = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once(" |"));
    let is_name = |name: &&str| name.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    cells
        .flat_map(|(names, _)| names.split("`, `").map(|name| name.trim_matches('`')))
        .filter(is_name)
        .collect()
}

/// Returns everything that is shown of the settings.
fn shown(read: Result<Settings, autovalidate::settings::SettingsError>) -> String {
    match read {
        Ok(settings) => settings.effective.iter().map(|each| format!("{each}\n")).collect(),
        Err(error) => error.to_string(),
    }
}

/// A value of a setting, and the secret in it.
fn pasted() -> impl Strategy<Value = (String, String)> {
    let whole = |secret: String| (secret.clone(), secret);
    let key = prop_oneof![
        "eyJ[A-Za-z0-9_-]{20,60}\\.eyJ[A-Za-z0-9_-]{20,90}\\.[A-Za-z0-9_-]{43}",
        "sb_secret_[A-Za-z0-9_-]{8,40}",
        "hf_[A-Za-z]{30}[0-9]{4}",
        "FlyV1 fm2_[A-Za-z0-9+/]{40,90}(,fm2_[A-Za-z0-9+/]{40})?",
        "S[UAO][A-Z2-7]{28}[2-7][A-Z][2-7][A-Z][2-7][A-Z][2-7][A-Z2-7]{20}",
        "([a-z][0-9][A-Z]){8,20}",
        "([0-9a-f]{3}[0-9][a-f]){8,12}",
        "-----BEGIN PRIVATE KEY-----\nMIG[A-Za-z0-9/+]{40}\n-----END PRIVATE KEY-----",
    ];
    let password = "[!-~]{6,20}";
    prop_oneof![
        key.prop_map(whole),
        ("(nats|tls|wss|https?|postgres)", password)
            .prop_map(|(scheme, secret)| (format!("{scheme}://worker:{secret}@host:4222"), secret)),
        ("(nats|tls|wss|https?)", password)
            .prop_map(|(scheme, secret)| (format!("{scheme}://{secret}@host"), secret)),
        password.prop_map(|secret| (format!("worker:{secret}@host:4222"), secret)),
        password.prop_map(|secret| (format!("https://x.supabase.co/?apikey={secret}"), secret)),
        password.prop_map(|secret| (format!("https://x.supabase.co/#{secret}"), secret)),
        "[0-9a-zA-Z]{8,20}".prop_map(|secret| (format!("exec:curl -u worker:{secret} host"), secret)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_secret_in_any_setting_is_never_shown(
        name in prop::sample::select(names()), (value, secret) in pasted(), in_file: bool,
    ) {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut table = toml::Table::new();
        table.insert(name.to_ascii_lowercase(), toml::Value::String(value.clone()));
        if in_file {
            std::fs::write(file.path(), table.to_string()).unwrap();
        }
        let environment = |asked: &str| (!in_file && asked == name).then(|| value.clone());
        let text = shown(Settings::read(&environment, Some(file.path()), Needs::default()));
        prop_assert!(!text.contains(&secret), "{name} = {value}\n{text}");
    }

    #[test]
    fn a_secret_of_one_setting_is_hidden_in_every_other(
        name in prop::sample::select(names()), secret in "[a-z]{3}[!-~]{5,30}", long: bool,
    ) {
        let secret = if long { secret.repeat(6) } else { secret };
        let environment = |asked: &str| (asked == "HF_TOKEN" || asked == name).then(|| secret.clone());
        let text = shown(Settings::read(&environment, None, Needs::default()));
        prop_assert!(!text.contains(&secret), "{name} = {secret}\n{text}");
    }

    #[test]
    fn a_key_of_the_file_that_is_a_secret_is_never_shown((value, secret) in pasted()) {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut table = toml::Table::new();
        table.insert(value.clone(), toml::Value::Integer(1));
        std::fs::write(file.path(), table.to_string()).unwrap();
        let text = shown(Settings::read(&|_| None, Some(file.path()), Needs::default()));
        prop_assert!(text.contains("is not a setting") && !text.contains(&secret), "{value}\n{text}");
    }
}

#[test]
fn a_key_in_a_setting_that_takes_any_text_is_told() {
    for (name, value) in [
        ("SUPABASE_TABLE", "sb_secret_abc"),
        ("BASE_MODEL", "hf_AbCdEfGhIjKlMnOpQrStUvWxYz01234567"),
        ("DATA_DIR", "eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoic2VydmljZV9yb2xlIn0.c2ln"),
    ] {
        let environment = |asked: &str| (asked == name).then(|| value.to_owned());
        let told = Settings::read(&environment, None, Needs::default()).unwrap_err().to_string();
        assert!(told.contains(&format!("{name} holds a key or token")) && !told.contains(value), "{told}");
    }
}

#[test]
fn the_command_line_shows_stars_in_place_of_passwords_and_keys() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str], environment: &[(&str, &str)]| {
        let output = Command::new(env!("CARGO_BIN_EXE_autovalidate"))
            .arg("worker")
            .args(arguments)
            .env_clear()
            .envs([("SUPABASE_URL", "http://x"), ("SUPABASE_ANON_KEY", "k")])
            .envs(environment.iter().copied())
            .current_dir(folder.path())
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    };
    let listener = ["--role", "listener"];
    let print = ["--role", "listener", "--print-config"];
    let (code, text) = run(&print, &[("NATS_URL", "nats://worker:s3cr3tpw@127.0.0.1:4222")]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("NATS_URL = nats://***@127.0.0.1:4222  (environment)"), "{text}");
    assert!(!text.contains("s3cr3tpw"), "{text}");
    let on_line = [&print[..], &["--nats-url", "nats://worker:s3cr3tpw@127.0.0.1:4222"]].concat();
    let (_, text) = run(&on_line, &[]);
    assert!(text.contains("nats://***@127.0.0.1:4222") && !text.contains("s3cr3tpw"), "{text}");

    let (code, text) = run(&listener, &[("NATS_URL", "http://worker:s3cr3tpw@h:4222")]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("http://***@h:4222") && !text.contains("s3cr3tpw"), "{text}");
    let (code, text) = run(&listener, &[("SUPABASE_URL", "sb_secret_abc")]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("SUPABASE_URL is \"***\"") && !text.contains("sb_secret"), "{text}");
    let (code, text) = run(&listener, &[("SUPABASE_URL", "https://x.supabase.co?apikey=s3cr3tpw")]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("SUPABASE_URL has a user, a query") && !text.contains("s3cr3tpw"), "{text}");
}

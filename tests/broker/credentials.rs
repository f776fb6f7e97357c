//! Server in operator mode: each client presents a JWT and proves that it owns the key in the JWT.

use std::path::{Path, PathBuf};

use autovalidate::broker::{BrokerError, Connection, Remote, StreamSettings, Streams};
use autovalidate::failure::{Failure, RetryDirective};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use serde_json::{Value, json};

use super::remote::{open, serve};
use crate::support::DEADLINE;
use crate::support::within;

/// Returns a token in the format of `nsc`: claims about `subject`, signed by `issuer`.
fn token(issuer: &KeyPair, subject: &KeyPair, nats: Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = json!({
        "jti": subject.public_key(),
        "iat": 1_750_000_000,
        "iss": issuer.public_key(),
        "sub": subject.public_key(),
        "name": "test",
        "nats": nats,
    });
    let signed = format!("{}.{}", part(&json!({ "typ": "JWT", "alg": "ed25519-nkey" })), part(&claims));
    let signature = issuer.sign(signed.as_bytes()).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// Returns the claims of an account. `storage` is its limit on disk: 0 disables JetStream, and -1
/// means no limit.
fn account(storage: i64) -> Value {
    json!({
        "type": "account",
        "version": 2,
        "limits": {
            "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1,
            "leaf": -1, "mem_storage": storage, "disk_storage": storage, "streams": storage, "consumer": storage,
        },
    })
}

/// Writes a credentials file for a new user of an account. `issuer` signs the user's token.
/// `seed_of` replaces the user's own key, as if the token were stolen.
fn credentials(folder: &Path, name: &str, issuer: &KeyPair, seed_of: Option<&KeyPair>) -> PathBuf {
    let user = KeyPair::new_user();
    let claims = json!({ "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1 });
    let seed = seed_of.unwrap_or(&user).seed().unwrap();
    let file = folder.join(name);
    let text = format!(
        "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n",
        token(issuer, &user, claims)
    );
    std::fs::write(&file, text).unwrap();
    file
}

/// Runs the `status` command, and returns its exit code and its standard error.
async fn status(port: u16, credentials: Option<&Path>) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_autovalidate"));
    command.arg("status").current_dir(folder.path()).env_clear();
    command.env("NATS_URL", format!("nats://127.0.0.1:{port}"));
    if let Some(credentials) = credentials {
        command.env("NATS_CREDS", credentials);
    }
    let output = within(DEADLINE, command.output()).await.unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_open_the_door_and_others_are_told_so_in_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let operator = KeyPair::new_operator();
    let (system, ours, poor) = (KeyPair::new_account(), KeyPair::new_account(), KeyPair::new_account());
    let configuration = format!(
        "operator: {:?}\nsystem_account: {:?}\nresolver: MEMORY\nresolver_preload: {{\n{:?}: {:?}\n{:?}: {:?}\n{:?}: {:?}\n}}",
        token(&operator, &operator, json!({ "type": "operator", "version": 2 })),
        system.public_key(),
        system.public_key(),
        token(&operator, &system, account(0)),
        ours.public_key(),
        token(&operator, &ours, account(-1)),
        poor.public_key(),
        token(&operator, &poor, account(0)),
    );
    let (_server, port) = serve(folder.path(), &configuration).await;
    let try_with = |credentials: Option<PathBuf>| {
        open(Remote { urls: vec![format!("nats://127.0.0.1:{port}")], credentials, ..Remote::default() })
    };

    let right = credentials(folder.path(), "right.creds", &ours, None);
    let connection: Connection = try_with(Some(right.clone())).await.unwrap();
    within(DEADLINE, Streams::ensure(&connection, &StreamSettings::default())).await.unwrap();
    let (code, said) = status(port, Some(&right)).await;
    assert_eq!(code, Some(0), "{said}");

    let foreign = credentials(folder.path(), "foreign.creds", &KeyPair::new_account(), None);
    let stolen = credentials(folder.path(), "stolen.creds", &ours, Some(&KeyPair::new_user()));
    for (what, file) in [("foreign", Some(&foreign)), ("stolen", Some(&stolen)), ("none", None)] {
        let error = try_with(file.cloned()).await.unwrap_err();
        assert!(matches!(error, BrokerError::Refused { .. }), "{what}: {error:?}");
        assert_eq!(error.directive(), RetryDirective::Person);
        let (code, said) = status(port, file.map(PathBuf::as_path)).await;
        assert_ne!(code, Some(0));
        // Log lines of the NATS client are not part of the message.
        let lines: Vec<_> = said.lines().filter(|line| !line.starts_with('{')).collect();
        let told = "error: the NATS server refuses these credentials: authorization violation";
        assert_eq!(lines[0], told, "{what}: {said}");
        assert!(lines[1].contains("NATS_CREDS") && lines.len() == 2, "{what}: {said}");
    }

    let error = try_with(Some(credentials(folder.path(), "poor.creds", &poor, None))).await.unwrap_err();
    assert!(matches!(error, BrokerError::JetStreamUnavailable { .. }), "{error:?}");

    let garbled = folder.path().join("garbled.creds");
    std::fs::write(&garbled, "no credentials").unwrap();
    let error = try_with(Some(garbled)).await.unwrap_err();
    assert!(matches!(error, BrokerError::Credentials { .. }), "{error:?}");
}

//! The stand-in Hub against the official Python client: what it accepts, the real Hub would.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use autovalidate::local::hub::{Hub, Options, Transfer};
use secrecy::ExposeSecret;
use tokio::process::Command;

use crate::support::{python, within};

/// Runs the script against a Hub, with an environment of its own.
async fn drive(hub: &Hub, folder: &Path) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hub/official_client.py");
    let command = Command::new(python())
        .arg(script)
        .args([hub.url().as_str().trim_end_matches('/'), hub.token().expose_secret()])
        .arg(folder)
        .env_clear()
        .env("HOME", folder)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    within(Duration::from_secs(90), command).await.unwrap()
}

#[tokio::test]
async fn the_official_client_is_served() {
    for (transfer, page_size) in [(Transfer::Basic, 2), (Transfer::Multipart, 1_000)] {
        let folder = tempfile::tempdir().unwrap();
        let options =
            Options { transfer, page_size, part_size: 1_000_000, ..Options::new(folder.path().join("hub")) };
        let hub = Hub::start(options.clone()).await.unwrap();
        let output = drive(&hub, folder.path()).await;
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(said.trim(), "proved", "{transfer:?}: {}", String::from_utf8_lossy(&output.stderr));

        // Another start with the same directory finds the same commits.
        let before = hub.commits("acme/cars").await;
        hub.shutdown().await;
        let hub = Hub::start(options).await.unwrap();
        assert_eq!(hub.commits("acme/cars").await, before);
        assert_eq!(before.last().unwrap().paths, ["models/a b#c.json", "models/m.zip"]);
    }
}

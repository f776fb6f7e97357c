//! A worker with exactly the NATS permissions that the reference lists does everything it has to.

use autovalidate::broker::Event;

use super::processes::{SharedStandIns, event};
use crate::support::DEADLINE;
use crate::support::nats::NatsServer;
use crate::support::within;

/// Returns the permissions of the reference: its first block of nats-server configuration.
fn permissions() -> &'static str {
    let page = include_str!("../../docs/reference/nats.md");
    let section = page.split_once("## Permissions").unwrap().1;
    section.split_once("```\n").unwrap().1.split_once("```").unwrap().0
}

#[tokio::test(flavor = "multi_thread")]
async fn the_permissions_of_the_reference_suffice_for_a_whole_run() {
    let stage = SharedStandIns::new().await;
    let place = stage.folder.path().join("nats");
    let users = format!(
        "jetstream {{ store_dir: {:?} }}\nauthorization {{ users: [\n\
         {{ user: admin, password: simple }}\n{{ user: worker, password: simple, {} }}\n] }}",
        place.join("store"),
        permissions(),
    );
    let server = NatsServer::start(&place, &users).await;
    let with = |user: &str| server.url().replace("nats://", &format!("nats://{user}:simple@"));

    let options = async_nats::ConnectOptions::with_user_and_password("admin".into(), "simple".into());
    let client = within(DEADLINE, options.connect(server.url())).await.unwrap();
    let mut events = client.subscribe("training.events.>").await.unwrap();
    client.flush().await.unwrap();
    let checkpoints = [("CHECKPOINT_STORE", "jetstream"), ("CHECKPOINT_EVERY", "1ms")];
    let worker = stage.worker_with(&with("worker"), "all", "worker", &checkpoints);
    stage.insert();
    let first = event(&mut events, |event| event.stage == "ended").await;
    assert!(first.job.as_str().starts_with("pairs-1-"), "{first:?}");
    client.publish("training.jobs", r#"{"force":true}"#.into()).await.unwrap();
    let second =
        |event: &Event, stage: &str| event.job.as_str().starts_with("manual-") && event.stage == stage;
    event(&mut events, |event| second(event, "ended")).await;
    event(&mut events, |event| second(event, "settled")).await;

    let log = worker.log();
    assert!(!log.to_lowercase().contains("permissions violation"), "{log}");
    assert!(stage.releases().await > 0, "{log}");
}

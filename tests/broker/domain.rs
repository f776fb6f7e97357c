//! Leaf node whose hub stores the streams in a JetStream domain of its own.

use std::path::Path;
use std::sync::Arc;

use autovalidate::broker::{
    BrokerError, CheckpointStore, Connection, Events, JobId, JobRequest, JobSettings, Jobs, RunState, Runs,
    StreamSettings, Streams, SystemClock,
};
use autovalidate::corrections::Corrections;
use autovalidate::failure::Failure;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::access::remote;
use super::remote::open;
use crate::support::DEADLINE;
use crate::support::broker::rows;
use crate::support::nats::NatsServer;
use crate::support::within;

/// Number of choices of a free port.
const TRIES: usize = 5;

/// Starts a hub that has JetStream in the domain `hub`, and a leaf node with `jetstream` settings of
/// its own. Returns both once they are linked.
async fn hub_and_leaf(folder: &Path, jetstream: &str) -> (NatsServer, NatsServer) {
    for attempt in 0..TRIES {
        let folder = folder.join(attempt.to_string());
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let hub = format!(
            "server_name: hub\njetstream {{ store_dir: {:?}, domain: hub }}\nleafnodes {{ listen: \"127.0.0.1:{port}\" }}",
            folder.join("store")
        );
        let Some(hub) = NatsServer::try_start(&folder.join("hub"), &hub).await else { continue };
        let leaf = format!(
            "server_name: leaf\n{jetstream}\nleafnodes {{ reconnect: 1, remotes: [ {{ url: \"nats://127.0.0.1:{port}\" }} ] }}"
        );
        let leaf = NatsServer::start(&folder.join("leaf"), &leaf).await;
        // The link is up when a message of the leaf's client reaches the hub's.
        let (near, far) = (connect(leaf.url()).await, connect(hub.url()).await);
        let mut heard = far.subscribe("link").await.unwrap();
        far.flush().await.unwrap();
        within(DEADLINE, async {
            loop {
                near.publish("link", "".into()).await.unwrap();
                near.flush().await.unwrap();
                let pause = std::time::Duration::from_millis(50);
                if tokio::time::timeout(pause, futures::StreamExt::next(&mut heard)).await.is_ok() {
                    return;
                }
            }
        })
        .await;
        return (hub, leaf);
    }
    panic!("a free port was taken by others, {TRIES} times in a row");
}

async fn connect(url: &str) -> async_nats::Client {
    within(DEADLINE, async_nats::connect(url)).await.unwrap()
}

/// Uses everything that a worker uses: streams, consumers, key-value, direct reads, object store.
async fn exercise(connection: &Connection, folder: &Path) {
    let streams = within(DEADLINE, Streams::ensure(connection, &StreamSettings::default())).await.unwrap();
    let corrections = within(DEADLINE, Corrections::open(&streams, "pairs")).await.unwrap();
    within(DEADLINE, corrections.append(&rows(1..=3))).await.unwrap();
    assert_eq!(within(DEADLINE, corrections.last_sequence()).await.unwrap(), 3);

    let events = Events::new(&streams, Arc::new(SystemClock));
    let jobs = within(DEADLINE, Jobs::open(&streams, &events, JobSettings::default())).await.unwrap();
    let id = within(DEADLINE, jobs.enqueue(&JobRequest::default())).await.unwrap();
    let job = within(DEADLINE, jobs.next(&CancellationToken::new())).await.unwrap();
    assert_eq!(job.id(), &id);
    within(DEADLINE, job.complete()).await.unwrap();
    assert_eq!(within(DEADLINE, jobs.outstanding()).await.unwrap(), 0);

    let queued = within(DEADLINE, jobs.enqueue(&JobRequest::default())).await.unwrap();
    assert_eq!(within(DEADLINE, jobs.cancel(&queued)).await.unwrap(), RunState::Queued);
    let (record, _) = within(DEADLINE, Runs::new(&streams).load(&queued)).await.unwrap().unwrap();
    assert_eq!(record.state, RunState::Cancelled);

    let checkpoints = CheckpointStore::new(&streams);
    let (file, back) = (folder.join("file"), folder.join("back"));
    std::fs::write(&file, vec![7; 300_000]).unwrap();
    let id = JobId::manual(9);
    within(DEADLINE, checkpoints.put(&id, 5, &file)).await.unwrap();
    assert_eq!(within(DEADLINE, checkpoints.step(&id)).await.unwrap(), Some(5));
    within(DEADLINE, checkpoints.fetch(&id, &back)).await.unwrap();
    assert_eq!(std::fs::read(&back).unwrap(), vec![7; 300_000]);
    within(DEADLINE, checkpoints.forget(&id, Timestamp::now())).await.unwrap();
    assert_eq!(within(DEADLINE, checkpoints.step(&id)).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_stored_in_the_domain_behind_a_leaf_node() {
    let folder = tempfile::tempdir().unwrap();
    let (hub, leaf) = hub_and_leaf(folder.path(), "").await;
    let connection = open(remote(&[("NATS_URL", leaf.url()), ("NATS_DOMAIN", "hub")])).await.unwrap();
    exercise(&connection, folder.path()).await;

    // The hub's own clients see it.
    let direct = open(remote(&[("NATS_URL", hub.url())])).await.unwrap();
    let streams = within(DEADLINE, Streams::existing(&direct, &StreamSettings::default())).await.unwrap();
    let corrections = within(DEADLINE, Corrections::open(&streams, "pairs")).await.unwrap();
    assert_eq!(within(DEADLINE, corrections.last_sequence()).await.unwrap(), 3);

    let error = open(remote(&[("NATS_URL", leaf.url())])).await.unwrap_err();
    assert!(matches!(error, BrokerError::JetStreamUnavailable { .. }), "{error:?}");
    assert!(error.advice().contains("set NATS_DOMAIN"), "{}", error.advice());
    let error = open(remote(&[("NATS_URL", leaf.url()), ("NATS_DOMAIN", "hob")])).await.unwrap_err();
    assert!(matches!(error, BrokerError::JetStreamUnavailable { .. }), "{error:?}");
    assert!(error.advice().starts_with("Check NATS_DOMAIN"), "{}", error.advice());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leaf_node_with_jetstream_of_its_own_is_passed_by() {
    let folder = tempfile::tempdir().unwrap();
    let own = format!("jetstream {{ store_dir: {:?}, domain: leaf }}", folder.path().join("own"));
    let (_hub, leaf) = hub_and_leaf(folder.path(), &own).await;
    let connection = open(remote(&[("NATS_URL", leaf.url()), ("NATS_DOMAIN", "hub")])).await.unwrap();
    exercise(&connection, folder.path()).await;
    let near = open(remote(&[("NATS_URL", leaf.url())])).await.unwrap();
    let error = within(DEADLINE, Streams::existing(&near, &StreamSettings::default())).await.unwrap_err();
    assert!(matches!(error, BrokerError::NotSetUp { .. }), "{error:?}");
}

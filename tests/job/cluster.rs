//! Three servers, three copies of everything: the leader dies during a run.

use std::time::Duration;

use autovalidate::queue::{
    Broker, Connection, JobId, JobRequest, JobSettings, Jobs, Remote, RunState, Runs, StreamSettings,
    Streams, SystemClock,
};
use tokio::process::{Child, Command};

use super::processes::{LONG, Stage, event, record};
use super::site::{PAIRS, SOON};
use crate::support::{nats_server, within};

/// Three servers of one cluster; `n0` to `n2` by name.
struct Cluster {
    servers: Vec<Child>,
    url: String,
    _folder: tempfile::TempDir,
}

/// Ports that were free a moment ago. The cluster's members must know each other's before they start.
fn free_ports(count: usize) -> Vec<u16> {
    let held: Vec<_> = (0..count).map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    held.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}

impl Cluster {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (clients, routes) = (free_ports(3), free_ports(3));
        let all_routes: Vec<_> = routes.iter().map(|port| format!("nats://127.0.0.1:{port}")).collect();
        let servers = (0..3)
            .map(|n| {
                let file = folder.path().join(format!("n{n}.conf"));
                let store = folder.path().join(format!("n{n}"));
                let text = format!(
                    "server_name: n{n}\nlisten: \"127.0.0.1:{}\"\njetstream {{ store_dir: {store:?} }}\n\
                     cluster {{ name: c, listen: \"127.0.0.1:{}\", routes: {all_routes:?} }}\n",
                    clients[n], routes[n]
                );
                std::fs::write(&file, text).unwrap();
                Command::new(nats_server()).arg("-c").arg(&file).kill_on_drop(true).spawn().unwrap()
            })
            .collect();
        let urls: Vec<_> = clients.iter().map(|port| format!("nats://127.0.0.1:{port}")).collect();
        Self { servers, url: urls.join(","), _folder: folder }
    }

    /// Connects, as soon as the cluster has found together.
    async fn open(&self) -> Streams {
        let remote = Remote { urls: self.url.split(',').map(str::to_owned).collect(), ..Remote::default() };
        let settings = StreamSettings { replicas: 3, ..StreamSettings::default() };
        // Until the servers have agreed on a leader, each try waits for its deadline.
        within(SOON * 2, async {
            loop {
                let opened = match Connection::open(&Broker::Remote(remote.clone())).await {
                    Ok(connection) => Streams::ensure(&connection, &settings).await,
                    Err(error) => Err(error),
                };
                match opened {
                    Ok(streams) => return streams,
                    Err(error) => eprintln!("not yet: {}", autovalidate::failure::chain(&error)),
                }
            }
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_killed_during_a_run_loses_and_doubles_nothing() {
    let mut cluster = Cluster::start();
    let streams = cluster.open().await;
    let stage = Stage::new().await;
    let client = streams.connection().client().clone();
    let mut events = client.subscribe("training.events.>").await.unwrap();
    client.flush().await.unwrap();
    let _listener = stage.worker(&cluster.url, "listener", "listener");
    let _trainer = stage.worker(&cluster.url, "trainer", "trainer");
    stage.insert();
    let first = event(&mut events, |event| event.stage == "ended").await;
    assert!(first.job.as_str().starts_with("pairs-1-"), "{first:?}");
    let before = stage.releases().await;

    let id = JobId::manual(2);
    client.publish("training.jobs", LONG.into()).await.unwrap();
    event(&mut events, |event| event.job == id && event.stage == "train").await;
    let info = streams.connection().jetstream().get_stream("TRAINING").await.unwrap();
    let leader = info.cached_info().cluster.as_ref().and_then(|cluster| cluster.leader.clone()).unwrap();
    let index: usize = leader.trim_start_matches('n').parse().unwrap();
    within(SOON, cluster.servers[index].kill()).await.unwrap();

    // This test's own notices may be lost with the server: the record counts.
    let done = within(Duration::from_secs(150), async {
        loop {
            if let Ok(Some((record, _))) = Runs::new(&streams).load(&id).await
                && record.state.is_final()
            {
                return record;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(done.state, RunState::Done, "{:?}", done.error);
    assert_eq!(stage.releases().await, before + 1);
    assert_eq!(record(&streams, &first.job).await.artifact.is_some(), before == 1);

    // The two that are left take more, and everything that was there still is.
    let events = autovalidate::queue::Events::new(&streams, std::sync::Arc::new(SystemClock));
    let jobs =
        Jobs::open(&streams, &events, JobSettings { ack_wait: Duration::from_secs(5), ..Default::default() });
    let jobs = within(SOON, jobs).await.unwrap();
    // With an id of its own it can be asked for until the new leader answers, and is kept once.
    let id: JobId = "after-the-leader".parse().unwrap();
    let third = JobRequest { job_id: Some(id.clone()), ..JobRequest::default() };
    within(SOON, async { while jobs.enqueue(&third).await.is_err() {} }).await;
    assert_eq!(within(SOON, jobs.enqueue(&third)).await.unwrap(), id);
    let stored = within(SOON, streams.connection().jetstream().get_stream("TRAINING")).await.unwrap();
    assert_eq!(stored.cached_info().state.last_sequence, 3, "three requests were ever stored");
    let pairs = within(SOON, streams.connection().jetstream().get_stream("CORRECTIONS")).await.unwrap();
    assert_eq!(pairs.cached_info().state.messages, PAIRS as u64);
}

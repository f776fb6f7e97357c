//! Cluster of three servers with three replicas of everything: the leader dies during a run.

use std::path::Path;
use std::time::Duration;

use autovalidate::broker::{
    Broker, Connection, JobId, JobRequest, JobSettings, Jobs, Remote, RunState, Runs, StreamSettings,
    Streams, SystemClock,
};
use autovalidate::failure::{Failure, RetryDirective};

use super::processes::{LONG, SharedStandIns, event, record};
use crate::support::DEADLINE;
use crate::support::nats::NatsServer;
use crate::support::run::PAIRS;
use crate::support::within;

/// Number of choices of free ports.
const TRIES: usize = 5;

/// Three servers of one cluster, named `n0` to `n2`.
struct Cluster {
    servers: Vec<NatsServer>,
    url: String,
    _folder: tempfile::TempDir,
}

impl Cluster {
    /// Starts the servers. Each knows the addresses of all three from the start: servers that learn
    /// of each other later may elect a leader without the third and never count it as a member.
    async fn start() -> Self {
        for _ in 0..TRIES {
            let folder = tempfile::tempdir().unwrap();
            if let Some(servers) = Self::servers(folder.path()).await {
                let urls: Vec<_> = servers.iter().map(NatsServer::url).collect();
                return Self { url: urls.join(","), servers, _folder: folder };
            }
        }
        panic!("three free ports were taken by others, {TRIES} times in a row");
    }

    /// `None` when another program took one of the ports between the choice and the start.
    async fn servers(folder: &Path) -> Option<Vec<NatsServer>> {
        // All three at once, so that they differ; they are free again when this statement ends.
        let free = [(); 3].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        let ports = free.map(|listener| listener.local_addr().unwrap().port());
        let routes = ports.map(|port| format!("\"nats://127.0.0.1:{port}\"")).join(", ");
        let mut servers = Vec::new();
        for (name, port) in ["n0", "n1", "n2"].into_iter().zip(ports) {
            let place = folder.join(name);
            let configuration = format!(
                "server_name: {name}\njetstream {{ store_dir: {:?} }}\n\
                 cluster {{ name: c, listen: \"127.0.0.1:{port}\", routes: [{routes}] }}",
                place.join("store")
            );
            servers.push(NatsServer::try_start(&place, &configuration).await?);
        }
        Some(servers)
    }

    /// Connects as soon as the cluster is ready.
    async fn open(&self) -> Streams {
        let remote = Remote { urls: self.url.split(',').map(str::to_owned).collect(), ..Remote::default() };
        let settings = StreamSettings { replicas: 3, ..StreamSettings::default() };
        // Until the servers have elected a leader, each attempt runs into its deadline.
        within(DEADLINE * 2, async {
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
    let mut cluster = Cluster::start().await;
    let streams = cluster.open().await;
    let stage = SharedStandIns::new().await;
    let client = streams.connection().client().clone();
    let mut events = client.subscribe("training.events.>").await.unwrap();
    client.flush().await.unwrap();
    let _listener = stage.worker(&cluster.url, "listener", "listener");
    let _trainer = stage.worker(&cluster.url, "trainer", "trainer");
    stage.insert();
    let first = event(&mut events, |event| event.stage == "ended").await;
    assert!(first.job.as_str().starts_with("pairs-1-"), "{first:?}");
    let before = stage.releases().await;

    let id = crate::support::broker::requested(&streams, 2).await;
    client.publish("training.jobs", LONG.into()).await.unwrap();
    event(&mut events, |event| event.job == id && event.stage == "train").await;
    let info = streams.connection().jetstream().get_stream("TRAINING").await.unwrap();
    let leader = info.cached_info().cluster.as_ref().and_then(|cluster| cluster.leader.clone()).unwrap();
    let index: usize = leader.trim_start_matches('n').parse().unwrap();
    cluster.servers[index].kill().await;

    // Events for this test may be lost with the server, so the record decides.
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

    // The two remaining servers accept new jobs, and no stored data is lost.
    let events = autovalidate::broker::Events::new(&streams, std::sync::Arc::new(SystemClock));
    let settings = JobSettings { ack_wait: Duration::from_secs(5), ..Default::default() };
    // The killed server may have been the meta leader. Until the cluster elects a new one, requests
    // fail with a retry directive.
    let jobs = within(DEADLINE, async {
        loop {
            match Jobs::open(&streams, &events, settings.clone()).await {
                Ok(jobs) => return jobs,
                Err(error) => assert_eq!(error.directive(), RetryDirective::Retry, "{error:?}"),
            }
        }
    })
    .await;
    // A request with its own id can be repeated until the new leader answers, and is stored once.
    let id: JobId = "after-the-leader".parse().unwrap();
    let third = JobRequest { job_id: Some(id.clone()), ..JobRequest::default() };
    within(DEADLINE, async { while jobs.enqueue(&third).await.is_err() {} }).await;
    assert_eq!(within(DEADLINE, jobs.enqueue(&third)).await.unwrap(), id);
    let held = async |name| loop {
        if let Ok(stream) = streams.connection().jetstream().get_stream(name).await {
            return stream.cached_info().state.clone();
        }
    };
    let requests = within(DEADLINE, held("TRAINING")).await;
    assert_eq!(requests.last_sequence, 3, "three requests were ever stored");
    assert_eq!(within(DEADLINE, held("CORRECTIONS")).await.messages, PAIRS as u64);
}

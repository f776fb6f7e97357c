//! Streams say whose they are, and nobody changes another's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::stream::{Config, RetentionPolicy};
use autovalidate::broker::{
    Broker, BrokerError, CheckpointStore, Connection, Events, JobId, JobRequest, JobSettings, Jobs, Names,
    Project, Remote, RunRecord, Runs, StatusService, StreamSettings, Streams, SystemClock, trainer_is_up,
};
use autovalidate::corrections::Corrections;
use autovalidate::failure::{Failure, RetryDirective};
use futures::{FutureExt, StreamExt, TryStreamExt};
use tokio_util::sync::CancellationToken;

use crate::support::DEADLINE;
use crate::support::broker::{TestBroker, requested, rows};
use crate::support::nats::NatsServer;
use crate::support::within;

fn project(url: &str) -> StreamSettings {
    let project = Project::new(&url.parse().unwrap(), "public", "pairs");
    StreamSettings { project: Some(project), ..StreamSettings::default() }
}

async fn ensure(bench: &TestBroker, settings: &StreamSettings) -> Result<Streams, BrokerError> {
    within(DEADLINE, Streams::ensure(&bench.connection, settings)).await
}

/// Configuration and last sequence of every stream, and configuration of every durable consumer.
pub(crate) async fn everything(connection: &Connection) -> BTreeMap<String, String> {
    let context = connection.jetstream();
    let names: Vec<String> = context.stream_names().try_collect().await.unwrap();
    let mut found = BTreeMap::new();
    for name in names {
        let stream = context.get_stream(&name).await.unwrap();
        let info = stream.cached_info();
        // A map in its own order would differ from one reading to the next.
        let metadata: BTreeMap<_, _> = info.config.metadata.iter().collect();
        let config = Config { metadata: Default::default(), ..info.config.clone() };
        found.insert(name.clone(), format!("{config:?} {metadata:?} {}", info.state.last_sequence));
        let mut consumers = stream.consumers();
        while let Some(consumer) = consumers.next().await {
            let consumer = consumer.unwrap();
            if let Some(durable) = &consumer.config.durable_name {
                found.insert(format!("{name}/{durable}"), format!("{:?}", consumer.config.ack_wait));
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn another_project_is_refused_until_it_adopts_the_streams() {
    let bench = TestBroker::with(project("https://old.supabase.co")).await;
    assert_eq!(bench.streams.owner().as_deref(), Some("public.pairs at https://old.supabase.co"));
    let before = everything(&bench.connection).await;
    let other = project("https://new.supabase.co");
    let refused = ensure(&bench, &other).await.unwrap_err();
    assert!(matches!(refused, BrokerError::OtherProject { .. }), "{refused:?}");
    assert_eq!(refused.directive(), RetryDirective::Person);
    let told = format!("{refused} {}", refused.advice());
    for part in ["https://old.supabase.co", "https://new.supabase.co", "NATS_NAMESPACE", "autovalidate adopt"]
    {
        assert!(told.contains(part), "{told}");
    }
    let looked = within(DEADLINE, Streams::existing(&bench.connection, &other)).await.unwrap_err();
    assert!(matches!(looked, BrokerError::OtherProject { .. }), "{looked:?}");
    assert_eq!(everything(&bench.connection).await, before, "a refused worker changes nothing");

    // The same address in another spelling, and a trainer without a project, are no second project.
    ensure(&bench, &project("HTTPS://OLD.supabase.co:443/")).await.unwrap();
    ensure(&bench, &StreamSettings::default()).await.unwrap();
    assert_eq!(everything(&bench.connection).await, before);

    let was = within(DEADLINE, Streams::adopt(&bench.connection, &other)).await.unwrap();
    assert_eq!(was.as_deref(), Some("public.pairs at https://old.supabase.co"));
    ensure(&bench, &other).await.unwrap();
    let refused = ensure(&bench, &project("https://old.supabase.co")).await.unwrap_err();
    assert!(matches!(refused, BrokerError::OtherProject { .. }), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_a_trainer_made_become_the_first_projects() {
    let bench = TestBroker::new().await;
    assert_eq!(bench.streams.owner(), None);
    let first = ensure(&bench, &project("https://one.supabase.co")).await.unwrap();
    assert_eq!(first.owner().as_deref(), Some("public.pairs at https://one.supabase.co"));
    let second = ensure(&bench, &project("https://two.supabase.co")).await.unwrap_err();
    assert!(matches!(second, BrokerError::OtherProject { .. }), "{second:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_another_program_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let server = NatsServer::start(folder.path(), &format!("jetstream {{ store_dir: {store:?} }}")).await;
    let remote = Remote { urls: vec![server.url().to_owned()], ..Remote::default() };
    let connection = within(DEADLINE, Connection::open(&Broker::Remote(remote))).await.unwrap();
    let context = connection.jetstream();
    let foreign = Config {
        name: "CORRECTIONS".into(),
        subjects: vec!["corrections.audit".into(), "essays.>".into()],
        max_age: Duration::from_secs(24 * 3600),
        max_messages: 1000,
        ..Config::default()
    };
    context.create_stream(foreign.clone()).await.unwrap();
    context.publish("essays.a", "one".into()).await.unwrap().await.unwrap();
    let before = everything(&connection).await;
    let refused =
        within(DEADLINE, Streams::ensure(&connection, &project("https://a.supabase.co"))).await.unwrap_err();
    assert!(matches!(refused, BrokerError::ForeignStream { .. }), "{refused:?}");
    let told = format!("{refused} {}", refused.advice());
    assert!(told.contains("essays.>") && told.contains("NATS_NAMESPACE"), "{told}");
    assert_eq!(everything(&connection).await, before, "and no other stream was made");
    // `adopt` is for streams of this program only.
    let adopted = within(DEADLINE, Streams::adopt(&connection, &project("https://a.supabase.co"))).await;
    assert!(adopted.is_err(), "{adopted:?}");
    assert_eq!(everything(&connection).await, before);

    // The same subjects, but a work queue.
    context.delete_stream("CORRECTIONS").await.unwrap();
    let queue = Config {
        name: "CORRECTIONS".into(),
        subjects: vec!["corrections.>".into()],
        retention: RetentionPolicy::WorkQueue,
        ..Config::default()
    };
    context.create_stream(queue).await.unwrap();
    let refused =
        within(DEADLINE, Streams::ensure(&connection, &StreamSettings::default())).await.unwrap_err();
    assert!(matches!(refused, BrokerError::ForeignStream { .. }), "{refused:?}");
    // With names of its own, the worker runs beside it.
    let names = Names::new(Some("shop".parse().unwrap()));
    within(DEADLINE, Streams::ensure(&connection, &StreamSettings { names, ..StreamSettings::default() }))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_adopts_every_stream_and_bucket_or_none() {
    let (old, new) = (project("https://old.supabase.co"), project("https://new.supabase.co"));
    let bench = TestBroker::with(old.clone()).await;
    let context = bench.connection.jetstream();
    let photos = Config {
        name: "OBJ_training_checkpoints".into(),
        subjects: vec!["photos.>".into()],
        ..Config::default()
    };
    context.create_stream(photos.clone()).await.unwrap();
    let before = everything(&bench.connection).await;
    let adopt = async || within(DEADLINE, Streams::adopt(&bench.connection, &new)).await;
    let refused = adopt().await.unwrap_err();
    assert!(
        matches!(&refused, BrokerError::ForeignStream { name, .. } if **name == *photos.name),
        "{refused:?}"
    );
    assert_eq!(everything(&bench.connection).await, before);

    context.delete_stream(&photos.name).await.unwrap();
    let file = bench.folder.path().join("checkpoint");
    std::fs::write(&file, "parameters").unwrap();
    let run = JobId::manual(1);
    within(DEADLINE, CheckpointStore::new(&bench.streams).put(&run, 7, &file)).await.unwrap();
    assert_eq!(adopt().await.unwrap().as_deref(), Some("public.pairs at https://old.supabase.co"));
    for (name, found) in everything(&bench.connection).await {
        assert!(found.contains("new.supabase.co") && !found.contains("old.supabase.co"), "{name}: {found}");
    }
    let streams = ensure(&bench, &new).await.unwrap();
    assert_eq!(within(DEADLINE, CheckpointStore::new(&streams).step(&run)).await.unwrap(), Some(7));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_reads_back_only_what_it_has_changed() {
    let bench = TestBroker::new().await;
    for (max_bytes, expected) in [(None, vec!["INFO"]), (Some(64 << 20), vec!["INFO", "UPDATE", "INFO"])] {
        let mut calls = bench.listen("$JS.API.STREAM.*.QUARANTINE").await;
        ensure(&bench, &StreamSettings { max_bytes, ..StreamSettings::default() }).await.unwrap();
        bench.connection.client().publish("$JS.API.STREAM.END.QUARANTINE", "".into()).await.unwrap();
        let mut seen = Vec::new();
        loop {
            let message = within(DEADLINE, calls.next()).await.unwrap();
            match message.subject.split('.').nth(3) {
                Some("END") | None => break,
                Some(call) => seen.push(call.to_owned()),
            }
        }
        assert_eq!(seen, expected);
    }
}

/// Takes the marks away, as on streams of version 0.1.
async fn unmark(connection: &Connection) {
    let context = connection.jetstream();
    let names: Vec<String> = context.stream_names().try_collect().await.unwrap();
    for name in names {
        let stream = context.get_stream(name).await.unwrap();
        let config = Config { metadata: Default::default(), ..stream.cached_info().config.clone() };
        context.update_stream(config).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_the_last_version_are_adopted_with_the_requests_that_wait() {
    let bench = TestBroker::new().await;
    unmark(&bench.connection).await;
    let old = Streams::existing(&bench.connection, &StreamSettings::default()).await.unwrap();
    let jobs = Jobs::new(&old, &bench.events(), JobSettings::default());
    let waiting = within(DEADLINE, jobs.enqueue(&JobRequest::default())).await.unwrap();
    assert_eq!(waiting.as_str(), "manual-1", "as an old worker, which may still run, names it");

    let streams = ensure(&bench, &project("https://a.supabase.co")).await.unwrap();
    assert_eq!(streams.owner().as_deref(), Some("public.pairs at https://a.supabase.co"));
    let jobs = bench.jobs(JobSettings::default()).await;
    let taken = within(DEADLINE, jobs.next(&CancellationToken::new())).await.unwrap();
    assert_eq!(taken.id(), &waiting, "the request keeps its run");
    within(DEADLINE, taken.complete()).await.unwrap();
    let next = within(DEADLINE, jobs.enqueue(&JobRequest::default())).await.unwrap();
    assert_eq!(next, bench.requested(2).await);
    assert_eq!(Runs::new(&streams).list().await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_form_is_refused() {
    let bench = TestBroker::new().await;
    let stream = bench.connection.jetstream().get_stream("TRAINING").await.unwrap();
    let mut config = stream.cached_info().config.clone();
    config.metadata.insert("autovalidate.format".into(), "2".into());
    bench.connection.jetstream().update_stream(config).await.unwrap();
    let refused = ensure(&bench, &StreamSettings::default()).await.unwrap_err();
    assert!(matches!(refused, BrokerError::NewerFormat { .. }), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_namespaces_on_one_server_never_see_each_other() {
    let bench = TestBroker::new().await;
    let mut opened = Vec::new();
    for (namespace, url) in [("shop", "https://a.supabase.co"), ("zoo", "https://b.supabase.co")] {
        let names = Names::new(Some(namespace.parse().unwrap()));
        opened.push(ensure(&bench, &StreamSettings { names, ..project(url) }).await.unwrap());
    }
    let [shop, zoo] = opened.try_into().unwrap();
    let all = [&bench.streams, &shop, &zoo];

    let pairs = within(DEADLINE, Corrections::open(&shop, "pairs")).await.unwrap();
    within(DEADLINE, pairs.append(&rows(1..=3))).await.unwrap();
    let events = |streams: &Streams| Events::new(streams, Arc::new(SystemClock));
    let jobs = within(DEADLINE, Jobs::open(&shop, &events(&shop), JobSettings::default())).await.unwrap();
    within(DEADLINE, jobs.enqueue(&JobRequest::default())).await.unwrap();
    let subject = shop.names().jobs_subject().to_owned();
    assert_eq!(subject, "shop.training.jobs");
    bench.connection.client().request(subject, "{}".into()).await.unwrap();
    let up = StatusService::start(&shop, true, || async { Ok("shop") }.boxed());
    let _up = within(DEADLINE, up).await.unwrap();

    let mut seen = Vec::new();
    for streams in all {
        let corrections = within(DEADLINE, Corrections::open(streams, "pairs")).await.unwrap();
        let jobs = Jobs::new(streams, &events(streams), JobSettings::default());
        seen.push((
            corrections.count_after(0).await.unwrap(),
            jobs.outstanding().await.unwrap(),
            Runs::new(streams).list().await.unwrap().len(),
            trainer_is_up(streams, Duration::from_secs(1)).await.unwrap(),
        ));
    }
    assert_eq!(seen, [(0, 0, 0, false), (3, 2, 1, true), (0, 0, 0, false)]);
    let status = bench.connection.client().request("zoo.training.status", "".into()).await;
    assert!(status.is_err(), "{status:?}");
    let status = bench.connection.client().request("shop.training.status", "".into()).await.unwrap();
    assert_eq!(&*status.payload, b"\"shop\"");
    assert_eq!(shop.names().training_runs().to_string(), "shop_training_runs");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_is_lowered_only_when_the_operator_says_so() {
    let bench = TestBroker::with(StreamSettings {
        duplicate_window: Duration::from_secs(3600),
        events_max_age: Duration::from_secs(200 * 24 * 3600),
        events_max_bytes: 512 << 20,
        ..StreamSettings::default()
    })
    .await;
    let long = JobSettings { ack_wait: Duration::from_secs(600), ..JobSettings::default() };
    bench.jobs(long).await;
    let before = everything(&bench.connection).await;
    ensure(&bench, &StreamSettings::default()).await.unwrap();
    bench.jobs(JobSettings::default()).await;
    assert_eq!(everything(&bench.connection).await, before, "a worker with smaller defaults lowers nothing");

    let ack_wait = Duration::from_secs(30);
    bench.jobs(JobSettings { ack_wait, ack_wait_is_set: true, ..JobSettings::default() }).await;
    assert_eq!(everything(&bench.connection).await["TRAINING/trainer"], "30s");
    bench.jobs(JobSettings::default()).await;
    assert_eq!(everything(&bench.connection).await["TRAINING/trainer"], "60s", "it may grow by itself");

    // A limit below what is stored refuses new pairs, and keeps the old ones.
    let corrections = bench.corrections().await;
    within(DEADLINE, corrections.append(&rows(1..=100))).await.unwrap();
    let small = StreamSettings { max_bytes: Some(1 << 10), ..StreamSettings::default() };
    ensure(&bench, &small).await.unwrap();
    assert_eq!(corrections.snapshot(u64::MAX).await.unwrap().rows.len(), 100);
    let full = within(DEADLINE, corrections.append(&rows(101..=101))).await.unwrap_err();
    assert!(full.advice().contains("NATS_MAX_BYTES"), "{full:?} {}", full.advice());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_demands_size_limits_gets_them() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let configuration = format!(
        "jetstream {{ store_dir: {store:?}, max_file: 5G }}\n\
         accounts {{ A {{ jetstream {{ max_file: 1G, max_bytes_required: true }}, users: [ {{ user: u, password: p }} ] }} }}\n\
         no_auth_user: u"
    );
    let server = NatsServer::start(folder.path(), &configuration).await;
    let remote = Remote { urls: vec![server.url().to_owned()], ..Remote::default() };
    let connection = within(DEADLINE, Connection::open(&Broker::Remote(remote))).await.unwrap();
    let settings = project("https://a.supabase.co");
    within(DEADLINE, Streams::ensure(&connection, &settings)).await.unwrap();
    let mut total = 0;
    let names: Vec<String> = connection.jetstream().stream_names().try_collect().await.unwrap();
    for name in names {
        let stream = connection.jetstream().get_stream(&name).await.unwrap();
        assert!(stream.cached_info().config.max_bytes > 0, "{name}");
        total += stream.cached_info().config.max_bytes;
    }
    assert!(total <= 512 << 20, "{total}");
    let before = everything(&connection).await;
    within(DEADLINE, Streams::ensure(&connection, &settings)).await.unwrap();
    assert_eq!(everything(&connection).await, before, "the second start changes nothing");
    let set = StreamSettings { max_bytes: Some(64 << 20), ..settings };
    let streams = within(DEADLINE, Streams::ensure(&connection, &set)).await.unwrap();
    let corrections = within(DEADLINE, Corrections::open(&streams, "pairs")).await.unwrap();
    assert_eq!(within(DEADLINE, corrections.append(&rows(1..=5))).await.unwrap().stored, 5);
    let stream = connection.jetstream().get_stream("CORRECTIONS").await.unwrap();
    assert_eq!(stream.cached_info().config.max_bytes, 32 << 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_requests_that_is_made_anew_repeats_no_id() {
    let bench = TestBroker::new().await;
    let jobs = bench.jobs(JobSettings::default()).await;
    let first = within(DEADLINE, jobs.enqueue(&JobRequest::default())).await.unwrap();
    assert_eq!(first, bench.requested(1).await);
    bench.connection.jetstream().delete_stream("TRAINING").await.unwrap();
    let streams = ensure(&bench, &StreamSettings::default()).await.unwrap();
    // A worker that ran all the time names the request as a new one does.
    let second = within(DEADLINE, jobs.enqueue(&JobRequest::default())).await.unwrap();
    assert_eq!(second, requested(&streams, 1).await);
    assert_ne!(second, first);
    let taken = within(DEADLINE, jobs.next(&CancellationToken::new())).await.unwrap();
    assert_eq!(taken.id(), &second);
    let runs: Vec<RunRecord> = Runs::new(&streams).list().await.unwrap();
    assert_eq!(runs.len(), 2);
}

//! A tick: one look from anywhere, while everything else sleeps.

use std::process::Output;

use autovalidate::broker::{JobSettings, Jobs};
use autovalidate::worker::{BrokerHandles, Tick};
use tokio_util::sync::CancellationToken;

use crate::support::DEADLINE;
use crate::support::broker::TestBroker;
use crate::support::crash::{counted, crash_at};
use crate::support::sleeper::{Sleeper, exited};
use crate::support::within;

/// Returns a sleeper whose workers use this broker, with more settings.
async fn sleeper_on(bench: &TestBroker, more: &[(&'static str, &str)]) -> Sleeper {
    let url = bench.url();
    let mut settings = vec![("NATS_URL", url.as_str())];
    settings.extend(more);
    Sleeper::new(&settings).await
}

async fn tick(sleeper: &Sleeper) -> Tick {
    let handles = within(DEADLINE, BrokerHandles::open(&sleeper.settings())).await.unwrap();
    within(DEADLINE, Tick::perform(&sleeper.settings(), &handles)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_became_due_while_everything_slept_is_found() {
    let bench = TestBroker::new().await;
    let sleeper = sleeper_on(&bench, &[("TRAIN_QUIET", "6s")]).await;
    sleeper.insert(3);
    // The worker stores the pairs, and is gone before their run is due.
    exited(sleeper.wake().await).await.unwrap();
    let jobs = bench.jobs(JobSettings::default()).await;
    assert_eq!(jobs.outstanding().await.unwrap(), 0);
    let found = within(DEADLINE, async {
        loop {
            let tick = tick(&sleeper).await;
            if tick.job_started {
                return tick;
            }
            assert_eq!(tick.due.unwrap().reason.to_string(), "quiet");
        }
    })
    .await;
    assert_eq!((found.stored, found.job.unwrap().as_str()), (Some(0), "pairs-1-3"));
    assert_eq!(found.due, None, "nothing else is due while a job waits");
}

/// Takes every job off the queue and completes it. Returns the stream sequences that they cover.
async fn covered(jobs: &Jobs) -> Vec<(u64, u64)> {
    let mut covered = Vec::new();
    for _ in 0..jobs.outstanding().await.unwrap() {
        let job = within(DEADLINE, jobs.next(&CancellationToken::new())).await.unwrap();
        let request = job.request();
        covered.push((request.first_sequence.unwrap(), request.last_sequence.unwrap()));
        job.complete().await.unwrap();
    }
    covered
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_that_is_killed_at_any_await_loses_no_row_and_starts_no_job_twice() {
    let bench = TestBroker::new().await;
    let sleeper = sleeper_on(&bench, &[("TRAIN_THRESHOLD", "2"), ("TRAIN_COOLDOWN", "off")]).await;
    let jobs = bench.jobs(JobSettings::default()).await;
    let settings = sleeper.settings();
    let handles = within(DEADLINE, BrokerHandles::open(&settings)).await.unwrap();
    sleeper.insert(2);
    let (whole, awaits) = within(DEADLINE, counted(Tick::perform(&settings, &handles))).await;
    assert!(whole.unwrap().job_started && awaits > 8, "{awaits} awaits");
    let mut all = covered(&jobs).await;
    let mut rows = 2;
    for point in 0..=awaits {
        rows += sleeper.insert(2).len() as u64;
        // Dies at this await. The next look may be hours later.
        drop(within(DEADLINE, crash_at(point, Tick::perform(&settings, &handles))).await);
        within(DEADLINE, Tick::perform(&settings, &handles)).await.unwrap();
        all.extend(covered(&jobs).await);
    }
    within(DEADLINE, Tick::perform(&settings, &handles)).await.unwrap();
    all.extend(covered(&jobs).await);
    assert_eq!(handles.corrections.count_after(0).await.unwrap(), rows);
    // Each pair belongs to exactly one job.
    all.sort_unstable();
    let mut next = 1;
    for (first, last) in all {
        assert_eq!(first, next);
        next = last + 1;
    }
    assert_eq!(next, rows + 1);
}

/// Runs `autovalidate tick --json` with a sleeper's settings.
fn command(sleeper: &Sleeper, more: &[(&str, &str)]) -> Output {
    sleeper.program(&["tick", "--json"]).envs(more.iter().copied()).output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_starts_the_embedded_broker_when_no_worker_runs() {
    let sleeper = Sleeper::new(&[("TRAIN_THRESHOLD", "3")]).await;
    sleeper.insert(3);
    let output = tokio::task::block_in_place(|| command(&sleeper, &[]));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&told["stored"], &told["job_started"]), (&3.into(), &true.into()), "{told}");
    assert_eq!(sleeper.stored().await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_fails_is_told_by_the_tick_itself() {
    let start = "exec:echo 'no such unit'; false";
    let sleeper = Sleeper::new(&[("TRAIN_THRESHOLD", "3"), ("TRAINER_START", start)]).await;
    sleeper.insert(3);
    let output = tokio::task::block_in_place(|| command(&sleeper, &[]));
    assert_eq!(output.status.code(), Some(1));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&told["stored"], &told["trainer"]["state"]), (&3.into(), &"failed".into()), "{told}");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("no such unit") && error.contains("stays queued"), "{error}");
    let again = command(&sleeper, &[("TRAINER_START", "exec:true")]);
    let told: serde_json::Value = serde_json::from_slice(&again.stdout).unwrap();
    assert!(["waiting", "started"].map(Into::into).contains(&told["trainer"]["state"]), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_that_fails_is_told_and_keeps_no_due_run_waiting() {
    let bench = TestBroker::new().await;
    let sleeper = sleeper_on(&bench, &[("TRAIN_THRESHOLD", "3")]).await;
    sleeper.insert(2);
    tick(&sleeper).await;
    let corrections = bench.corrections().await;
    corrections.append(&crate::support::broker::rows(100..=100)).await.unwrap();
    sleeper.supabase.faults().fail_rest(autovalidate_fakes::supabase::RestFault::Status(500), 10_000);
    let output = tokio::task::block_in_place(|| command(&sleeper, &[]));
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("the table can't be read") && told.contains("what to do"), "{told}");
    assert_eq!(bench.jobs(JobSettings::default()).await.outstanding().await.unwrap(), 1);
}

//! Start of a trainer by a listener, against a local Machines API.

use std::sync::Arc;
use std::time::Duration;

use autovalidate::broker::{JobRequest, JobSettings, Jobs, StatusService};
use autovalidate::failure::RetryDirective;
use autovalidate::launcher::{
    CommandLauncher, FlyApp, FlyLauncher, Launch, Launcher, Look, StartRecord, StartState, TrainerStarter,
};
use autovalidate_fakes::fly::{Fly, MachineSpec, MachineState, Options, RequestFault, StartFault};
use axum::http::StatusCode;
use futures::FutureExt;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::support::DEADLINE;
use crate::support::broker::{ManualClock, TestBroker};
use crate::support::crash::{counted, crash_at};
use crate::support::within;

const APP: &str = "shop";
const GROUP: &str = "trainer";

/// A broker with one waiting job, and a local Machines API with one stopped machine.
struct Bench {
    broker: TestBroker,
    jobs: Jobs,
    fly: Fly,
    machine: String,
    clock: ManualClock,
}

impl Bench {
    async fn new() -> Self {
        Self::with(|spec| spec).await
    }

    async fn with(change: impl FnOnce(MachineSpec) -> MachineSpec) -> Self {
        let broker = TestBroker::new().await;
        let fly = Fly::start(Options::new(broker.folder.path().join("logs"))).await.unwrap();
        let machine = fly.create(change(MachineSpec::new(APP, GROUP)));
        let jobs = broker.jobs(JobSettings::default()).await;
        jobs.enqueue(&JobRequest::default()).await.unwrap();
        let clock = ManualClock::new(Timestamp::UNIX_EPOCH);
        Self { broker, jobs, fly, machine, clock }
    }

    fn app(&self) -> FlyApp {
        FlyApp {
            api: self.fly.url().clone(),
            token: self.fly.token().clone(),
            app: APP.to_owned(),
            group: Some(GROUP.to_owned()),
            own_machine: None,
        }
    }

    fn starter(&self) -> TrainerStarter {
        self.starter_with(self.app())
    }

    fn starter_with(&self, app: FlyApp) -> TrainerStarter {
        self.starting(Arc::new(FlyLauncher::new(app).unwrap()))
    }

    fn starting(&self, launcher: Arc<dyn Launcher>) -> TrainerStarter {
        let clock = Arc::new(self.clock.clone());
        // Nobody is up but in the test that says so.
        TrainerStarter::new(&self.broker.streams, &self.jobs, launcher, clock)
            .with_answer_time(Duration::from_millis(50))
    }

    async fn look(&self) -> Look {
        within(DEADLINE, self.starter().look()).await.unwrap()
    }

    async fn record(&self) -> StartRecord {
        TrainerStarter::last_start(&self.broker.streams).await.unwrap().unwrap()
    }

    fn starts(&self) -> u64 {
        self.fly.account(&self.machine).unwrap().starts
    }

    /// Takes the waiting job off the queue, and adds the next one.
    async fn next_job(&self) {
        let job = within(DEADLINE, self.jobs.next(&CancellationToken::new())).await.unwrap();
        job.complete().await.unwrap();
        self.jobs.enqueue(&JobRequest::default()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_listeners_start_one_trainer_for_a_job_and_none_without_a_job() {
    let bench = Bench::new().await;
    let starters: Vec<_> = (0..8).map(|_| bench.starter()).collect();
    let looks = starters.iter().map(|starter| within(DEADLINE, starter.look()));
    let looks: Vec<_> = futures::future::join_all(looks).await.into_iter().map(Result::unwrap).collect();
    let started = looks.iter().filter(|look| matches!(look, Look::Started(..))).count();
    assert_eq!((started, bench.starts()), (1, 1), "{looks:?}");
    let record = bench.record().await;
    assert_eq!((record.state, record.starts), (StartState::Started, 1));
    // The job still waits, since no trainer is really there. Nobody starts another one so soon.
    assert!(matches!(bench.look().await, Look::Waiting(..)));

    let job = within(DEADLINE, bench.jobs.next(&CancellationToken::new())).await.unwrap();
    job.complete().await.unwrap();
    assert_eq!(bench.look().await, Look::NoJob);
    assert_eq!(bench.starts(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_trainer_is_started_while_one_is_up() {
    let bench = Bench::new().await;
    let up = StatusService::start(&bench.broker.streams, true, || async { Ok(()) }.boxed());
    let up = within(DEADLINE, up).await.unwrap();
    assert_eq!(bench.look().await, Look::TrainerUp);
    let listener = StatusService::start(&bench.broker.streams, false, || async { Ok(()) }.boxed());
    let _listener = within(DEADLINE, listener).await.unwrap();
    within(DEADLINE, up.stop()).await;
    // The other worker only listens.
    assert!(matches!(bench.look().await, Look::Started(..)));
    assert_eq!(bench.starts(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trainer_that_came_up_and_died_is_replaced_within_seconds_and_a_retry_gets_one_at_once() {
    let bench = Bench::new().await;
    assert!(matches!(bench.look().await, Look::Started(..)));
    let up = StatusService::start(&bench.broker.streams, true, || async { Ok(()) }.boxed());
    let up = within(DEADLINE, up).await.unwrap();
    assert_eq!(bench.look().await, Look::TrainerUp);
    assert!(bench.record().await.came_up);
    within(DEADLINE, up.stop()).await;
    bench.fly.set_state(&bench.machine, MachineState::Stopped).unwrap();
    bench.clock.advance(Duration::from_secs(16));
    assert!(matches!(bench.look().await, Look::Started(..)));
    assert_eq!((bench.starts(), bench.record().await.starts), (2, 2));

    // A person cancels the run and retries it: this is another request for the same job.
    let id = bench.broker.requested(1).await;
    within(DEADLINE, bench.jobs.cancel(&id)).await.unwrap();
    within(DEADLINE, bench.jobs.retry(&id)).await.unwrap();
    bench.fly.set_state(&bench.machine, MachineState::Stopped).unwrap();
    assert!(matches!(bench.look().await, Look::Started(..)));
    assert_eq!((bench.starts(), bench.record().await.starts), (3, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_arrives_later_is_noticed_and_its_trainer_started_once() {
    let bench = Bench::new().await;
    let job = within(DEADLINE, bench.jobs.next(&CancellationToken::new())).await.unwrap();
    job.complete().await.unwrap();
    let (starter, stop) = (bench.starter(), CancellationToken::new());
    let cancel = stop.clone();
    let running = tokio::spawn(async move { starter.run(&cancel).await });
    bench.jobs.enqueue(&JobRequest::default()).await.unwrap();
    bench.fly.reached(&bench.machine, MachineState::Started, DEADLINE).await.unwrap();
    stop.cancel();
    within(DEADLINE, running).await.unwrap();
    assert_eq!(bench.starts(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_fails_twice_is_asked_a_third_time() {
    let bench = Bench::new().await;
    let down = RequestFault::Status(StatusCode::INTERNAL_SERVER_ERROR, "database is locked".to_owned());
    bench.fly.faults().fail_requests(down, 2);
    for failures in 1..=2 {
        let Look::Failed(_, again_at) = bench.look().await else { panic!("the API failed") };
        let record = bench.record().await;
        assert_eq!((record.state, record.failures), (StartState::Failed, failures));
        let error = record.error.unwrap();
        assert!(error.message.contains("500: database is locked"), "{error:?}");
        assert!(matches!(bench.look().await, Look::Waiting(..)), "too soon");
        bench.clock.advance(Duration::try_from(again_at.duration_since(bench.now())).unwrap());
    }
    assert!(matches!(bench.look().await, Look::Started(..)));
    assert_eq!((bench.starts(), bench.record().await.failures), (1, 0));
}

impl Bench {
    fn now(&self) -> Timestamp {
        autovalidate::broker::Clock::now(&self.clock)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_state_of_the_machine_leads_to_one_that_runs() {
    use MachineState as S;
    let bench = Bench::new().await;
    for before in [S::Suspended, S::Stopped, S::Failed] {
        bench.fly.set_state(&bench.machine, before).unwrap();
        assert!(matches!(bench.look().await, Look::Started(..)), "{before}");
        assert_eq!(bench.fly.state(&bench.machine).unwrap(), S::Started, "{before}");
        bench.next_job().await;
    }
    // A machine that was only just created refuses a start until it has settled.
    for between in [S::Created, S::Replacing, S::Updating, S::Creating] {
        bench.fly.set_state(&bench.machine, between).unwrap();
        assert!(matches!(bench.look().await, Look::Failed(..)), "{between}");
        let error = bench.record().await.error.unwrap();
        assert!(error.message.contains(between.name()), "{error:?}");
        bench.fly.set_state(&bench.machine, S::Stopped).unwrap();
        bench.clock.advance(Duration::from_secs(400));
        assert!(matches!(bench.look().await, Look::Started(..)), "{between}");
        bench.next_job().await;
    }
    bench.fly.set_state(&bench.machine, S::Stopping).unwrap();
    let starter = bench.starter();
    let looking = tokio::spawn(async move { starter.look().await });
    within(DEADLINE, async {
        // The starter waits for the stop, which ends only now.
        while bench.record().await.state != StartState::Starting {}
    })
    .await;
    bench.fly.set_state(&bench.machine, S::Stopped).unwrap();
    assert!(matches!(within(DEADLINE, looking).await.unwrap().unwrap(), Look::Started(..)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_whose_answer_was_lost_is_not_repeated() {
    let bench = Bench::new().await;
    // The list is answered, the start takes effect, and the connection breaks.
    for fault in [RequestFault::None, RequestFault::AnswerLost] {
        bench.fly.faults().fail_requests(fault, 1);
    }
    assert!(matches!(bench.look().await, Look::Failed(..)));
    bench.fly.reached(&bench.machine, MachineState::Started, DEADLINE).await.unwrap();
    bench.clock.advance(Duration::from_secs(400));
    let look = bench.look().await;
    assert!(matches!(look, Look::Started(_, Launch::Up(_))), "{look:?}");
    assert_eq!(bench.starts(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_is_told_with_its_remedy_and_the_job_stays_queued() {
    let bench = Bench::new().await;
    let status =
        |code: u16, text: &str| RequestFault::Status(StatusCode::from_u16(code).unwrap(), text.to_owned());
    for (fault, expected, remedy) in [
        (status(401, "token validation error"), "fly tokens create", RetryDirective::Person),
        (status(403, "not allowed"), "may start machines", RetryDirective::Person),
        (status(404, "app not found"), "TRAINER_START", RetryDirective::Person),
        (RequestFault::RateLimited(Some(Duration::from_secs(700))), "tries again", RetryDirective::Retry),
        (status(503, "unavailable"), "tries again", RetryDirective::Retry),
        (RequestFault::Cut, "tries again", RetryDirective::Retry),
    ] {
        bench.fly.faults().fail_requests(fault.clone(), 1);
        let Look::Failed(_, again_at) = bench.look().await else { panic!("{fault:?}") };
        let error = bench.record().await.error.unwrap();
        assert!(error.advice.contains(expected), "{fault:?}: {error:?}");
        assert_eq!(error.remedy, remedy, "{fault:?}");
        let pause = again_at.duration_since(bench.now());
        assert!(!matches!(fault, RequestFault::RateLimited(_)) || pause.as_secs() == 700, "{pause:?}");
        bench.clock.advance(Duration::try_from(pause).unwrap());
    }
    for fault in [StartFault::HostFull, StartFault::RegionFull] {
        bench.fly.faults().fail_starts(fault.clone(), 1);
        assert!(matches!(bench.look().await, Look::Failed(..)), "{fault:?}");
        let error = bench.record().await.error.unwrap();
        assert!(
            error.message.starts_with("there is no capacity") && error.advice.contains("region"),
            "{error:?}"
        );
        bench.clock.advance(Duration::from_secs(400));
    }
    assert_eq!(bench.jobs.outstanding().await.unwrap(), 1);
    assert_eq!(bench.starts(), 0);
    assert!(matches!(bench.look().await, Look::Started(..)));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_machine_is_taken_where_the_first_ones_host_is_full() {
    let bench = Bench::new().await;
    let second = bench.fly.create(MachineSpec::new(APP, GROUP));
    bench.fly.faults().fail_starts(StartFault::HostFull, 1);
    assert!(matches!(bench.look().await, Look::Started(..)));
    assert_eq!(bench.starts() + bench.fly.account(&second).unwrap().starts, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_without_machines_and_the_own_machine_are_no_trainers() {
    let bench = Bench::new().await;
    for app in [
        FlyApp { group: Some("coach".to_owned()), ..bench.app() },
        FlyApp { group: None, own_machine: Some(bench.machine.clone()), ..bench.app() },
    ] {
        let look = within(DEADLINE, bench.starter_with(app.clone()).look()).await.unwrap();
        assert!(matches!(look, Look::Failed(..)), "{look:?}");
        let error = bench.record().await.error.unwrap();
        assert!(
            error.message.contains("there is none") && error.advice.contains("fly scale count"),
            "{error:?}"
        );
        let check = FlyLauncher::new(app).unwrap().check().await.unwrap_err();
        assert!(check.to_string().contains("there is none"), "{check}");
        bench.clock.advance(Duration::from_secs(400));
    }
    assert_eq!(bench.starts(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_dies_at_any_await_starts_nothing_twice() {
    let bench = Bench::new().await;
    let (whole, awaits) = within(DEADLINE, counted(bench.starter().look())).await;
    assert!(matches!(whole.unwrap(), Look::Started(..)) && awaits > 4, "{awaits} awaits");
    for point in 0..awaits {
        bench.next_job().await;
        bench.fly.set_state(&bench.machine, MachineState::Stopped).unwrap();
        let before = bench.starts();
        let starter = bench.starter();
        drop(within(DEADLINE, crash_at(point, starter.look())).await);
        // Another listener looks at once, and again when the dead one's claim has run out.
        let _ = bench.look().await;
        bench.clock.advance(Duration::from_secs(200));
        let look = bench.look().await;
        assert!(matches!(look, Look::Started(..) | Look::Waiting(..)), "{look:?} after a crash at {point}");
        bench.fly.reached(&bench.machine, MachineState::Started, DEADLINE).await.unwrap();
        assert_eq!(bench.starts() - before, 1, "after a crash at await {point}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_run_once_for_a_job() {
    let bench = Bench::new().await;
    let file = bench.broker.folder.path().join("started");
    let command = format!("echo \"$AUTOVALIDATE_JOB\" >> {}", file.display());
    let starter = bench.starting(Arc::new(CommandLauncher::new(command)));
    assert!(matches!(within(DEADLINE, starter.look()).await.unwrap(), Look::Started(..)));
    assert!(matches!(within(DEADLINE, starter.look()).await.unwrap(), Look::Waiting(..)));
    bench.next_job().await;
    assert!(matches!(within(DEADLINE, starter.look()).await.unwrap(), Look::Started(..)));
    let (first, second) = (bench.broker.requested(1).await, bench.broker.requested(2).await);
    assert_eq!(std::fs::read_to_string(file).unwrap(), format!("{first}\n{second}\n"));
}

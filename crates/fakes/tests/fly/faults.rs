//! The fault switches.

use std::time::Duration;

use autovalidate_fakes::fly::{MachineSpec, MachineState, RequestFault, Restart, StartFault};
use reqwest::{Method, StatusCode};

use crate::support::{APP, Bench, SOON, answer, error};

#[tokio::test]
async fn requests_fail_as_often_as_asked() {
    let bench = Bench::start().await;
    let id = bench.bare();
    let path = format!("/{id}/start");
    let faults = bench.fly.faults();
    for status in [500, 401, 403, 404] {
        let status = StatusCode::from_u16(status).unwrap();
        faults.fail_requests(RequestFault::Status(status, "by the test".into()), 2);
        for _ in 0..2 {
            let (given, body) = bench.post(&path).await;
            assert_eq!((given, error(&body)), (status.as_u16(), "by the test"));
        }
    }
    faults.fail_requests(RequestFault::RateLimited(Some(Duration::from_secs(7))), 1);
    faults.fail_requests(RequestFault::RateLimited(None), 1);
    let limited = bench.request(Method::POST, &path).send().await.unwrap();
    assert_eq!((limited.status().as_u16(), &limited.headers()["retry-after"]), (429, &"7".parse().unwrap()));
    let limited = bench.request(Method::POST, &path).send().await.unwrap();
    assert_eq!((limited.status().as_u16(), limited.headers().get("retry-after")), (429, None));
    assert!(faults.spent());
    assert_eq!(bench.fly.state(&id).unwrap(), MachineState::Stopped);
    assert_eq!(bench.post(&path).await.0, 200);
}

#[tokio::test]
async fn connections_are_cut_before_or_after_the_effect() {
    let bench = Bench::start().await;
    let id = bench.bare();
    let path = format!("/{id}/start");
    bench.fly.faults().fail_requests(RequestFault::Cut, 1);
    assert!(bench.request(Method::POST, &path).send().await.is_err());
    assert_eq!(bench.fly.state(&id).unwrap(), MachineState::Stopped);
    bench.fly.faults().fail_requests(RequestFault::AnswerLost, 1);
    assert!(bench.request(Method::POST, &path).send().await.is_err());
    bench.reached(&id, MachineState::Started).await;
    assert_eq!(bench.post(&path).await.1["previous_state"], "started");
    assert_eq!(bench.fly.account(&id).unwrap().starts, 1);
}

#[tokio::test]
async fn starts_are_refused() {
    let bench = Bench::start().await;
    let id = bench.bare();
    let cases = [
        (
            StartFault::HostFull,
            409,
            "aborted: could not reserve resource for machine: insufficient memory available to fulfill request",
        ),
        (StartFault::RegionFull, 412, "insufficient resources available to fulfill request"),
        (StartFault::StillActive, 412, "failed_precondition: machine still active, refusing to start"),
        (
            StartFault::GettingReplaced,
            412,
            "failed_precondition: machine getting replaced, refusing to start",
        ),
    ];
    for (fault, status, text) in cases {
        bench.fly.faults().fail_starts(fault, 1);
        let (given, body) = bench.post(&format!("/{id}/start")).await;
        assert_eq!((given, error(&body)), (status, text));
        assert_eq!(bench.fly.state(&id).unwrap(), MachineState::Stopped);
    }
    bench.fly.faults().fail_starts(StartFault::AlreadyStarted, 1);
    assert_eq!(bench.post(&format!("/{id}/start")).await.0, 200);
    bench.reached(&id, MachineState::Started).await;
    assert_eq!(bench.post(&format!("/{id}/start")).await.0, 409);
    assert_eq!(bench.post(&format!("/{id}/start")).await.0, 200);
    assert_eq!(bench.fly.account(&id).unwrap().starts, 1);
}

#[tokio::test]
async fn starts_are_slow() {
    let bench = Bench::start().await;
    let id = bench.bare();
    bench.fly.faults().fail_starts(StartFault::Slow(Duration::from_secs(3_600)), 1);
    bench.post(&format!("/{id}/start")).await;
    assert_eq!(bench.post(&format!("/{id}/start")).await.0, 409);
    bench.post(&format!("/{id}/stop")).await;
    bench.reached(&id, MachineState::Stopped).await;
    assert_eq!(bench.fly.account(&id).unwrap().starts, 0);
    bench.fly.faults().slow_starts(Duration::from_secs(3_600));
    bench.post(&format!("/{id}/start")).await;
    assert_eq!(bench.fly.state(&id).unwrap(), MachineState::Starting);
    // A machine on its way does not keep the stand-in from ending.
    tokio::time::timeout(SOON, bench.fly.shutdown()).await.unwrap();
}

#[tokio::test]
async fn starts_end_in_stopped() {
    let bench = Bench::start().await;
    let once = bench.fly.create(MachineSpec { restart: Restart::No, ..MachineSpec::new(APP, "trainer") });
    bench.fly.faults().fail_starts(StartFault::Crash(101), 1);
    let mut changes = bench.fly.changes();
    assert_eq!(bench.post(&format!("/{once}/start")).await.0, 200);
    for state in [MachineState::Starting, MachineState::Started, MachineState::Stopped] {
        assert_eq!(tokio::time::timeout(SOON, changes.recv()).await.unwrap().unwrap().state, state);
    }
    let (_, machine) = bench.get(&format!("/{once}")).await;
    let exit = &machine["events"][0]["request"]["exit_event"];
    assert_eq!((&exit["exit_code"], &exit["requested_stop"]), (&101.into(), &false.into()));

    let id = bench.bare();
    bench.fly.faults().fail_starts(StartFault::Abandoned, 1);
    let wait = answer(bench.request(Method::POST, &format!("/{id}/start"))).await;
    assert_eq!(wait.0, 200);
    bench.reached(&id, MachineState::Stopped).await;
    assert_eq!(bench.fly.account(&id).unwrap().starts, 0);
    assert!(bench.fly.faults().spent());

    // A suspended machine does not come back either.
    bench.post(&format!("/{id}/start")).await;
    bench.reached(&id, MachineState::Started).await;
    bench.post(&format!("/{id}/suspend")).await;
    bench.reached(&id, MachineState::Suspended).await;
    bench.fly.faults().fail_starts(StartFault::Abandoned, 1);
    assert_eq!(bench.post(&format!("/{id}/start")).await.1["previous_state"], "suspended");
    bench.reached(&id, MachineState::Stopped).await;
    assert_eq!(bench.fly.account(&id).unwrap().starts, 1);
}

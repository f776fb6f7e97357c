//! Changes of state that the API allows and refuses, on machines without a program.

use std::time::Duration;

use autovalidate_fakes::fly::{MachineSpec, MachineState, StartReason};
use reqwest::Method;
use serde_json::json;

use crate::support::{APP, Bench, SOON, answer, error};

#[tokio::test]
async fn a_start_goes_through_starting() {
    let bench = Bench::start().await;
    let id = bench.bare();
    let mut changes = bench.fly.changes();
    let (status, body) = bench.post(&format!("/{id}/start")).await;
    assert_eq!(
        (status, body),
        (200, json!({"previous_state": "stopped", "migrated": false, "new_host": ""}))
    );
    for state in [MachineState::Starting, MachineState::Started] {
        let change = tokio::time::timeout(SOON, changes.recv()).await.unwrap().unwrap();
        assert_eq!((change.machine.as_str(), change.state), (id.as_str(), state));
    }
    // A second start changes nothing.
    let (status, body) = bench.post(&format!("/{id}/start")).await;
    assert_eq!((status, &body["previous_state"]), (200, &json!("started")));
    let account = bench.fly.account(&id).unwrap();
    assert_eq!((account.starts, account.runs[0].reason), (1, StartReason::Api));
    let (_, machine) = bench.get(&format!("/{id}")).await;
    let kinds: Vec<_> = machine["events"].as_array().unwrap().iter().map(|event| &event["type"]).collect();
    assert_eq!(kinds, ["start", "start", "launch"]);
}

#[tokio::test]
async fn states_that_cannot_start_say_so() {
    let bench = Bench::start().await;
    let id = bench.bare();
    let cases = [
        (
            MachineState::Created,
            412,
            "failed_precondition: unable to start machine from current state: 'created'",
        ),
        (
            MachineState::Stopping,
            412,
            "failed_precondition: unable to start machine from current state: 'stopping'",
        ),
        (
            MachineState::Destroyed,
            412,
            "failed_precondition: unable to start machine from current state: 'destroyed'",
        ),
        (MachineState::Replacing, 412, "failed_precondition: machine getting replaced, refusing to start"),
        (MachineState::Starting, 409, "aborted: machine still attempting to start"),
        (MachineState::Restarting, 409, "aborted: machine still attempting to start"),
    ];
    for (state, status, text) in cases {
        bench.fly.set_state(&id, state).unwrap();
        let (given, body) = bench.post(&format!("/{id}/start")).await;
        assert_eq!((given, error(&body)), (status, text));
        assert_eq!(bench.fly.state(&id).unwrap(), state);
    }
    assert_eq!(bench.fly.account(&id).unwrap().starts, 0);
}

#[tokio::test]
async fn a_machine_holds_in_starting_until_told() {
    let bench = Bench::start().await;
    let id = bench.fly.create(MachineSpec { holds_starting: true, ..MachineSpec::new(APP, "trainer") });
    bench.post(&format!("/{id}/start")).await;
    assert_eq!(bench.post(&format!("/{id}/start")).await.0, 409);
    let early = bench.fly.reached(&id, MachineState::Started, Duration::from_millis(50)).await;
    assert!(early.is_err(), "the machine started by itself");
    bench.fly.set_state(&id, MachineState::Started).unwrap();
    assert_eq!(bench.fly.account(&id).unwrap().starts, 1);
    bench.post(&format!("/{id}/stop")).await;
    bench.reached(&id, MachineState::Stopped).await;
    // A stop ends the hold, too.
    bench.post(&format!("/{id}/start")).await;
    bench.post(&format!("/{id}/stop")).await;
    bench.reached(&id, MachineState::Stopped).await;
}

#[tokio::test]
async fn a_suspended_machine_costs_nothing_and_continues() {
    let bench = Bench::start().await;
    let id = bench.fly.create(MachineSpec { price_per_second: 3_600.0, ..MachineSpec::new(APP, "trainer") });
    assert_eq!(bench.post(&format!("/{id}/suspend")).await.0, 412);
    bench.post(&format!("/{id}/start")).await;
    bench.reached(&id, MachineState::Started).await;
    assert_eq!(bench.post(&format!("/{id}/suspend")).await, (200, json!({"ok": true})));
    bench.reached(&id, MachineState::Suspended).await;
    let account = bench.fly.account(&id).unwrap();
    assert!(account.runs[0].stopped_at.is_some());
    assert!(account.money > 0.0 && account.money == account.time.as_secs_f64() * 3_600.0, "{account:?}");
    assert_eq!(bench.fly.account(&id).unwrap(), account);
    let (_, body) = bench.post(&format!("/{id}/start")).await;
    assert_eq!(body["previous_state"], "suspended");
    bench.reached(&id, MachineState::Started).await;
    assert_eq!(bench.fly.account(&id).unwrap().starts, 2);
    bench.post(&format!("/{id}/stop")).await;
    bench.reached(&id, MachineState::Stopped).await;
}

#[tokio::test]
async fn a_restart_starts_the_machine_again() {
    let bench = Bench::start().await;
    let id = bench.bare();
    assert_eq!(bench.post(&format!("/{id}/restart")).await, (200, json!({"ok": true})));
    bench.reached(&id, MachineState::Started).await;
    let mut changes = bench.fly.changes();
    assert_eq!(bench.post(&format!("/{id}/restart?timeout=5s&force_stop=false")).await.0, 200);
    for state in [MachineState::Restarting, MachineState::Restarting, MachineState::Started] {
        assert_eq!(tokio::time::timeout(SOON, changes.recv()).await.unwrap().unwrap().state, state);
    }
    let account = bench.fly.account(&id).unwrap();
    assert_eq!((account.starts, account.runs[1].reason), (2, StartReason::Restart));
    assert_eq!(bench.post(&format!("/{id}/restart?timeout=never")).await.0, 400);
}

#[tokio::test]
async fn bodies_of_a_stop() {
    let bench = Bench::start().await;
    let id = bench.bare();
    let stop = async |body: &'static str| {
        let request = bench.request(Method::POST, &format!("/{id}/stop"));
        answer(request.header("content-type", "application/json").body(body)).await.0
    };
    let taken = ["", "null", "{}", r#"{"signal":"SIGINT","timeout":"1m30s"}"#, r#"{"timeout":5000000000}"#];
    for body in taken {
        assert_eq!(stop(body).await, 200, "{body}");
    }
    let refused = ["{", r#"{"signal":"SIGNOPE"}"#, r#"{"timeout":"soon"}"#, r#"{"timeout":-1}"#, "7"];
    for body in refused {
        assert_eq!(stop(body).await, 400, "{body}");
    }
}

//! The route that waits for a state.

use std::time::Duration;

use autovalidate_fakes::fly::{MachineSpec, MachineState};
use serde_json::json;

use crate::support::{APP, Bench, error};

#[tokio::test]
async fn a_wait_ends_when_the_state_is_reached() {
    let bench = Bench::start().await;
    let id = bench.fly.create(MachineSpec { holds_starting: true, ..MachineSpec::new(APP, "trainer") });
    bench.post(&format!("/{id}/start")).await;
    let wait = bench.get_later(&format!("/{id}/wait?state=started"));
    bench.fly.set_state(&id, MachineState::Started).unwrap();
    assert_eq!(wait.await.unwrap(), (200, json!({"ok": true})));
    // `started` is the state without a name.
    assert_eq!(bench.get(&format!("/{id}/wait")).await.0, 200);
    assert_eq!(
        bench
            .get(&format!("/{id}/wait?state=stopped&state=started&version={}", version(&bench, &id).await))
            .await
            .0,
        200
    );
}

#[tokio::test]
async fn a_wait_ends_after_its_timeout() {
    let bench = Bench::start().await;
    let id = bench.bare();
    let (status, body) = bench.get(&format!("/{id}/wait?state=started&timeout=1")).await;
    assert_eq!((status, error(&body)), (408, "deadline_exceeded: request timed out"));
}

#[tokio::test]
async fn a_wait_for_stopped_names_the_version() {
    let bench = Bench::start().await;
    let id = bench.bare();
    assert_eq!(bench.get(&format!("/{id}/wait?state=stopped")).await.0, 400);
    assert_eq!(bench.get(&format!("/{id}/wait?state=stopped&instance_id=other")).await.0, 400);
    let version = version(&bench, &id).await;
    assert_eq!(bench.get(&format!("/{id}/wait?state=stopped&instance_id={version}")).await.0, 200);
}

#[tokio::test]
async fn a_wait_for_a_machine_that_comes_to_rest_fails() {
    let bench = Bench::start().await;
    let id = bench.fly.create(MachineSpec { holds_starting: true, ..MachineSpec::new(APP, "trainer") });
    let path = format!("/{id}/wait?timeout=30");
    let wait = bench.get(&path);
    tokio::pin!(wait);
    // The machine gives up again and again, so one time comes after the request.
    let mut pulse = tokio::time::interval(Duration::from_millis(20));
    let states = [MachineState::Starting, MachineState::Stopped];
    let mut states = states.into_iter().cycle();
    let (status, body) = loop {
        tokio::select! {
            answered = &mut wait => break answered,
            _ = pulse.tick() => bench.fly.set_state(&id, states.next().unwrap()).unwrap(),
        }
    };
    let text = "failed_precondition: machine failed to reach desired state, started, currently stopped";
    assert_eq!((status, error(&body)), (412, text));
}

#[tokio::test]
async fn wrong_waits_are_refused() {
    let bench = Bench::start().await;
    let id = bench.bare();
    for query in ["state=dancing", "state=starting", "timeout=0", "timeout=61", "timeout=-1", "timeout=x"] {
        let (status, body) = bench.get(&format!("/{id}/wait?{query}")).await;
        assert_eq!(status, 400, "{query}: {body}");
    }
}

async fn version(bench: &Bench, id: &str) -> String {
    bench.get(&format!("/{id}")).await.1["instance_id"].as_str().unwrap().to_owned()
}

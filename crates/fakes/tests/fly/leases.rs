//! Leases: granted, renewed, released, and held by somebody else.

use std::time::Duration;

use autovalidate_fakes::fly::MachineState;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Bench, answer, error};

const NONCE: &str = "fly-machine-lease-nonce";

fn nonce(body: &Value) -> String {
    body["data"]["nonce"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_lease_lives_from_grant_to_release() {
    let bench = Bench::start().await;
    let id = bench.bare();
    let path = format!("/{id}/lease");
    assert_eq!(bench.get(&path).await.0, 404);
    let asked = bench.request(Method::POST, &path).body(r#"{"ttl": 500, "description": "deployment"}"#);
    let (status, lease) = answer(asked).await;
    assert_eq!((status, &lease["status"]), (201, &json!("success")));
    assert_eq!(lease["data"]["description"], "deployment");
    let held = nonce(&lease);
    assert_eq!(bench.get(&path).await, (200, lease));
    assert_eq!(bench.get(&format!("/{id}")).await.1["nonce"], held.as_str());

    // Without the nonce, nobody else gets a lease or changes the machine.
    let (status, refusal) = bench.post(&path).await;
    assert_eq!((status, &refusal["status"]), (409, &json!("error")));
    for action in ["start", "stop", "suspend", "restart"] {
        let (status, body) = bench.post(&format!("/{id}/{action}")).await;
        assert_eq!(status, 409);
        let text = format!("machine ID {id} lease currently held by local@tokens.fly.io, expires at ");
        assert!(error(&body).starts_with(&text), "{body}");
    }
    assert_eq!(answer(bench.request(Method::DELETE, &path)).await.0, 409);
    assert_eq!(answer(bench.request(Method::DELETE, &path).header(NONCE, "wrong")).await.0, 409);

    // With the nonce, the holder renews the lease, changes the machine, and releases it.
    let (status, renewed) =
        answer(bench.request(Method::POST, &format!("{path}?ttl=600")).header(NONCE, &held)).await;
    assert_eq!((status, nonce(&renewed)), (200, held.clone()));
    let start = bench.request(Method::POST, &format!("/{id}/start")).header(NONCE, &held);
    assert_eq!(answer(start).await.0, 200);
    bench.reached(&id, MachineState::Started).await;
    let (status, released) = answer(bench.request(Method::DELETE, &path).header(NONCE, &held)).await;
    assert_eq!((status, released), (200, json!({"status": "success", "data": {"ok": true}})));
    assert_eq!(answer(bench.request(Method::DELETE, &path).header(NONCE, &held)).await.0, 404);
    assert_eq!(bench.post(&format!("/{id}/stop")).await.0, 200);
}

#[tokio::test]
async fn somebody_else_holds_a_lease_for_a_time() {
    let bench = Bench::start().await;
    let id = bench.bare();
    bench.fly.lease_to_other(&id, Duration::from_secs(600)).unwrap();
    let (status, body) = bench.post(&format!("/{id}/start")).await;
    assert_eq!(status, 409);
    assert!(error(&body).contains("held by somebody-else@tokens.fly.io"), "{body}");
    bench.fly.end_lease(&id).unwrap();
    assert_eq!(bench.post(&format!("/{id}/start")).await.0, 200);
    // A lease that has ended does not count.
    bench.fly.lease_to_other(&id, Duration::ZERO).unwrap();
    assert_eq!(bench.post(&format!("/{id}/stop")).await.0, 200);
    assert_eq!(bench.get(&format!("/{id}/lease")).await.0, 404);
}

#[tokio::test]
async fn wrong_leases_are_refused() {
    let bench = Bench::start().await;
    let id = bench.bare();
    for query in ["?ttl=0", "?ttl=99999999", "?ttl=-1", "?ttl=x"] {
        let sent = bench.request(Method::POST, &format!("/{id}/lease{query}")).send().await.unwrap();
        assert_eq!(sent.status(), 400, "{query}");
    }
}

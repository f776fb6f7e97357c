//! The proxy, with a server that runs as a machine's process: this program itself.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use autovalidate_fakes::fly::{AutoStop, MachineSpec, MachineState, Program, ProxyOptions, Restart};
use autovalidate_fakes::fly::{StartFault, StartReason};
use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use futures::StreamExt;

use crate::support::{APP, Bench, SOON};

/// Variable that makes this program a server at the address that it holds.
const SERVE: &str = "FLY_TEST_SERVE";
/// Variable that holds the milliseconds before the server listens.
const DELAY: &str = "FLY_TEST_DELAY";

/// Serves when a machine runs this program, and passes otherwise.
#[tokio::test]
async fn the_server_of_a_machine() {
    let Ok(address) = std::env::var(SERVE) else { return };
    let delay = std::env::var(DELAY).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    tokio::time::sleep(Duration::from_millis(delay)).await;
    let app = Router::new()
        .route("/", get(|| async { std::process::id().to_string() }))
        .route("/echo", post(|body: Body| async { body }))
        .route("/never", get(std::future::pending::<()>))
        .route("/quit", get(quit));
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    axum::serve(listener, app).await.unwrap();
}

async fn quit() -> &'static str {
    std::process::exit(0)
}

/// Returns an address on which nothing listens.
fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

fn server(delay: u64) -> MachineSpec {
    let service = free_address();
    let program = Program::new(std::env::current_exe().unwrap())
        .arg("proxy::the_server_of_a_machine")
        .arg("--exact")
        .env(SERVE, service.to_string())
        .env(DELAY, delay.to_string());
    MachineSpec { service: Some(service), ..MachineSpec::running(APP, "trainer", program) }
}

#[tokio::test]
async fn many_requests_start_a_machine_once() {
    let bench = Bench::start().await;
    let id = bench.fly.create(server(300));
    let proxy = bench.fly.proxy(ProxyOptions::new(APP, "trainer")).await.unwrap();
    let requests = (0..20).map(|_| async {
        let response = bench.client.get(proxy.url().clone()).send().await.unwrap();
        assert_eq!(response.status(), 200);
        response.text().await.unwrap()
    });
    let mut processes = futures::future::join_all(requests).await;
    processes.dedup();
    assert_eq!(processes.len(), 1, "{processes:?}");
    let account = bench.fly.account(&id).unwrap();
    assert_eq!((account.starts, account.runs[0].reason), (1, StartReason::Proxy));

    // The machine ends by itself, and the next request starts it again.
    assert_eq!(bench.client.get(proxy.url().join("quit").unwrap()).send().await.unwrap().status(), 502);
    bench.reached(&id, MachineState::Stopped).await;
    let again = bench.client.get(proxy.url().clone()).send().await.unwrap().text().await.unwrap();
    assert_ne!(again, processes[0]);
    assert_eq!(bench.fly.account(&id).unwrap().starts, 2);
    proxy.shutdown().await;
}

#[tokio::test]
async fn bodies_stream_through() {
    let bench = Bench::start().await;
    bench.fly.create(server(0));
    let proxy = bench.fly.proxy(ProxyOptions::new(APP, "trainer")).await.unwrap();
    // The second half of the request is sent only after the first half has come back.
    let (sender, receiver) = futures::channel::mpsc::unbounded::<Result<&str, std::io::Error>>();
    sender.unbounded_send(Ok("first")).unwrap();
    let request = bench.client.post(proxy.url().join("echo").unwrap());
    let request = request.body(reqwest::Body::wrap_stream(receiver)).send();
    let mut answer = tokio::time::timeout(SOON, request).await.unwrap().unwrap().bytes_stream();
    assert_eq!(answer.next().await.unwrap().unwrap(), "first");
    sender.unbounded_send(Ok("second")).unwrap();
    drop(sender);
    assert_eq!(answer.next().await.unwrap().unwrap(), "second");
    assert!(answer.next().await.is_none());
}

#[tokio::test]
async fn a_machine_that_does_not_come_up_means_503() {
    let bench = Bench::start().await;
    let silent = Program::shell("exec sleep 600");
    let service = Some(free_address());
    bench.fly.create(MachineSpec { service, ..MachineSpec::running(APP, "silent", silent) });
    let id = bench.fly.create(MachineSpec { restart: Restart::No, ..server(0) });
    let limit = Duration::from_millis(300);
    let status = async |options: ProxyOptions| {
        let proxy = bench.fly.proxy(ProxyOptions { limit, ..options }).await.unwrap();
        bench.client.get(proxy.url().clone()).send().await.unwrap().status().as_u16()
    };
    assert_eq!(status(ProxyOptions::new(APP, "silent")).await, 503);
    assert_eq!(status(ProxyOptions::new(APP, "nobody")).await, 503);
    let off = ProxyOptions { auto_start: false, ..ProxyOptions::new(APP, "trainer") };
    assert_eq!(status(off).await, 503);
    bench.fly.faults().fail_starts(StartFault::HostFull, 10_000);
    assert_eq!(status(ProxyOptions::new(APP, "trainer")).await, 503);
    bench.fly.faults().clear();
    bench.fly.lease_to_other(&id, Duration::from_secs(600)).unwrap();
    assert_eq!(status(ProxyOptions::new(APP, "trainer")).await, 503);
    assert_eq!(bench.fly.account(&id).unwrap().starts, 0);
}

#[tokio::test]
async fn the_proxy_tries_again_when_there_is_no_capacity() {
    let bench = Bench::start().await;
    let id = bench.fly.create(server(0));
    bench.fly.faults().fail_starts(StartFault::HostFull, 2);
    bench.fly.faults().fail_starts(StartFault::RegionFull, 1);
    let options = ProxyOptions { limit: SOON, ..ProxyOptions::new(APP, "trainer") };
    let proxy = bench.fly.proxy(options).await.unwrap();
    assert_eq!(bench.client.get(proxy.url().clone()).send().await.unwrap().status(), 200);
    assert!(bench.fly.faults().spent());
    assert_eq!(bench.fly.account(&id).unwrap().starts, 1);
}

#[tokio::test]
async fn auto_stop_ends_a_machine_that_works() {
    for (auto_stop, end) in [
        (AutoStop::Stop(Duration::from_millis(50)), MachineState::Stopped),
        (AutoStop::Suspend(Duration::from_millis(50)), MachineState::Suspended),
    ] {
        let bench = Bench::start().await;
        let id = bench.fly.create(server(0));
        let options = ProxyOptions { auto_stop, limit: SOON, ..ProxyOptions::new(APP, "trainer") };
        let proxy = bench.fly.proxy(options).await.unwrap();
        // A request in flight keeps the machine up.
        let never = bench.client.get(proxy.url().join("never").unwrap()).send();
        let kept = tokio::time::timeout(Duration::from_secs(1), never);
        let (kept, ()) = tokio::join!(kept, bench.reached(&id, MachineState::Started));
        assert!(kept.is_err(), "the request ended");
        bench.reached(&id, end).await;
        let (_, machine) = bench.get(&format!("/{id}")).await;
        let events = machine["events"].as_array().unwrap();
        assert!(
            events.iter().any(|event| event["source"] == "proxy" && event["type"] != "start"),
            "{events:?}"
        );
        // The next request brings it back.
        assert_eq!(bench.client.get(proxy.url().clone()).send().await.unwrap().status(), 200);
        assert_eq!(bench.fly.account(&id).unwrap().starts, 2);
    }
}

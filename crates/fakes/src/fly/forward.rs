//! One request on its way through the proxy: a machine is chosen, started, and asked.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout_at};

use super::account::StartReason;
use super::life;
use super::machine::Machine;
use super::proxy_options::ProxyOptions;
use super::shared::Shared;
use super::state::MachineState;

/// Pause between attempts to start a machine, or to connect to its service.
const PAUSE: Duration = Duration::from_millis(50);

/// Headers that belong to one connection.
const HOP_BY_HOP: [HeaderName; 6] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// A proxy's way to its machines.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) options: ProxyOptions,
    pub(super) shared: Arc<Shared>,
    pub(super) client: reqwest::Client,
}

impl Route {
    /// Returns the machines of the group that have a service.
    pub(super) fn machines(&self) -> Vec<Arc<Machine>> {
        let mut machines = self.shared.machines(&self.options.app);
        machines.retain(|machine| machine.spec.group == self.options.group && machine.spec.service.is_some());
        machines
    }

    /// Returns the machine to ask: one that runs, or else one on its way, or else one that rests.
    fn choose(&self) -> Option<Arc<Machine>> {
        let rank = |machine: &Arc<Machine>| match machine.state() {
            MachineState::Started => 0,
            MachineState::Starting | MachineState::Restarting => 1,
            MachineState::Suspended => 2,
            MachineState::Stopped | MachineState::Failed => 3,
            MachineState::Destroyed => 5,
            _ => 4,
        };
        self.machines().into_iter().min_by_key(rank)
    }

    /// Starts a machine if none runs, and waits until its service accepts a connection.
    async fn ready(&self) -> (Arc<Machine>, Busy, SocketAddr) {
        loop {
            let Some(machine) = self.choose() else {
                sleep(PAUSE).await;
                continue;
            };
            let busy = Busy::new(&machine);
            let mut versions = machine.versions();
            let state = machine.state();
            if let (MachineState::Started, Some(service)) = (state, machine.spec.service) {
                if TcpStream::connect(service).await.is_ok() && machine.state() == MachineState::Started {
                    return (machine, busy, service);
                }
            } else if state.is_startable() && self.options.auto_start && startable(&machine) {
                // One of the requests that come together starts the machine; the others find it
                // starting.
                if life::start(&machine, StartReason::Proxy).is_ok() {
                    continue;
                }
            }
            tokio::select! {
                _ = versions.changed() => {}
                () = sleep(PAUSE) => {}
            }
        }
    }
}

/// Returns true when no lease keeps the proxy from starting the machine.
fn startable(machine: &Machine) -> bool {
    machine.record().check_lease(&machine.id, None).is_ok()
}

/// A request that is in flight to a machine, until it is dropped.
struct Busy(Arc<Machine>);

impl Busy {
    fn new(machine: &Arc<Machine>) -> Self {
        machine.busy.send_modify(|count| *count += 1);
        Self(Arc::clone(machine))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.send_modify(|count| *count = count.saturating_sub(1));
    }
}

/// Forwards a request to a machine of the group.
pub(super) async fn forward(State(route): State<Arc<Route>>, request: Request) -> Response {
    let deadline = Instant::now() + route.options.limit;
    let Ok((machine, busy, service)) = timeout_at(deadline, route.ready()).await else {
        return unavailable("could not find a good candidate");
    };
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let mut headers = parts.headers;
    drop_hop_by_hop(&mut headers);
    let mut onward = route.client.request(parts.method, format!("http://{service}{path}")).headers(headers);
    if !body.is_end_stream() {
        onward = onward.body(reqwest::Body::wrap_stream(body.into_data_stream()));
    }
    let answer = match onward.send().await {
        Ok(answer) => answer,
        Err(error) => {
            tracing::debug!(machine = machine.id, %error, "a machine does not answer the proxy");
            return (StatusCode::BAD_GATEWAY, "the machine closed the connection").into_response();
        }
    };
    let (status, mut headers) = (answer.status(), answer.headers().clone());
    drop_hop_by_hop(&mut headers);
    // The request is in flight until the last byte of the answer.
    let body = answer.bytes_stream().map(move |chunk| {
        let _ = &busy;
        chunk
    });
    let mut response = Response::new(Body::from_stream(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn unavailable(reason: &'static str) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, reason).into_response()
}

fn drop_hop_by_hop(headers: &mut HeaderMap) {
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
    headers.remove("keep-alive");
}

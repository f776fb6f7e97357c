//! The proxy that starts a machine when a request comes for it, as the real one does.

use std::io;
use std::sync::Arc;

use axum::Router;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::forward::{self, Route};
use super::machine::Machine;
use super::order::Then;
use super::proxy_options::{AutoStop, ProxyOptions};
use super::shared::Shared;
use super::state::MachineState;
use crate::connection::{Connections, Cut};

/// A running proxy. Dropping it stops it; the end of its [`Fly`](super::Fly) does so, too.
#[derive(Debug)]
pub struct Proxy {
    url: Url,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Proxy {
    pub(super) async fn start(options: ProxyOptions, shared: Arc<Shared>) -> io::Result<Self> {
        let stop = shared.world.stop.child_token();
        let connections = Connections::bind(options.address, stop.clone()).await?;
        let url = connections.url()?;
        // A kept connection would be stale after the machine's restart.
        let client = reqwest::Client::builder()
            .no_proxy()
            .pool_max_idle_per_host(0)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(io::Error::other)?;
        let auto_stop = options.auto_stop;
        let route = Arc::new(Route { options, shared, client });
        let mut tasks = JoinSet::new();
        if auto_stop != AutoStop::Off {
            let (stop, route) = (stop.clone(), Arc::clone(&route));
            tasks.spawn(async move {
                let watched = stop_idle(&route, auto_stop);
                stop.run_until_cancelled(watched).await;
            });
        }
        let service = Router::new()
            .fallback(forward::forward)
            .with_state(route)
            .into_make_service_with_connect_info::<Cut>();
        let stopped = stop.clone().cancelled_owned();
        tasks.spawn(async move {
            // `serve` never fails by itself; it ends when the token is cancelled.
            let _ = axum::serve(connections, service).with_graceful_shutdown(stopped).await;
        });
        Ok(Self { url, stop, tasks })
    }

    /// Returns the proxy's URL.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Stops the proxy, and waits until the listener is closed.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Stops or suspends machines of the group that have no request for a time.
async fn stop_idle(route: &Route, auto_stop: AutoStop) {
    let watch = |machine: Arc<Machine>| async move {
        loop {
            idle(&machine, auto_stop).await;
        }
    };
    futures::future::join_all(route.machines().into_iter().map(watch)).await;
}

/// Waits until the machine has been started and without a request for the time, and stops it.
async fn idle(machine: &Machine, auto_stop: AutoStop) {
    let (AutoStop::Stop(time) | AutoStop::Suspend(time)) = auto_stop else {
        return std::future::pending().await;
    };
    let (mut versions, mut busy) = (machine.versions(), machine.busy.subscribe());
    if machine.state() != MachineState::Started || *busy.borrow_and_update() > 0 {
        tokio::select! {
            _ = versions.changed() => {}
            _ = busy.changed() => {}
        }
        return;
    }
    tokio::select! {
        _ = versions.changed() => return,
        _ = busy.changed() => return,
        () = tokio::time::sleep(time) => {}
    }
    let stopped = match auto_stop {
        AutoStop::Suspend(_) => machine.suspend("proxy"),
        _ => machine.stop(None, None, Then::Rest, "proxy"),
    };
    if stopped.is_err() {
        tracing::debug!(machine = machine.id, "an idle machine refuses to stop");
    }
}

//! A local Hub that speaks the wire protocol of the real one.
//!
//! Owns model repos on disk (commits, files, LFS objects), the routes the official clients call, and
//! switches for faults. Two origins, as on the real Hub: the Hub itself, which wants a token, and the object
//! store its signed links point to, which must not be sent one. Never holds a file in memory that came through
//! LFS, and never leaves this machine.
//!
//! ```text
//! options     what to serve, from where
//! connection  connections that can be cut
//! digest      SHA-256
//! faults      switches: what goes wrong next
//! refusal     answers that say no, as the clients read them
//! state       what the routes share: who may, signed links
//! objects     content on disk, by SHA-256
//! repos       repos, commits, files, and their record on disk
//! routes      create, info, tree, paths-info
//! resolve     download
//! store       the object store's own routes: PUT, parts, GET
//! lfs         preupload, LFS batch, verify, Xet token
//! commit      NDJSON commits with compare-and-swap
//! ```

mod commit;
mod connection;
mod digest;
mod faults;
mod lfs;
mod objects;
mod options;
mod refusal;
mod repos;
mod resolve;
mod routes;
mod state;
mod store;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{self, Request};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use secrecy::SecretString;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use url::Url;

pub use faults::Faults;
pub use options::{Options, Transfer};
pub use repos::CommitRecord;

use connection::Connections;
use objects::Objects;
use repos::Repos;
use state::State;

/// A running Hub. Dropping it stops it and cuts its connections; what it holds stays on disk.
#[derive(Debug)]
pub struct Hub {
    url: Url,
    token: SecretString,
    state: Arc<State>,
    stop: CancellationToken,
    tasks: JoinSet<io::Result<()>>,
}

impl Hub {
    /// Opens the directory, with the repos an earlier run left there, and serves it.
    ///
    /// # Errors
    /// When the directory can't be used or read, or the address can't be bound.
    pub async fn start(options: Options) -> io::Result<Self> {
        let stop = CancellationToken::new();
        let hub = Connections::bind(options.address, stop.clone()).await?;
        let store = Connections::bind(SocketAddr::new(options.address.ip(), 0), stop.clone()).await?;
        let state = Arc::new(State {
            url: hub.url()?,
            store_url: store.url()?,
            secret: format!("{:032x}", rand::random::<u128>()),
            faults: Faults::default(),
            objects: Objects::open(&options.directory).await?,
            repos: Repos::open(&options.directory).await?,
            options,
        });
        let mut tasks = JoinSet::new();
        let hub_routes = Router::new()
            .merge(routes::router())
            .merge(resolve::router())
            .merge(lfs::router())
            .merge(commit::router());
        serve(&mut tasks, hub, hub_routes, &state, &stop);
        serve(&mut tasks, store, store::router(), &state, &stop);
        tracing::info!(url = %state.url, "local hub listens");
        Ok(Self { url: state.url.clone(), token: state.options.token.clone(), state, stop, tasks })
    }

    /// The value for `HF_ENDPOINT`.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// A token that may write.
    pub fn token(&self) -> &SecretString {
        &self.token
    }

    /// The switches for what goes wrong.
    pub fn faults(&self) -> &Faults {
        &self.state.faults
    }

    /// The commits of `owner/name`, oldest first; empty when there is no such repo.
    pub async fn commits(&self, repo: &str) -> Vec<CommitRecord> {
        self.state.repos.records(repo).await
    }

    /// Stops serving, and waits until the listeners are closed.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn serve(
    tasks: &mut JoinSet<io::Result<()>>,
    connections: Connections,
    routes: Router<Arc<State>>,
    state: &Arc<State>,
    stop: &CancellationToken,
) {
    let routes = routes
        .layer(middleware::from_fn_with_state(Arc::clone(state), intercept))
        .layer(extract::DefaultBodyLimit::disable())
        .with_state(Arc::clone(state))
        .fallback(|request: Request| async move {
            tracing::debug!(method = %request.method(), path = request.uri().path(), "no such route");
            refusal::Refusal::not_found("no such route")
        });
    let service = routes.into_make_service_with_connect_info::<connection::Cut>();
    let stop = stop.clone().cancelled_owned();
    // The connections end with the same token: see `connection`.
    tasks.spawn(async move { axum::serve(connections, service).with_graceful_shutdown(stop).await });
}

/// Lets the switches that concern any request strike before its route sees it.
async fn intercept(
    extract::State(state): extract::State<Arc<State>>,
    request: Request,
    next: Next,
) -> Response {
    match state.faults.take_refusal() {
        Some(refusal) => refusal.into_response(),
        None => next.run(request).await,
    }
}

//! A local Hub that speaks the wire protocol of the real one.
//!
//! Owns model repos on disk (commits, files, LFS objects), the routes that the official clients
//! call, and switches that inject faults. As on the real Hub, there are three origins: the Hub itself
//! requires a token, the object store behind its signed links rejects one, and the Xet store takes
//! tokens that the Hub issues. Never holds an LFS file in memory, and never connects to another
//! machine.
//!
//! ```text
//! options     directory, address, tokens, and transfer mode
//! digest      SHA-256
//! faults      switches that inject faults
//! refusal     error responses, in the form that the clients parse
//! state       the routes' shared state: permissions and signed links
//! objects     content on disk, by SHA-256
//! file        a file of a commit
//! repo        a repo: commits, branches, tags, pull requests
//! repos       all repos, and their records on disk
//! card        metadata of a model card
//! routes      the Hub's own routes
//! store       the object store's routes: PUT, parts, GET
//! cas         the Xet store
//! ```

mod card;
mod cas;
mod digest;
mod faults;
mod file;
mod objects;
mod options;
mod refusal;
mod repo;
mod repos;
mod routes;
mod state;
mod store;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{self, Request};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Redirect, Response};
use secrecy::SecretString;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use url::Url;

pub use faults::Faults;
pub use options::{Options, Transfer};
pub use repos::CommitRecord;

use crate::connection::{Connections, Cut};
use cas::Cas;
use objects::Objects;
use repos::Repos;
use state::State;

/// A running Hub. Dropping it stops the server and cuts its connections; its repos stay on disk.
#[derive(Debug)]
pub struct Hub {
    url: Url,
    token: SecretString,
    state: Arc<State>,
    stop: CancellationToken,
    tasks: JoinSet<io::Result<()>>,
}

impl Hub {
    /// Opens the directory, including the repos of earlier runs, and serves it.
    ///
    /// # Errors
    /// When the directory can't be created or read, or the address can't be bound.
    pub async fn start(options: Options) -> io::Result<Self> {
        let stop = CancellationToken::new();
        let hub = Connections::bind(options.address, stop.clone()).await?;
        let store = Connections::bind(SocketAddr::new(options.address.ip(), 0), stop.clone()).await?;
        let cas = Connections::bind(SocketAddr::new(options.address.ip(), 0), stop.clone()).await?;
        let state = Arc::new(State {
            url: hub.url()?,
            store_url: elsewhere(store.url()?)?,
            cas_url: cas.url()?,
            secret: format!("{:032x}", rand::random::<u128>()),
            faults: Faults::default(),
            objects: Objects::open(&options.directory).await?,
            repos: Repos::open(&options.directory).await?,
            cas: Cas::new(options.directory.join("xet")),
            options,
        });
        let mut tasks = JoinSet::new();
        serve(&mut tasks, hub, routes::router(), &state, &stop);
        serve(&mut tasks, store, store::router(), &state, &stop);
        serve(&mut tasks, cas, cas::router(), &state, &stop);
        tracing::info!(url = %state.url, "local hub listens");
        Ok(Self { url: state.url.clone(), token: state.options.token.clone(), state, stop, tasks })
    }

    /// Returns the value for `HF_ENDPOINT`.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Returns a token with write permission.
    pub fn token(&self) -> &SecretString {
        &self.token
    }

    /// Returns the switches that inject faults.
    pub fn faults(&self) -> &Faults {
        &self.state.faults
    }

    /// Returns the commits of `owner/name`, oldest first; empty when there is no such repo.
    pub async fn commits(&self, repo: &str) -> Vec<CommitRecord> {
        self.state.repos.records(repo).await
    }

    /// Stops serving, and waits until the listeners are closed.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Returns the object store's address under another host name than the Hub's, where this machine has
/// one. A client takes a redirect to the same host for one within the Hub, to which it may send its
/// token.
fn elsewhere(mut store: Url) -> io::Result<Url> {
    if store.host_str() == Some("127.0.0.1") {
        store.set_host(Some("localhost")).map_err(io::Error::other)?;
    }
    Ok(store)
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
    let service = routes.into_make_service_with_connect_info::<Cut>();
    let stop = stop.clone().cancelled_owned();
    // The connections end with the same cancellation token: see `Connections`.
    tasks.spawn(async move { axum::serve(connections, service).with_graceful_shutdown(stop).await });
}

/// Answers a request in place of its route when a fault that applies to any request is switched on.
async fn intercept(
    extract::State(state): extract::State<Arc<State>>,
    request: Request,
    next: Next,
) -> Response {
    if let Some(refusal) = state.faults.take_refusal(request.uri().path()) {
        return refusal.into_response();
    }
    let path = request.uri().path_and_query().map_or("", |path| path.as_str());
    match state.redirected(path).await {
        Some(path) => Redirect::temporary(&path).into_response(),
        None => next.run(request).await,
    }
}

//! A stand-in with a client, and a small server that a machine can run.

use std::time::Duration;

use autovalidate_fakes::fly::{Fly, MachineSpec, MachineState, Options, Program};
use reqwest::{Method, RequestBuilder};
use secrecy::ExposeSecret;
use serde_json::Value;

/// Deadline of everything that is awaited: far beyond what a busy computer needs.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// App of the machines.
pub(crate) const APP: &str = "shop";

/// A stand-in with a client and the directory of its logs.
pub(crate) struct Bench {
    pub(crate) fly: Fly,
    pub(crate) client: reqwest::Client,
    pub(crate) folder: tempfile::TempDir,
}

impl Bench {
    pub(crate) async fn start() -> Self {
        Self::with(|options| options).await
    }

    pub(crate) async fn with(change: impl FnOnce(Options) -> Options) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let fly = Fly::start(change(Options::new(folder.path().join("logs")))).await.unwrap();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { fly, client, folder }
    }

    /// Returns a request with the token, to a path below the machines of the app.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}v1/apps/{APP}/machines{path}", self.fly.url());
        self.client.request(method, url).bearer_auth(self.fly.token().expose_secret())
    }

    /// Returns the status and the body of a GET.
    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        answer(self.request(Method::GET, path)).await
    }

    /// Sends a GET in the background.
    pub(crate) fn get_later(&self, path: &str) -> tokio::task::JoinHandle<(u16, Value)> {
        tokio::spawn(answer(self.request(Method::GET, path)))
    }

    /// Returns the status and the body of a POST without content.
    pub(crate) async fn post(&self, path: &str) -> (u16, Value) {
        answer(self.request(Method::POST, path)).await
    }

    /// Creates a stopped machine without a program.
    pub(crate) fn bare(&self) -> String {
        self.fly.create(MachineSpec::new(APP, "trainer"))
    }

    /// Creates a stopped machine that runs a script.
    pub(crate) fn script(&self, script: &str) -> String {
        self.fly.create(MachineSpec::running(APP, "trainer", Program::shell(script)))
    }

    pub(crate) async fn reached(&self, id: &str, state: MachineState) {
        self.fly.reached(id, state, SOON).await.unwrap();
    }
}

/// Returns the status and the JSON of an answer.
pub(crate) async fn answer(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    (status, response.json().await.unwrap())
}

/// Returns the error of a body.
pub(crate) fn error(body: &Value) -> &str {
    body["error"].as_str().unwrap()
}

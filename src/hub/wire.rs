//! HTTP calls to the Hub: the token, deadlines, and trying again.

use std::future::Future;
use std::time::Duration;

use hf_hub::{HFClient, HFRepository, RepoTypeModel};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use secrecy::ExposeSecret;
use serde::de::DeserializeOwned;
use url::Url;

use super::access::{HubAccess, Patience};
use super::error::HubError;
use crate::failure::chain;

const USER_AGENT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

/// The longest body of an error that is read, in bytes.
const ERROR_LIMIT: u64 = 16 * 1024;

/// The way to one repo.
pub(super) struct Wire {
    pub(super) access: HubAccess,
    pub(super) patience: Patience,
    pub(super) client: Client,
    authorization: Option<HeaderValue>,
}

impl Wire {
    pub(super) fn new(access: HubAccess, patience: Patience) -> Result<Self, HubError> {
        let authorization = match &access.token {
            Some(token) => {
                let header = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret()));
                // A token that fits no header can't be one the Hub gave out.
                let mut header = header.map_err(|_| HubError::Unauthorized { repo: access.repo.clone() })?;
                header.set_sensitive(true);
                Some(header)
            }
            None => None,
        };
        // No overall and no read time-out here: how long a file may take depends on its size, so whoever
        // moves one watches that it moves.
        let client = Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(patience.connect)
            .build()
            .map_err(HubError::connection)?;
        Ok(Self { access, patience, client, authorization })
    }

    /// The repo as `hf-hub` sees it. It tries each request once: trying again is this module's.
    pub(super) fn library(&self) -> Result<HFRepository<RepoTypeModel>, HubError> {
        let client = Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(self.patience.connect)
            .read_timeout(self.patience.idle)
            .build()
            .map_err(HubError::connection)?;
        let mut builder = HFClient::builder()
            .endpoint(self.access.endpoint.as_str().trim_end_matches('/'))
            .client(client)
            .cache_enabled(false)
            .retry_max_attempts(0);
        if let Some(token) = &self.access.token {
            builder = builder.token(token.expose_secret());
        }
        let repo = &self.access.repo;
        let client = builder.build().map_err(|error| HubError::library(error, &self.access, ""))?;
        Ok(client.model(repo.owner(), repo.name()))
    }

    /// A URL below the endpoint; each segment is encoded.
    pub(super) fn url<'a>(&self, segments: impl IntoIterator<Item = &'a str>) -> Url {
        let mut url = self.access.endpoint.clone();
        // Only a URL that can't be a base, such as `mailto:`, has no segments; asking it then fails.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    /// A URL of the repo's API: `/api/models/{owner}/{name}/..`.
    pub(super) fn api<'a>(&'a self, segments: impl IntoIterator<Item = &'a str>) -> Url {
        let repo = &self.access.repo;
        self.url(["api", "models", repo.owner(), repo.name()].into_iter().chain(segments))
    }

    /// Adds the token, but only towards the Hub itself: a link elsewhere must not get it.
    pub(super) fn authorized(&self, url: &Url, request: RequestBuilder) -> RequestBuilder {
        match &self.authorization {
            Some(header) if url.origin() == self.access.endpoint.origin() => {
                request.header(AUTHORIZATION, header)
            }
            _ => request,
        }
    }

    /// Sends a request once, and takes any status but success for an error.
    pub(super) async fn once(&self, request: RequestBuilder) -> Result<Response, HubError> {
        let limit = self.patience.answer;
        let sent = tokio::time::timeout(limit, request.send()).await;
        let response = sent.map_err(|_| HubError::TimedOut { limit })?.map_err(HubError::connection)?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(self.refusal(response).await)
    }

    /// What an answer without success says.
    async fn refusal(&self, response: Response) -> HubError {
        let status = response.status();
        if status == StatusCode::TOO_MANY_REQUESTS {
            return HubError::Limited { retry_after: retry_after(response.headers()) };
        }
        let header = |name: &str| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
        if status == StatusCode::NOT_FOUND && header("x-error-code").as_deref() == Some("EntryNotFound") {
            return HubError::NoFile { path: response.url().path().to_owned() };
        }
        let message = match header("x-error-message") {
            Some(message) => message,
            None => self.error_in_body(response).await.unwrap_or_default(),
        };
        HubError::status(status, &self.access.repo, &message)
    }

    /// The text of `{"error": ".."}`, where the header that repeats it is missing.
    async fn error_in_body(&self, response: Response) -> Option<String> {
        #[derive(serde::Deserialize)]
        struct Body {
            error: String,
        }
        // A page of a proxy in between may be long, and says nothing to us.
        if response.content_length().is_none_or(|length| length > ERROR_LIMIT) {
            return None;
        }
        self.read_json::<Body>("an error", response).await.ok().map(|body| body.error)
    }

    /// Sends a request, again while that may help, and reads the JSON of the answer.
    pub(super) async fn json<T: DeserializeOwned>(
        &self,
        what: &'static str,
        request: impl Fn() -> RequestBuilder,
    ) -> Result<T, HubError> {
        self.retried(what, || async {
            let response = self.once(request()).await?;
            self.read_json(what, response).await
        })
        .await
    }

    /// Reads the JSON of an answer.
    pub(super) async fn read_json<T: DeserializeOwned>(
        &self,
        what: &'static str,
        response: Response,
    ) -> Result<T, HubError> {
        let limit = self.patience.answer;
        let read = tokio::time::timeout(limit, response.bytes()).await;
        let bytes = read.map_err(|_| HubError::TimedOut { limit })?.map_err(HubError::connection)?;
        serde_json::from_slice(&bytes).map_err(|error| {
            tracing::debug!(what, %error, "the Hub's answer can't be read");
            HubError::Malformed { what }
        })
    }

    /// Runs a step, again while its failure is a passing one and patience lasts.
    pub(super) async fn retried<T, F, Step>(&self, what: &'static str, mut step: F) -> Result<T, HubError>
    where
        F: FnMut() -> Step,
        Step: Future<Output = Result<T, HubError>>,
    {
        let mut failures = 0;
        loop {
            let error = match step().await {
                Err(error) if error.passing() => error,
                done => return done,
            };
            failures += 1;
            self.pause(what, failures, error).await?;
        }
    }

    /// Waits after a failure, or gives it back when patience is at its end.
    pub(super) async fn pause(
        &self,
        what: &'static str,
        failures: u32,
        error: HubError,
    ) -> Result<(), HubError> {
        let Some(pause) = self.patience.pause_after(failures, error.asked_pause()) else {
            return Err(error);
        };
        let (pause_ms, error) = (pause.as_millis() as u64, chain(&error));
        tracing::warn!(what, failures, pause_ms, error, "hub step failed, trying again");
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

/// `Retry-After` in seconds; its other form, a date, is left to our own pauses.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

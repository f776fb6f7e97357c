//! HTTP calls to the Hub: the token, deadlines, and retries.

use std::future::Future;

use hf_hub::{HFClient, HFRepository, RepoTypeModel};
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use secrecy::ExposeSecret;
use serde::de::DeserializeOwned;
use url::Url;

use super::access::{HubAccess, RetryPolicy};
use super::error::HubError;
use super::limits::{ERROR_BYTES, JSON_BYTES};
use crate::answer::{AnswerError, read_body};
use crate::failure::chain;
use crate::retry::retry_after;

const USER_AGENT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

/// HTTP client for one repo.
pub(super) struct Wire {
    pub(super) access: HubAccess,
    pub(super) patience: RetryPolicy,
    pub(super) client: Client,
    authorization: Option<HeaderValue>,
}

impl Wire {
    pub(super) fn new(access: HubAccess, patience: RetryPolicy) -> Result<Self, HubError> {
        let authorization = match &access.token {
            Some(token) => {
                let header = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret()));
                // The Hub issues no token that is invalid in a header.
                let mut header = header.map_err(|_| HubError::Unauthorized {
                    repo: access.repo.clone(),
                    message: "HF_TOKEN has a character that no token has".to_owned(),
                })?;
                header.set_sensitive(true);
                Some(header)
            }
            None => None,
        };
        // This client has no overall timeout and no read timeout, because the time for a file
        // depends on its size. The code that transfers a file watches its progress instead.
        let client = Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(patience.connect)
            .build()
            .map_err(HubError::connection)?;
        Ok(Self { access, patience, client, authorization })
    }

    /// Returns `hf-hub`'s handle of the repo. The library makes each request only once, because
    /// this module owns all retries.
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

    /// Returns a URL below the endpoint. Encodes each segment.
    pub(super) fn url<'a>(&self, segments: impl IntoIterator<Item = &'a str>) -> Url {
        let mut url = self.access.endpoint.clone();
        // Only a URL that can't be a base, such as `mailto:`, has no segments. The request to it
        // fails later.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    /// Returns a URL of the repo's API: `/api/models/{owner}/{name}/..`.
    pub(super) fn api<'a>(&'a self, segments: impl IntoIterator<Item = &'a str>) -> Url {
        let repo = &self.access.repo;
        self.url(["api", "models", repo.owner(), repo.name()].into_iter().chain(segments))
    }

    /// Adds the token to a request to the Hub itself. No other origin may see the token.
    pub(super) fn authorized(&self, url: &Url, request: RequestBuilder) -> RequestBuilder {
        match &self.authorization {
            Some(header) if url.origin() == self.access.endpoint.origin() => {
                request.header(AUTHORIZATION, header)
            }
            _ => request,
        }
    }

    /// Sends a request once. Any status but success is an error.
    pub(super) async fn once(&self, request: RequestBuilder) -> Result<Response, HubError> {
        let limit = self.patience.answer;
        let sent = tokio::time::timeout(limit, request.send()).await;
        let response = sent.map_err(|_| HubError::TimedOut { limit })?.map_err(HubError::connection)?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(self.refusal(response).await)
    }

    /// Converts an error response.
    async fn refusal(&self, response: Response) -> HubError {
        let status = response.status();
        if status == StatusCode::TOO_MANY_REQUESTS {
            return HubError::Limited { retry_after: retry_after(response.headers()) };
        }
        let header = |name: &str| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
        if status == StatusCode::NOT_FOUND && header("x-error-code").as_deref() == Some("EntryNotFound") {
            return HubError::NoFile { path: response.url().path().to_owned() };
        }
        let code = header("x-error-code");
        let message = match header("x-error-message") {
            Some(message) => message,
            None => self.error_in_body(response).await.unwrap_or_default(),
        };
        HubError::status(status, &self.access.repo, code.as_deref(), &message)
    }

    /// Returns the text of `{"error": ".."}`, for a response without the header `x-error-message`.
    async fn error_in_body(&self, response: Response) -> Option<String> {
        #[derive(serde::Deserialize)]
        struct Body {
            error: String,
        }
        // The error page of a proxy may be long and has no useful message.
        let body = self.read("an error", response, ERROR_BYTES).await.ok()?;
        serde_json::from_slice::<Body>(&body).ok().map(|body| body.error)
    }

    /// Sends a request with retries and parses the JSON of the response.
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

    /// Parses the JSON of a response.
    pub(super) async fn read_json<T: DeserializeOwned>(
        &self,
        what: &'static str,
        response: Response,
    ) -> Result<T, HubError> {
        let body = self.read(what, response, JSON_BYTES).await?;
        serde_json::from_slice(&body).map_err(|error| {
            tracing::debug!(what, %error, "can't parse the Hub's response");
            HubError::Malformed { what }
        })
    }

    /// Reads a body of at most `max_bytes` within the time that an answer may take.
    pub(super) async fn read(
        &self,
        what: &'static str,
        response: Response,
        max_bytes: usize,
    ) -> Result<Vec<u8>, HubError> {
        let limit = self.patience.answer;
        let read = tokio::time::timeout(limit, read_body(response, max_bytes)).await;
        read.map_err(|_| HubError::TimedOut { limit })?.map_err(|error| match error {
            AnswerError::TooLarge { limit } => {
                tracing::debug!(what, limit, "the Hub's response is too large");
                HubError::Malformed { what }
            }
            AnswerError::Connection(error) => HubError::connection(error),
        })
    }

    /// Runs a step and retries transient failures until [`RetryPolicy::attempts`] is reached.
    pub(super) async fn retried<T, F, Step>(&self, what: &'static str, mut step: F) -> Result<T, HubError>
    where
        F: FnMut() -> Step,
        Step: Future<Output = Result<T, HubError>>,
    {
        let mut failures = 0;
        loop {
            let error = match step().await {
                Err(error) if error.is_transient() => error,
                done => return done,
            };
            failures += 1;
            self.pause(what, failures, error).await?;
        }
    }

    /// Waits for the backoff after a failure, or returns the error when no attempt is left.
    pub(super) async fn pause(
        &self,
        what: &'static str,
        failures: u32,
        error: HubError,
    ) -> Result<(), HubError> {
        let Some(pause) = self.patience.pause_after(failures, error.asked_pause(), rand::random()) else {
            return Err(error);
        };
        let (pause_ms, error) = (pause.as_millis() as u64, chain(&error));
        tracing::warn!(what, failures, pause_ms, error, "Hub step failed, retrying");
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

//! Requests to Fly's Machines API, each with a time limit and a size limit.
//!
//! Source of the routes: <https://fly.io/docs/machines/api/machines-resource/>.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::Url;

use super::FlyApp;
use super::machine::Machine;
use crate::answer::{AnswerError, read_body};
use crate::launcher::error::LaunchError;
use crate::retry::retry_after;
use crate::text::plain_line;

/// Time that one request may take.
const DEADLINE: Duration = Duration::from_secs(20);
/// Time that a machine has to reach a state; the longest that the API waits.
const WAIT: Duration = Duration::from_secs(60);
/// Largest answer that is read, in bytes. A machine takes a few kilobytes of a list.
const MAX_ANSWER_BYTES: usize = 4 << 20;
/// Longest part of an answer that is shown, in bytes.
const SHOWN: usize = 300;
/// Starts of messages that tell of missing capacity. They come with status 409, 412, 422 or 503.
const NO_CAPACITY: [&str; 3] = ["could not reserve resource", "insufficient", "no capacity"];

/// Client of the Machines API for one app.
#[derive(Debug)]
pub(super) struct MachinesApi {
    client: reqwest::Client,
    base: Url,
    token: SecretString,
    app: String,
}

/// Body of an answer that is an error.
#[derive(Debug, Default, Deserialize)]
struct ErrorBody {
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    message: Option<String>,
}

/// Answer to a start, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Started {
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    message: Option<String>,
}

impl MachinesApi {
    pub(super) fn new(app: &FlyApp) -> Result<Self, LaunchError> {
        let client = reqwest::Client::builder()
            .user_agent(concat!("autovalidate/", env!("CARGO_PKG_VERSION")))
            .timeout(DEADLINE)
            // The token belongs to this host only.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|source| LaunchError::Unreachable { source })?;
        Ok(Self { client, base: app.api.clone(), token: app.token.clone(), app: app.app.clone() })
    }

    /// Lists the machines of the app.
    pub(super) async fn list(&self) -> Result<Vec<Machine>, LaunchError> {
        let body = self.send(Method::GET, &["machines"], &[], DEADLINE).await?;
        serde_json::from_slice(&body).map_err(|error| LaunchError::Malformed { problem: error.to_string() })
    }

    /// Asks a machine to start. Harmless when it is started.
    pub(super) async fn start(&self, id: &str) -> Result<(), LaunchError> {
        let body = self.send(Method::POST, &["machines", id, "start"], &[], DEADLINE).await?;
        // A start that failed at once is told with status 200.
        match serde_json::from_slice::<Started>(&body) {
            Ok(Started { status: Some(status), message }) if status == "error" => {
                let message = message.unwrap_or_default();
                Err(refusal(StatusCode::CONFLICT, None, message.as_bytes()))
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Waits until a machine has reached a state. `instance_id` names its version, which the wait
    /// for a stop needs.
    pub(super) async fn wait(
        &self,
        id: &str,
        state: &str,
        instance_id: Option<&str>,
    ) -> Result<(), LaunchError> {
        let seconds = WAIT.as_secs().to_string();
        let mut query = vec![("state", state), ("timeout", seconds.as_str())];
        query.extend(instance_id.map(|instance_id| ("instance_id", instance_id)));
        let waited = self.send(Method::GET, &["machines", id, "wait"], &query, WAIT + DEADLINE).await;
        match waited {
            Ok(_) => Ok(()),
            Err(LaunchError::Refused { status, answer }) if status == StatusCode::REQUEST_TIMEOUT => {
                Err(LaunchError::Late { machine: id.to_owned(), answer })
            }
            // The machine has come to rest in another state, such as after a crash at its start.
            Err(LaunchError::Changing { answer }) => {
                Err(LaunchError::Late { machine: id.to_owned(), answer })
            }
            Err(error) => Err(error),
        }
    }

    async fn send(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        deadline: Duration,
    ) -> Result<Vec<u8>, LaunchError> {
        let failed = |source: reqwest::Error| LaunchError::Unreachable { source: source.without_url() };
        let malformed = |problem: &str| LaunchError::Malformed { problem: problem.to_owned() };
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| malformed("FLY_API_HOSTNAME can't have a path"))?
            .pop_if_empty()
            .extend(["v1", "apps", &self.app])
            .extend(path);
        let request = self
            .client
            .request(method, url)
            .query(query)
            .header(AUTHORIZATION, self.authorization()?)
            .timeout(deadline);
        let response = request.send().await.map_err(failed)?;
        let (status, asked) = (response.status(), retry_after(response.headers()));
        let body = read_body(response, MAX_ANSWER_BYTES).await.map_err(|error| match error {
            AnswerError::TooLarge { .. } => malformed("it is too large"),
            AnswerError::Connection(source) => LaunchError::Unreachable { source },
        })?;
        match status.is_success() {
            true => Ok(body),
            false => Err(refusal(status, asked, &body)),
        }
    }

    /// Returns the header with the token. Tokens that `fly` prints begin with their own scheme.
    fn authorization(&self) -> Result<HeaderValue, LaunchError> {
        let token = self.token.expose_secret().trim();
        let text = match token.split_once(' ') {
            Some(("FlyV1" | "Bearer", _)) => token.to_owned(),
            Some(_) | None => format!("Bearer {token}"),
        };
        let mut value = HeaderValue::from_str(&text).map_err(|_| LaunchError::Unauthorized {
            answer: "FLY_API_TOKEN holds a line break or another character that no token has".to_owned(),
        })?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// Returns the error for an answer that is not a success.
fn refusal(status: StatusCode, retry_after: Option<Duration>, body: &[u8]) -> LaunchError {
    let told: ErrorBody = serde_json::from_slice(body).unwrap_or_default();
    let text = told.error.or(told.message).unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
    let answer = plain_line(&text, SHOWN);
    let no_capacity = NO_CAPACITY.iter().any(|words| answer.contains(words));
    match status {
        StatusCode::UNAUTHORIZED => LaunchError::Unauthorized { answer },
        StatusCode::FORBIDDEN => LaunchError::Forbidden { answer },
        StatusCode::NOT_FOUND => LaunchError::NotFound { answer },
        StatusCode::TOO_MANY_REQUESTS => LaunchError::RateLimited { answer, retry_after },
        _ if no_capacity => LaunchError::NoCapacity { answer },
        StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED | StatusCode::LOCKED => {
            LaunchError::Changing { answer }
        }
        status if status.is_redirection() => {
            LaunchError::Malformed { problem: format!("it redirects to another address ({status})") }
        }
        status if status.is_server_error() => LaunchError::Server { status: status.as_u16(), answer },
        status => LaunchError::Refused { status: status.as_u16(), answer },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn told(status: u16, body: &str) -> LaunchError {
        refusal(StatusCode::from_u16(status).unwrap(), None, body.as_bytes())
    }

    /// Answers of the real service, from public reports.
    #[test]
    fn each_refusal_has_its_kind_and_keeps_the_services_sentence() {
        use LaunchError as E;
        let reserve = r#"{"error":"aborted: could not reserve resource for machine: insufficient memory available to fulfill request"}"#;
        assert!(
            matches!(told(409, reserve), E::NoCapacity { answer } if answer.starts_with("aborted: could not reserve"))
        );
        assert!(matches!(
            told(412, r#"{"error":"insufficient resources available to fulfill request"}"#),
            E::NoCapacity { .. }
        ));
        let created =
            r#"{"error":"failed_precondition: unable to start machine from current state: 'created'"}"#;
        assert!(matches!(told(412, created), E::Changing { answer } if answer.ends_with("'created'")));
        assert!(matches!(told(409, r#"{"error":"lease currently held by somebody"}"#), E::Changing { .. }));
        assert!(matches!(told(401, r#"{"error":"unauthorized"}"#), E::Unauthorized { .. }));
        assert!(matches!(told(403, r#"{"error":"unauthorized"}"#), E::Forbidden { .. }));
        assert!(matches!(told(404, r#"{"error":"app not found"}"#), E::NotFound { .. }));
        assert!(matches!(told(429, ""), E::RateLimited { .. }));
        assert!(
            matches!(told(500, "<html>oops</html>"), E::Server { status: 500, answer } if answer.contains("oops"))
        );
        assert!(matches!(told(422, "{}"), E::Refused { status: 422, .. }));
    }

    #[test]
    fn a_token_is_sent_as_fly_prints_it_or_as_a_bearer() {
        let header = |token: &str| {
            let app = FlyApp {
                api: Url::parse("http://127.0.0.1:9").unwrap(),
                token: SecretString::from(token.to_owned()),
                app: "a".to_owned(),
                group: None,
                own_machine: None,
            };
            MachinesApi::new(&app).unwrap().authorization().map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(header("FlyV1 fm2_abc").unwrap(), "FlyV1 fm2_abc");
        assert_eq!(header("fo1_abc\n").unwrap(), "Bearer fo1_abc");
        assert!(matches!(header("a\nb"), Err(LaunchError::Unauthorized { .. })));
    }

    proptest! {
        #[test]
        fn any_refusal_is_read_without_panic(status in 300_u16..600, body in prop::collection::vec(any::<u8>(), 0..600)) {
            let error = refusal(StatusCode::from_u16(status).unwrap(), None, &body);
            prop_assert!(error.to_string().chars().count() < SHOWN + 100);
        }
    }
}

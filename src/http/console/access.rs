//! Access to the console, and to everything else that is not for the public.
//!
//! Health, readiness and the hooks are open; a hook has a secret of its own. All other paths follow
//! the table:
//!
//! | `CONSOLE_TOKEN` | address | answer |
//! |---|---|---|
//! | not set | loopback | everything but the texts of pairs, for requests to a loopback name |
//! | not set | any other | 404, as if there were no console |
//! | set | any | a session, begun at `/login`, or `Authorization: Bearer` with the token |

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use jiff::Timestamp;
use secrecy::SecretString;

use super::session::{COOKIE, Sessions, is_same_secret};
use crate::http::Views;
use crate::ingest::webhook;

/// Paths that are open to everybody.
const OPEN: [&str; 4] = ["/healthz", "/readyz", webhook::PATH, "/hooks/tick"];
/// Paths that a person needs to log in.
const FOR_LOGIN: [&str; 2] = ["/login", "/console.css"];
/// Everything comes from this server, and nothing may frame or embed a page.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
                      img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Rules of access.
pub(super) struct Access {
    token: Option<SecretString>,
    loopback: bool,
    pub(super) sessions: Sessions,
}

/// Somebody who may see the console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Visitor {
    /// True when the visitor has shown the token, and so may see the texts of pairs.
    pub(super) logged_in: bool,
    /// Cookie of the session; empty without one.
    session: String,
    /// True for a script, which shows the token with each request and so needs no form token.
    script: bool,
}

/// Answer to a request of somebody else.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    NotFound,
    LogIn,
    WrongToken,
}

impl Access {
    /// Creates the rules of a server on this address.
    pub(super) fn new(token: Option<SecretString>, address: SocketAddr) -> Self {
        let sessions = Sessions::new(token.as_ref());
        Self { token, loopback: address.ip().is_loopback(), sessions }
    }

    /// Returns true when this is the token.
    pub(super) fn is_token(&self, given: &str) -> bool {
        self.token.as_ref().is_some_and(|token| is_same_secret(token, given))
    }

    fn visitor(&self, headers: &HeaderMap, now: Timestamp) -> Result<Visitor, Refusal> {
        if self.token.is_none() {
            // A page of another host whose name leads to this machine is not at a loopback name.
            let ours = self.loopback && is_loopback_name(headers);
            let visitor = Visitor { logged_in: false, session: String::new(), script: false };
            return ours.then_some(visitor).ok_or(Refusal::NotFound);
        }
        if let Some(given) = bearer(headers) {
            let visitor = Visitor { logged_in: true, session: String::new(), script: true };
            return self.is_token(given).then_some(visitor).ok_or(Refusal::WrongToken);
        }
        let session = cookie(headers).filter(|cookie| self.sessions.is_valid(cookie, now));
        let session = session.ok_or(Refusal::LogIn)?.to_owned();
        Ok(Visitor { logged_in: true, session, script: false })
    }

    /// Returns true when a form carries the visitor's token.
    pub(super) fn may_post(&self, visitor: &Visitor, form_token: &str) -> bool {
        visitor.script || self.sessions.is_form_token(&visitor.session, form_token)
    }

    /// Returns the token for the visitor's forms.
    pub(super) fn form_token(&self, visitor: &Visitor) -> String {
        self.sessions.form_token(&visitor.session)
    }

    /// Returns true when there is a token to log in with.
    pub(super) fn has_login(&self) -> bool {
        self.token.is_some()
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|cookies| cookies.split(';'));
    pairs.find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

fn is_loopback_name(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// Lets visitors pass, and adds the headers that keep pages from being embedded or stored.
pub(in crate::http) async fn guard(
    State(views): State<Arc<Views>>,
    mut request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path().to_owned();
    if OPEN.contains(&path.as_str()) {
        return next.run(request).await;
    }
    let access = &views.console.access;
    let response = match access.visitor(request.headers(), Timestamp::now()) {
        Ok(_) if is_of_another_site(&request) => {
            (StatusCode::FORBIDDEN, "a form of another site\n").into_response()
        }
        Ok(visitor) => {
            request.extensions_mut().insert(visitor);
            next.run(request).await
        }
        Err(Refusal::NotFound) => StatusCode::NOT_FOUND.into_response(),
        Err(Refusal::LogIn) if FOR_LOGIN.contains(&path.as_str()) && !is_of_another_site(&request) => {
            next.run(request).await
        }
        Err(Refusal::LogIn) if request.method() == Method::GET && wants_page(request.headers()) => {
            let wanted = request.uri().path_and_query().map_or("/", |wanted| wanted.as_str());
            let query: String = url::form_urlencoded::byte_serialize(wanted.as_bytes()).collect();
            Redirect::to(&format!("/login?next={query}")).into_response()
        }
        Err(Refusal::LogIn | Refusal::WrongToken) => {
            let ask = [(header::WWW_AUTHENTICATE, "Bearer")];
            (StatusCode::UNAUTHORIZED, ask, "log in, or send the token as Authorization: Bearer\n")
                .into_response()
        }
    };
    with_headers(response)
}

/// Returns true for a request by which a page of another site wants to change something.
fn is_of_another_site(request: &Request) -> bool {
    let site = request.headers().get("sec-fetch-site").map(HeaderValue::as_bytes);
    request.method() != Method::GET && matches!(site, Some(b"cross-site" | b"same-site"))
}

fn wants_page(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT).and_then(|accepted| accepted.to_str().ok());
    accepted.is_some_and(|accepted| accepted.contains("text/html"))
}

fn with_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    fn access(token: Option<&str>, address: &str) -> Access {
        Access::new(token.map(|token| SecretString::from(token.to_owned())), address.parse().unwrap())
    }

    #[test]
    fn without_a_token_only_loopback_is_served_and_only_under_its_own_name() {
        let now = Timestamp::UNIX_EPOCH;
        let host = |host: &str| headers(&[(header::HOST, host)]);
        for (address, name, served) in [
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "localhost", true),
            ("[::1]:80", "[::1]:80", true),
            ("127.0.0.1:80", "evil.example:80", false),
            ("127.0.0.1:80", "localhost.evil.example", false),
            ("0.0.0.0:80", "127.0.0.1:80", false),
            ("[::]:80", "localhost", false),
            ("192.168.0.7:80", "localhost", false),
        ] {
            let seen = access(None, address).visitor(&host(name), now);
            assert_eq!(seen.is_ok(), served, "{name} at {address}");
            assert!(seen.is_err() || !seen.unwrap().logged_in, "nobody is logged in without a token");
        }
        assert!(access(None, "127.0.0.1:80").visitor(&HeaderMap::new(), now).is_err());
    }

    #[test]
    fn with_a_token_a_session_or_the_token_itself_is_needed() {
        let (now, access) = (Timestamp::UNIX_EPOCH, access(Some("a-token-of-20-letters"), "127.0.0.1:80"));
        let visitor = |pairs: &[_]| access.visitor(&headers(pairs), now);
        assert_eq!(visitor(&[(header::HOST, "localhost")]), Err(Refusal::LogIn));
        assert_eq!(visitor(&[(header::AUTHORIZATION, "Bearer wrong")]), Err(Refusal::WrongToken));
        assert!(visitor(&[(header::AUTHORIZATION, "bearer a-token-of-20-letters")]).unwrap().script);
        let cookie = format!("other=1; {COOKIE}={}", access.sessions.begin(now));
        let person = visitor(&[(header::COOKIE, &cookie)]).unwrap();
        assert!(person.logged_in && !person.script);
        assert!(access.may_post(&person, &access.form_token(&person)) && !access.may_post(&person, ""));
        assert_eq!(visitor(&[(header::COOKIE, &format!("{COOKIE}=1.2"))]), Err(Refusal::LogIn));
    }
}

//! Login and logout.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use jiff::Timestamp;
use maud::html;

use super::form::{OwnForm, fields};
use super::layout::bare;
use super::session::{COOKIE, LIFETIME};
use crate::http::Views;

/// Shows the login page.
pub(super) async fn show(
    State(views): State<Arc<Views>>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    if !views.console.access.has_login() {
        return Redirect::to("/").into_response();
    }
    page(query.get("next").map_or("/", String::as_str), false).into_response()
}

/// Begins a session when the form has the token.
pub(super) async fn begin(State(views): State<Arc<Views>>, headers: HeaderMap, request: Request) -> Response {
    let fields = match fields(request).await {
        Ok(fields) => fields,
        Err(refused) => return refused,
    };
    let field = |name: &str| fields.get(name).map_or("", String::as_str);
    let access = &views.console.access;
    let next = own_path(field("next"));
    if !access.is_token(field("token")) {
        tracing::warn!("a login to the console was refused");
        return (StatusCode::UNAUTHORIZED, page(next, true)).into_response();
    }
    let cookie = cookie(&access.sessions.begin(Timestamp::now()), LIFETIME.as_secs(), &headers);
    ([(header::SET_COOKIE, cookie)], Redirect::to(next)).into_response()
}

/// Ends the session in this browser.
pub(super) async fn end(headers: HeaderMap, _form: OwnForm) -> Response {
    ([(header::SET_COOKIE, cookie("", 0, &headers))], Redirect::to("/login")).into_response()
}

/// Returns a cookie that no script can read and no other site can send. Behind a proxy with TLS it is
/// sent over TLS only.
fn cookie(value: &str, seconds: u64, headers: &HeaderMap) -> String {
    let tls = headers.get("x-forwarded-proto").is_some_and(|scheme| scheme == "https");
    let secure = if tls { "; Secure" } else { "" };
    format!("{COOKIE}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}")
}

/// Returns a path of this server: a login must not lead elsewhere.
fn own_path(next: &str) -> &str {
    let is_path = next.starts_with('/') && !next.starts_with("//");
    let plain = next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if is_path && plain { next } else { "/" }
}

fn page(next: &str, wrong: bool) -> maud::Markup {
    bare(
        "Log in",
        html! {
            form.card.login method="post" action="/login" {
                h1 { "AutoValidate" }
                @if wrong { p.alert role="alert" { strong { "That is not the token." } } }
                input type="hidden" name="next" value=(own_path(next));
                label for="token" { "Console token" }
                input #token type="password" name="token" required autocomplete="current-password" autofocus;
                p.hint { "The value of " code { "CONSOLE_TOKEN" } " on the worker." }
                button type="submit" { "Log in" }
            }
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_leads_to_a_page_of_this_server_only() {
        for own in ["/", "/runs?earlier=3", "/runs/pairs-1-2"] {
            assert_eq!(own_path(own), own);
        }
        for other in ["", "//evil.example", "https://evil.example", "/\\evil.example", "/a\r\nb", "runs"] {
            assert_eq!(own_path(other), "/", "{other:?}");
        }
    }
}

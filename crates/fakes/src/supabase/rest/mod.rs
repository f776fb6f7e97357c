//! PostgREST.
//!
//! ```text
//! request      checks that every request passes, in PostgREST's order
//! refusal      error answers
//! injected     answers of the fault switches
//! preferences  the header `Prefer`
//! media        the header `Accept`, and rows in the form that it asks for
//! payload      bodies of writes
//! read         GET and HEAD
//! insert       POST and PUT
//! change       PATCH and DELETE
//! ```

mod change;
mod injected;
mod insert;
mod media;
mod payload;
mod preferences;
mod read;
mod refusal;
mod request;

use std::sync::Arc;

use axum::Router;
use axum::extract::{OriginalUri, Path, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;

use super::Shared;
use super::gateway;
pub(super) use refusal::Refusal;
use refusal::error;

/// Returns the routes of the service.
pub(super) fn routes() -> Router<Arc<Shared>> {
    let table = get(read::read)
        .post(insert::post)
        .put(insert::put)
        .patch(change::patch)
        .delete(change::delete)
        .options(options)
        .fallback(unsupported);
    Router::new()
        .route("/rest/v1/{table}", table)
        .route("/rest/v1/rpc/{function}", get(function).post(function))
        .fallback(elsewhere)
}

/// Handles a browser's question about what it may send.
async fn options() -> Response {
    let headers = [
        (header::ALLOW, "OPTIONS,GET,HEAD,POST,PUT,PATCH,DELETE"),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET,HEAD,PUT,PATCH,POST,DELETE,OPTIONS,TRACE,CONNECT"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "*"),
    ];
    (StatusCode::OK, headers).into_response()
}

async fn unsupported(method: Method) -> Response {
    error(405, "PGRST117", &format!("Unsupported HTTP method: {method}")).into_response()
}

/// Handles a call of a function, of which this project has none.
async fn function(
    State(shared): State<Arc<Shared>>,
    method: Method,
    Path(function): Path<String>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
) -> Response {
    if let Err(refusal) = gateway::admit(&shared, &headers, uri.query().unwrap_or_default()) {
        return refusal.into_response();
    }
    let name = format!("{}.{function}", shared.options.schema);
    let text = format!("Could not find the function {name} without parameters in the schema cache");
    let unnamed = match method {
        Method::POST => " or with a single unnamed json/jsonb parameter",
        _ => "",
    };
    let details = format!(
        "Searched for the function {name} without parameters{unnamed}, but no matches were found in the schema \
         cache."
    );
    error(404, "PGRST202", &text).details(details).into_response()
}

/// Handles every other path.
async fn elsewhere(
    State(shared): State<Arc<Shared>>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
) -> Response {
    if !uri.path().starts_with("/rest/v1/") {
        return Refusal::gateway(404, json!({"message": "no Route matched with those values"}))
            .into_response();
    }
    match gateway::admit(&shared, &headers, uri.query().unwrap_or_default()) {
        Ok(_) => error(404, "PGRST125", "Invalid path specified in request URL").into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

/// Adds a header to an answer.
fn set(response: &mut Response, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

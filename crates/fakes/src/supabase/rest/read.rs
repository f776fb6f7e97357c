//! Reads: GET and HEAD.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::Response;

use super::super::Shared;
use super::super::query::content_range;
use super::refusal::{Refusal, error};
use super::request::{Parts, Request};
use super::{injected, set};

/// Handles `GET /rest/v1/<table>`.
pub(super) async fn read(
    State(shared): State<Arc<Shared>>,
    method: Method,
    Path(table): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    shared.reads.fetch_add(1, Ordering::Relaxed);
    let parts = Parts {
        table: &table,
        query: query.as_deref(),
        headers: &headers,
        profile: "accept-profile",
        ranged: method == Method::GET,
    };
    let request = match Request::begin(&shared, parts).await {
        Ok(request) => request,
        Err(response) => return response,
    };
    let answer = page(&request);
    request.end(answer).await
}

fn page(request: &Request<'_>) -> Result<Response, Refusal> {
    let shared = request.shared;
    request.table()?;
    let plan = request.plan()?;
    let media = request.media()?;
    request.check_reading()?;
    let counted = request.preferences.counts();
    let (page, total) = match request.sees_nothing() {
        true => (Vec::new(), 0),
        false => plan.read(&mut shared.table(), counted).map_err(|error| request.sql(error))?,
    };
    if shared.faults.statement_rows().is_some_and(|most| page.len() > most) {
        return Err(injected::cancelled());
    }
    media.check(page.len())?;
    let (offset, rows) = (request.window.offset, page.len());
    if counted && offset > total {
        let text = format!("An offset of {offset} was requested, but there are only {total} rows.");
        return Err(error(416, "PGRST103", "Requested range not satisfiable").details(text));
    }
    let status = if counted && rows < total { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    let body = media.write(plan.projection(), shared.cached(page));
    if shared.faults.answer_bytes().is_some_and(|most| body.len() > most) {
        return Ok(injected::page(413));
    }
    let mut response = media.answer(status, body);
    let range = content_range(offset, rows, counted.then_some(total));
    set(&mut response, header::CONTENT_RANGE, &range);
    request.preferences.confirm(&mut response, &["count", "handling"]);
    Ok(response)
}

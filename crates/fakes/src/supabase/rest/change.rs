//! Updates and deletions: PATCH and DELETE.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::super::Shared;
use super::super::postgres::sql_error::SqlError;
use super::super::query::{Plan, content_range};
use super::super::table::{Changes, Record, Table};
use super::media::Media;
use super::payload::Payload;
use super::refusal::Refusal;
use super::request::{Parts, Request};
use super::set;

/// Handles `PATCH /rest/v1/<table>?<conditions>` with an object of new values.
pub(super) async fn patch(
    State(shared): State<Arc<Shared>>,
    Path(table): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let request = match Request::begin(&shared, parts(&table, query.as_deref(), &headers)).await {
        Ok(request) => request,
        Err(response) => return response,
    };
    let answer = update(&request, &body);
    request.end(answer).await
}

fn update(request: &Request<'_>, body: &[u8]) -> Result<Response, Refusal> {
    let shared = request.shared;
    let payload = Payload::parse(request.headers, body, request.query.columns.as_deref())?;
    let name = request.table()?;
    payload.check(name)?;
    let (plan, media) = (request.plan()?, request.media()?);
    let mut rows = Vec::new();
    // Without a column to write, nothing happens, and there is no statement to refuse.
    if !payload.is_empty() {
        check_conditions(request, "UPDATE")?;
        let defaults = request.preferences.is("missing", "default");
        let records = payload.records(&shared.columns(), defaults).map_err(|error| request.sql(error))?;
        if let Some(values) = records.into_iter().next() {
            rows = change(request, &plan, media, |table, numbers| table.plan_update(name, numbers, &values))?;
        }
    } else {
        media.check(0)?;
    }
    let total = request.preferences.counts_changes().then_some(rows.len());
    let range = content_range(0, rows.len(), total);
    changed(request, &plan, media, &rows, &range, &["missing", "return", "count", "handling", "max-affected"])
}

/// Handles `DELETE /rest/v1/<table>?<conditions>`.
pub(super) async fn delete(
    State(shared): State<Arc<Shared>>,
    Path(table): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let request = match Request::begin(&shared, parts(&table, query.as_deref(), &headers)).await {
        Ok(request) => request,
        Err(response) => return response,
    };
    let answer = remove(&request);
    request.end(answer).await
}

fn remove(request: &Request<'_>) -> Result<Response, Refusal> {
    request.table()?;
    let (plan, media) = (request.plan()?, request.media()?);
    check_conditions(request, "DELETE")?;
    let rows = change(request, &plan, media, |_, numbers| Ok(Table::plan_delete(numbers)))?;
    let total = request.preferences.counts_changes().then_some(rows.len());
    let range = content_range(0, 0, total);
    changed(request, &plan, media, &rows, &range, &["return", "count", "handling", "max-affected"])
}

fn parts<'a>(table: &'a str, query: Option<&'a str>, headers: &'a HeaderMap) -> Parts<'a> {
    Parts { table, query, headers, profile: "content-profile", ranged: false }
}

/// Refuses a change of the whole table, as hosted projects do.
fn check_conditions(request: &Request<'_>, statement: &str) -> Result<(), Refusal> {
    match request.query.is_conditional() {
        true => Ok(()),
        false => Err(request.sql(SqlError::new("21000", format!("{statement} requires a WHERE clause")))),
    }
}

/// Changes the rows that the query selects and the role may change, as one transaction. Row-level
/// security without a policy shows the role no row to change, and is no error.
fn change(
    request: &Request<'_>,
    plan: &Plan,
    media: Media,
    prepare: impl FnOnce(&Table, Vec<i64>) -> Result<Changes, SqlError>,
) -> Result<Vec<Record>, Refusal> {
    request.check_reading()?;
    request.shared.change(|table, at| {
        let hidden = request.changes_nothing() || request.sees_nothing();
        let numbers = if hidden { Ok(Vec::new()) } else { plan.selected(table) };
        let changes =
            numbers.and_then(|numbers| prepare(table, numbers)).map_err(|error| request.sql(error))?;
        media.check(changes.len())?;
        request.preferences.check_affected(changes.len())?;
        Ok(table.apply(changes, at))
    })
}

fn changed(
    request: &Request<'_>,
    plan: &Plan,
    media: Media,
    rows: &[Record],
    range: &str,
    preferences: &[&str],
) -> Result<Response, Refusal> {
    let mut response = match request.preferences.is("return", "representation") {
        true => {
            let rows = plan.project(rows).map_err(|error| request.sql(error))?;
            media.answer(StatusCode::OK, media.write(plan.projection(), rows))
        }
        false => StatusCode::NO_CONTENT.into_response(),
    };
    set(&mut response, header::CONTENT_RANGE, range);
    request.preferences.confirm(&mut response, preferences);
    Ok(response)
}

//! Inserts: POST, with or without treatment of ids that are taken, and PUT.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::super::Shared;
use super::super::postgres::column::has_column;
use super::super::postgres::primary_key::Key;
use super::super::postgres::sql_error::SqlError;
use super::super::query::content_range;
use super::super::table::{NewRow, OnConflict, Record, Table};
use super::payload::Payload;
use super::refusal::{Refusal, error};
use super::request::{Parts, Request};
use super::set;

/// Handles `POST /rest/v1/<table>` with one object or an array of objects, as one transaction.
pub(super) async fn post(
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
    let answer = insert(&request, &body).await;
    request.end(answer).await
}

async fn insert(request: &Request<'_>, body: &[u8]) -> Result<Response, Refusal> {
    let shared = request.shared;
    let payload = Payload::parse(request.headers, body, request.query.columns.as_deref())?;
    let name = request.table()?;
    payload.check(name)?;
    let plan = if returns(request) { Some(request.plan()?) } else { None };
    let media = request.media()?;
    let merges = request.preferences.is("resolution", "merge-duplicates");
    let conflict = match request.preferences.is("resolution", "ignore-duplicates") {
        true => OnConflict::Ignore,
        // Without a column, there is nothing to update.
        false if merges && payload.is_empty() => OnConflict::Ignore,
        false if merges => OnConflict::Merge,
        false => OnConflict::Refuse,
    };
    check_target(request, conflict)?;
    check_role(request, name)?;
    let defaults = request.preferences.is("missing", "default");
    let records = payload.records(&shared.columns(), defaults).map_err(|error| request.sql(error))?;
    let rows = numbered(shared, records);
    // The ids are already taken, so a longer transaction commits after ones with higher ids.
    tokio::time::sleep(shared.faults.commit_delay().mul_f64(rand::random())).await;
    let checks = |rows| media.check(rows);
    let (rows, inserted) = write(request, name, rows, conflict, checks)?;

    let status = if inserted == 0 && merges { StatusCode::OK } else { StatusCode::CREATED };
    let mut response = match plan.filter(|_| request.preferences.is("return", "representation")) {
        Some(plan) => {
            let rows = plan.project(&rows).map_err(|error| request.sql(error))?;
            media.answer(status, media.write(plan.projection(), rows))
        }
        None => status.into_response(),
    };
    if let ([row], true) = (rows.as_slice(), request.preferences.is("return", "headers-only"))
        && let Some(id) = Key::of(&row["id"])
    {
        let id: String = url::form_urlencoded::byte_serialize(id.text().as_bytes()).collect();
        set(&mut response, header::LOCATION, &format!("/{name}?id=eq.{id}"));
    }
    let total = request.preferences.counts_changes().then_some(rows.len());
    set(&mut response, header::CONTENT_RANGE, &content_range(0, 0, total));
    let kinds = ["resolution", "missing", "return", "count", "handling"];
    request.preferences.confirm(&mut response, &kinds);
    Ok(response)
}

/// Handles `PUT /rest/v1/<table>?id=eq.<id>` with one object that has all columns.
pub(super) async fn put(
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
    let answer = place(&request, &body);
    request.end(answer).await
}

fn place(request: &Request<'_>, body: &[u8]) -> Result<Response, Refusal> {
    let shared = request.shared;
    if request.window.limit.is_some() || request.window.offset > 0 {
        let text = "limit/offset querystring parameters are not allowed for PUT";
        return Err(error(400, "PGRST114", text));
    }
    let payload = Payload::parse(request.headers, body, None)?;
    let name = request.table()?;
    if !request.query.is_one_id() {
        let text = "Filters must include all and only primary key columns with 'eq' operators";
        return Err(error(405, "PGRST105", text));
    }
    payload.check(name)?;
    let plan = request.plan()?;
    let media = request.media()?;
    check_role(request, name)?;
    let records = payload.records(&shared.columns(), false).map_err(|error| request.sql(error))?;
    let mismatch = || error(400, "PGRST115", "Payload values do not match URL in primary key column(s)");
    if records.len() != 1 || !records.iter().all(|record| plan.matches(record)) {
        return Err(mismatch());
    }
    let rows = numbered(shared, records);
    let (rows, inserted) = write(request, name, rows, OnConflict::Merge, |_| Ok(()))?;
    let mut response = match request.preferences.is("return", "representation") {
        true => {
            let status = if inserted > 0 { StatusCode::CREATED } else { StatusCode::OK };
            let rows = plan.project(&rows).map_err(|error| request.sql(error))?;
            media.answer(status, media.write(plan.projection(), rows))
        }
        false => StatusCode::NO_CONTENT.into_response(),
    };
    request.preferences.confirm(&mut response, &["return", "count", "handling"]);
    Ok(response)
}

fn parts<'a>(table: &'a str, query: Option<&'a str>, headers: &'a HeaderMap) -> Parts<'a> {
    Parts { table, query, headers, profile: "content-profile", ranged: false }
}

/// Returns true when the answer tells of the rows.
fn returns(request: &Request<'_>) -> bool {
    let returned = |value| request.preferences.is("return", value);
    returned("representation") || returned("headers-only")
}

/// Checks the columns whose values must be new: only the primary key has an index that tells.
fn check_target(request: &Request<'_>, conflict: OnConflict) -> Result<(), Refusal> {
    let Some(columns) = request.query.on_conflict.as_ref().filter(|_| conflict != OnConflict::Refuse) else {
        return Ok(());
    };
    if let Some(name) = columns.iter().find(|name| !has_column(name)) {
        return Err(request.sql(SqlError::new("42703", format!("column \"{name}\" does not exist"))));
    }
    match columns.iter().all(|name| name == "id") {
        true => Ok(()),
        false => {
            let text = "there is no unique or exclusion constraint matching the ON CONFLICT specification";
            Err(request.sql(SqlError::new("42P10", text)))
        }
    }
}

/// Checks that the role may insert, and read what it inserts when that is returned.
fn check_role(request: &Request<'_>, table: &str) -> Result<(), Refusal> {
    if !returns(request) {
        return Ok(());
    }
    request.check_reading()?;
    match request.sees_nothing() {
        true => Err(request.sql(SqlError::policy(table, ""))),
        false => Ok(()),
    }
}

/// Takes a number from the sequence for each row that does not choose one.
fn numbered(shared: &Shared, records: Vec<Record>) -> Vec<NewRow> {
    let mut table = shared.table();
    let number = |values: Record, table: &mut Table| {
        let number = values.get("id").and_then(Value::as_i64).unwrap_or_else(|| table.reserve());
        NewRow { number, values }
    };
    records.into_iter().map(|values| number(values, &mut table)).collect()
}

/// Writes rows as one transaction, unless `check` refuses their number. Returns the rows, and the number of
/// those that are new.
fn write(
    request: &Request<'_>,
    name: &str,
    rows: Vec<NewRow>,
    conflict: OnConflict,
    check: impl FnOnce(usize) -> Result<(), Refusal>,
) -> Result<(Vec<Record>, usize), Refusal> {
    request.shared.change(|table, at| {
        let changes = table.plan_insert(name, rows, conflict, at).map_err(|error| request.sql(error))?;
        let inserted = changes.inserts();
        if changes.len() > inserted && request.changes_nothing() {
            return Err(request.sql(SqlError::policy(name, " (USING expression)")));
        }
        check(changes.len())?;
        Ok((table.apply(changes, at), inserted))
    })
}

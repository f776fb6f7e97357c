//! PostgREST: reads and inserts over HTTP.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::{Body, Bytes};
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::Shared;
use super::faults::RestFault;
use super::filter::QueryError;
use super::keys::Role;
use super::primary_key::Key;
use super::query::Query;
use super::table::{Record, has_column};

/// Handles `GET /rest/v1/<table>`.
pub(super) async fn read(
    State(shared): State<Arc<Shared>>,
    Path(table): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    shared.reads.fetch_add(1, Ordering::Relaxed);
    answer(&shared, &table, &headers, "accept-profile", async |role| {
        if role == Role::Anon && shared.faults.revoked() {
            return Err(error(
                401,
                "42501",
                &format!("permission denied for table {}", shared.options.table),
            ));
        }
        let query = parsed(&shared, query.as_deref())?;
        let hidden = role == Role::Anon && shared.faults.rows_hidden();
        let counted = prefers(&headers, "count=exact");
        let max_rows = shared.options.max_rows;
        let (page, total) = match hidden {
            true => (Vec::new(), 0),
            false => query.read(&mut shared.table(), max_rows, counted),
        };
        if shared.faults.statement_rows().is_some_and(|most| page.len() > most) {
            return Err(cancelled());
        }
        if counted && query.offset > 0 && query.offset >= total {
            return Err(error(416, "PGRST103", "Requested range not satisfiable"));
        }
        let span = match page.len() {
            0 => "*".to_owned(),
            length => format!("{}-{}", query.offset, query.offset + length - 1),
        };
        let status = if counted && page.len() < total { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
        let total = if counted { total.to_string() } else { "*".to_owned() };
        let page = shared.cached(page);
        if shared.faults.answer_bytes().is_some_and(|most| json!(page).to_string().len() > most) {
            return Ok(gateway_page(413));
        }
        let mut response = rows_body(status, page, &headers)?;
        if let Ok(range) = HeaderValue::from_str(&format!("{span}/{total}")) {
            response.headers_mut().insert(header::CONTENT_RANGE, range);
        }
        Ok(response)
    })
    .await
}

/// Handles `POST /rest/v1/<table>` with one object or an array of objects, as one transaction.
pub(super) async fn write(
    State(shared): State<Arc<Shared>>,
    Path(table): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    answer(&shared, &table, &headers, "content-profile", async |_| {
        let selected = parsed(&shared, query.as_deref())?;
        let records = records(&shared, &body, columns(query.as_deref().unwrap_or_default()))?;
        let mut rows = Vec::with_capacity(records.len());
        for record in records {
            let values = as_columns(&shared, record)?;
            let number = values.get("id").and_then(Value::as_i64);
            rows.push((number.unwrap_or_else(|| shared.table().reserve()), values));
        }
        // The ids are already taken, so a longer transaction commits after ones with higher ids.
        tokio::time::sleep(shared.faults.commit_delay().mul_f64(rand::random())).await;
        let duplicate = || error(409, "23505", "duplicate key value violates unique constraint");
        let inserted = shared.commit_all(rows).ok_or_else(duplicate)?;
        if prefers(&headers, "return=representation") {
            let rows = inserted.iter().map(|row| selected.project(row)).collect();
            return rows_body(StatusCode::CREATED, rows, &headers);
        }
        let mut response = StatusCode::CREATED.into_response();
        if let ([row], true) = (inserted.as_slice(), prefers(&headers, "return=headers-only"))
            && let Some(id) = Key::of(&row["id"])
            && let Ok(place) = HeaderValue::from_str(&format!("/{table}?id=eq.{}", encoded(&id.text())))
        {
            response.headers_mut().insert(header::LOCATION, place);
        }
        Ok(response)
    })
    .await
}

/// Parses `columns=..` of a bulk insert: the keys to read from each object. Other keys are ignored.
fn columns(query: &str) -> Option<Vec<String>> {
    let parameter = url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == "columns");
    let names = parameter?.1;
    Some(names.split(',').map(|name| name.trim().trim_matches('"').to_owned()).collect())
}

/// Parses the objects of a write's body.
pub(super) fn records(
    shared: &Shared,
    body: &[u8],
    columns: Option<Vec<String>>,
) -> Result<Vec<Record>, Refusal> {
    let mut records = match serde_json::from_slice(body) {
        Ok(Value::Object(record)) => vec![record],
        Ok(Value::Array(items)) => items.into_iter().map(object).collect::<Result<_, _>>()?,
        _ => return Err(error(400, "PGRST102", "Empty or invalid json")),
    };
    match &columns {
        Some(columns) => {
            for record in &mut records {
                record.retain(|name, _| columns.contains(name));
            }
        }
        None => {
            let keys = |record: &Record| record.keys().cloned().collect::<BTreeSet<_>>();
            if records.windows(2).any(|pair| keys(&pair[0]) != keys(&pair[1])) {
                return Err(error(400, "PGRST102", "All object keys must match"));
            }
        }
    }
    let named = columns.iter().flatten().chain(records.iter().flat_map(Map::keys));
    if let Some(unknown) = named.into_iter().find(|name| !has_column(name)) {
        let table = &shared.options.table;
        let text = format!("Could not find the '{unknown}' column of '{table}' in the schema cache");
        return Err(error(400, "PGRST204", &text));
    }
    Ok(records)
}

/// Handles a request: applies the injected faults, checks the key, schema, and table, then calls
/// `work`.
pub(super) async fn answer(
    shared: &Shared,
    table: &str,
    headers: &HeaderMap,
    profile: &str,
    work: impl AsyncFnOnce(Role) -> Result<Response, Refusal>,
) -> Response {
    tokio::time::sleep(shared.faults.rest_latency()).await;
    let fault = shared.faults.take_rest();
    match fault {
        Some(RestFault::Status(status)) => return injected(status),
        Some(RestFault::Html(status)) => return gateway_page(status),
        Some(RestFault::StatementTimeout) => return cancelled().into_response(),
        Some(RestFault::Truncated) | None => {}
    }
    let allowed = role(shared, headers).and_then(|role| {
        let asked = text(headers, profile).unwrap_or("public");
        if asked != shared.options.schema {
            return Err(error(406, "PGRST106", "Invalid schema"));
        }
        if table != shared.options.table {
            let text = format!("Could not find the table '{asked}.{table}' in the schema cache");
            return Err(error(404, "PGRST205", &text));
        }
        Ok(role)
    });
    let response = match allowed {
        Ok(role) => work(role).await,
        Err(refusal) => Err(refusal),
    };
    let response = response.unwrap_or_else(Refusal::into_response);
    if fault == Some(RestFault::Truncated) { truncated(response).await } else { response }
}

/// Returns the role of a request. `apikey` must be one of our keys. `Authorization`, when present,
/// must be one of our tokens; a newer key there must equal `apikey`. A legacy key without
/// `Authorization` runs as `anon`.
fn role(shared: &Shared, headers: &HeaderMap) -> Result<Role, Refusal> {
    let unauthorized =
        |message: &str, hint: &str| Refusal { status: 401, body: json!({"message": message, "hint": hint}) };
    let key = text(headers, "apikey").ok_or_else(|| {
        unauthorized("No API key found in request", "No 'apikey' request header or url param was found.")
    })?;
    let of_key = shared.keys.role(key).ok_or_else(|| {
        unauthorized("Invalid API key", "Double check your Supabase `anon` or `service_role` API key.")
    })?;
    match text(headers, "authorization").map(|value| value.strip_prefix("Bearer ").unwrap_or(value)) {
        None if key.starts_with("sb_") => Ok(of_key),
        None => Ok(Role::Anon),
        Some(token) if token == key => Ok(of_key),
        Some(token) if token.starts_with("sb_") => {
            Err(error(401, "PGRST301", "Expected 3 parts in JWT; got 1"))
        }
        Some(token) => {
            shared.keys.role(token).ok_or_else(|| error(401, "PGRST301", "No suitable key was found"))
        }
    }
}

/// Parses the part of a URL after `?`.
pub(super) fn parsed(shared: &Shared, query: Option<&str>) -> Result<Query, Refusal> {
    let id_type = shared.options.id_type;
    Query::parse(id_type, query.unwrap_or_default()).map_err(|error| refused(shared, &error))
}

fn refused(shared: &Shared, query: &QueryError) -> Refusal {
    match query {
        QueryError::Parse(text) => error(400, "PGRST100", text),
        QueryError::Column(name) => {
            error(400, "42703", &format!("column {}.{name} does not exist", shared.options.table))
        }
        QueryError::Literal { kind, text } => {
            let code = if *kind == shared.options.id_type.name() { "22P02" } else { "22007" };
            error(400, code, &format!("invalid input syntax for type {kind}: \"{text}\""))
        }
    }
}

fn object(item: Value) -> Result<Record, Refusal> {
    match item {
        Value::Object(record) => Ok(record),
        _ => Err(error(400, "PGRST102", "Empty or invalid json")),
    }
}

/// Converts the JSON values of a row to values of its columns, as PostgreSQL does: whatever is no
/// string becomes a text, which an id then must be able to be read from.
pub(super) fn as_columns(shared: &Shared, record: Record) -> Result<Record, Refusal> {
    let id_type = shared.options.id_type;
    let value = |(name, value): (String, Value)| {
        let value = match value {
            Value::Null if name == "id" => {
                let relation = &shared.options.table;
                let text = format!(
                    "null value in column \"id\" of relation \"{relation}\" violates not-null constraint"
                );
                return Err(error(400, "23502", &text));
            }
            id if name == "id" => match id_type.read_value(&id) {
                Some(key) => key.value(),
                None => {
                    let text = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
                    return Err(refused(shared, &QueryError::Literal { kind: id_type.name(), text }));
                }
            },
            value @ (Value::Null | Value::String(_)) => value,
            other => Value::String(other.to_string()),
        };
        Ok((name, value))
    };
    record.into_iter().map(value).collect()
}

fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// An error response.
pub(super) struct Refusal {
    status: u16,
    body: Value,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        json_body(status, &self.body)
    }
}

pub(super) fn error(status: u16, code: &str, message: &str) -> Refusal {
    Refusal { status, body: json!({"code": code, "message": message, "details": null, "hint": null}) }
}

fn cancelled() -> Refusal {
    error(500, "57014", "canceling statement due to statement timeout")
}

fn injected(status: u16) -> Response {
    let code = match status {
        401 => "PGRST301",
        503 => "PGRST001",
        _ => "",
    };
    let mut response = error(status, code, "injected").into_response();
    if status == 429 || status == 503 {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

fn gateway_page(status: u16) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    (status, [(header::CONTENT_TYPE, "text/html")], "<html><title>Bad gateway</title></html>").into_response()
}

fn json_body(status: StatusCode, body: &Value) -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json; charset=utf-8")];
    (status, kind, body.to_string()).into_response()
}

/// Returns rows in the form that the client accepts: an array, or a single object.
pub(super) fn rows_body(
    status: StatusCode,
    rows: Vec<Record>,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    if !text(headers, "accept").is_some_and(|kinds| kinds.contains("application/vnd.pgrst.object")) {
        return Ok(json_body(status, &json!(rows)));
    }
    match <[Record; 1]>::try_from(rows) {
        Ok([row]) => Ok(json_body(status, &Value::Object(row))),
        Err(rows) => {
            let text = "Cannot coerce the result to a single JSON object";
            let mut refusal = error(406, "PGRST116", text);
            refusal.body["details"] = format!("The result contains {} rows", rows.len()).into();
            Err(refusal)
        }
    }
}

/// Returns half of the body, as when a proxy cuts the response but closes the connection cleanly.
async fn truncated(response: Response) -> Response {
    let (parts, body) = response.into_parts();
    let whole = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    Response::from_parts(parts, Body::from(whole.slice(..whole.len() / 2)))
}

pub(super) fn prefers(headers: &HeaderMap, preference: &str) -> bool {
    let values = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|value| value.trim() == preference)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

//! PostgREST: updates and deletes over HTTP.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Shared;
use super::keys::Role;
use super::query::Query;
use super::rest::{Refusal, answer, as_columns, error, parsed, prefers, records, rows_body};
use super::table::Record;

/// Handles `PATCH /rest/v1/<table>?<conditions>` with an object of new values.
pub(super) async fn patch(
    State(shared): State<Arc<Shared>>,
    Path(table): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    answer(&shared, &table, &headers, "content-profile", async |role| {
        let query = conditions(&shared, query.as_deref(), "UPDATE")?;
        let values = match <[Record; 1]>::try_from(records(&shared, &body, None)?) {
            Ok([values]) => as_columns(&shared, values)?,
            Err(_) => return Err(error(400, "PGRST102", "Empty or invalid json")),
        };
        let rows = changeable(&shared, &query, role);
        let changed = shared.change(|table, at| {
            rows.into_iter().filter_map(|row| table.update(row, &values, at)).collect::<Vec<_>>()
        });
        changed_body(&query, changed, &headers)
    })
    .await
}

/// Handles `DELETE /rest/v1/<table>?<conditions>`.
pub(super) async fn delete(
    State(shared): State<Arc<Shared>>,
    Path(table): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    answer(&shared, &table, &headers, "content-profile", async |role| {
        let query = conditions(&shared, query.as_deref(), "DELETE")?;
        let rows = changeable(&shared, &query, role);
        let deleted = shared
            .change(|table, at| rows.into_iter().filter_map(|row| table.delete(row, at)).collect::<Vec<_>>());
        changed_body(&query, deleted, &headers)
    })
    .await
}

/// Parses the query. Hosted projects refuse a change of the whole table.
fn conditions(shared: &Shared, query: Option<&str>, statement: &str) -> Result<Query, Refusal> {
    let query = parsed(shared, query)?;
    match query.is_conditional() {
        true => Ok(query),
        false => Err(error(400, "21000", &format!("{statement} requires a WHERE clause"))),
    }
}

/// Returns the numbers of the rows that the query selects and the role may change. Row-level security
/// without a policy shows the `anon` role no row to change, and is no error.
fn changeable(shared: &Shared, query: &Query, role: Role) -> Vec<i64> {
    if role == Role::Anon && shared.options.row_level_security {
        return Vec::new();
    }
    query.selected(&shared.table())
}

fn changed_body(query: &Query, rows: Vec<Record>, headers: &HeaderMap) -> Result<Response, Refusal> {
    let count = prefers(headers, "count=exact").then(|| rows.len().to_string());
    let mut response = match prefers(headers, "return=representation") {
        true => {
            let rows = rows.iter().map(|row| query.project(row)).collect();
            rows_body(StatusCode::OK, rows, headers)?
        }
        false => StatusCode::NO_CONTENT.into_response(),
    };
    let range = format!("*/{}", count.as_deref().unwrap_or("*"));
    if let Ok(range) = HeaderValue::from_str(&range) {
        response.headers_mut().insert(header::CONTENT_RANGE, range);
    }
    Ok(response)
}

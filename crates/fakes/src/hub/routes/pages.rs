//! Lists in pages. The header `Link` of a page holds the address of the next one.

use axum::Json;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use url::Url;

/// Answers with the entries from `start` on, at most `size` of them. `next` is the address of the
/// list, to which this adds the query of the next page under the name `cursor`.
pub(super) fn page<T: Serialize>(
    entries: &[T],
    start: usize,
    size: usize,
    mut next: Url,
    cursor: (&str, usize),
) -> Response {
    let page: Vec<_> = entries.iter().skip(start).take(size).collect();
    let more = start.saturating_add(page.len()) < entries.len();
    let mut response = Json(page).into_response();
    if more {
        next.query_pairs_mut()
            .append_pair("limit", &size.to_string())
            .append_pair(cursor.0, &cursor.1.to_string());
        if let Ok(value) = HeaderValue::from_str(&format!("<{next}>; rel=\"next\"")) {
            response.headers_mut().insert(header::LINK, value);
        }
    }
    response
}

/// Returns the address of a repo's list: `base` and the segments, each encoded.
pub(super) fn address<'a>(base: &Url, segments: impl IntoIterator<Item = &'a str>) -> Url {
    let mut url = base.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
    url
}

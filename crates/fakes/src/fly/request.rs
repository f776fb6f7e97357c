//! Parts of a request that several routes read: the path, the nonce of a lease, and the body.

use axum::extract::Path;
use axum::http::HeaderMap;
use bytes::Bytes;
use serde::Deserialize;

use super::refusal::Refusal;

/// Header that carries the nonce of a lease.
const NONCE: &str = "fly-machine-lease-nonce";

/// Path of a request to a machine: the app and the machine's id.
pub(super) type MachinePath = Path<(String, String)>;

/// Returns the nonce that the request carries.
pub(super) fn nonce(headers: &HeaderMap) -> Option<&str> {
    headers.get(NONCE).and_then(|value| value.to_str().ok()).filter(|nonce| !nonce.is_empty())
}

/// Parses a body that may be absent.
///
/// # Errors
/// 400 when the body is there and has another form.
pub(super) fn body<'a, T: Deserialize<'a> + Default>(body: &'a Bytes) -> Result<T, Refusal> {
    if body.trim_ascii().is_empty() {
        return Ok(T::default());
    }
    let parsed = serde_json::from_slice::<Option<T>>(body);
    parsed.map(Option::unwrap_or_default).map_err(|error| Refusal::invalid(format!("json: {error}")))
}

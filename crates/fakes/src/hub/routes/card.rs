//! Check of a model card's metadata. The Python client calls this route before it commits a README.

use std::sync::Arc;

use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;

use crate::hub::card::{self, Verdict};
use crate::hub::refusal::Refusal;
use crate::hub::state::State;

/// Largest card that this route reads, in bytes.
const BODY_LIMIT: usize = 4 * 1024 * 1024;
const HELP: &str = "https://huggingface.co/docs/hub/model-cards#model-card-metadata";

pub(super) fn router() -> Router<Arc<State>> {
    Router::new().route("/api/validate-yaml", post(validate))
}

#[derive(Deserialize)]
struct Card {
    content: String,
}

/// Answers anybody, in JSON or, for clients that ask for it, in plain text.
async fn validate(request: Request) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    let starts = |name, start: &str| {
        parts.headers.get(name).is_some_and(|value| value.as_bytes().starts_with(start.as_bytes()))
    };
    let plain = starts(header::ACCEPT, "text/plain");
    let is_form = starts(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    let bytes = to_bytes(body, BODY_LIMIT)
        .await
        .map_err(|_| Refusal::bad_request("the body is incomplete or too long"))?;
    let content = if is_form {
        url::form_urlencoded::parse(&bytes)
            .find(|(key, _)| key == "content")
            .map(|(_, card)| card.into_owned())
    } else {
        serde_json::from_slice(&bytes).ok().map(|card: Card| card.content)
    };
    let content = content.ok_or_else(|| Refusal::bad_request("\"content\" is required"))?;
    let Verdict { errors, warnings } = card::check(&content);
    let status = if errors.is_empty() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    if plain {
        let lines = errors.iter().map(|error| format!("- Error: {error}"));
        let lines = lines.chain(warnings.iter().map(|warning| format!("- Warning: {warning}")));
        return Ok((status, lines.collect::<Vec<_>>().join("\n")).into_response());
    }
    let errors: Vec<_> = errors.iter().map(|error| json!({ "message": error, "type": "error" })).collect();
    let warnings: Vec<_> =
        warnings.iter().map(|warning| json!({ "message": warning, "help": HELP })).collect();
    Ok((status, Json(json!({ "errors": errors, "warnings": warnings }))).into_response())
}

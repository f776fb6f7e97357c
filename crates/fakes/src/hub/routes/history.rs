//! Routes about the commits of a revision.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State as Shared};
use axum::http::{HeaderMap, HeaderName};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{iso, pages};
use crate::hub::refusal::Refusal;
use crate::hub::repo::{Commit, Head, Message, Repo};
use crate::hub::state::State;

static TOTAL_COUNT: HeaderName = HeaderName::from_static("x-total-count");

pub(super) fn router() -> Router<Arc<State>> {
    Router::new()
        .route("/api/models/{owner}/{name}/commits/{revision}", get(commits))
        .route("/api/models/{owner}/{name}/super-squash/{branch}", post(squash))
}

async fn commits(
    Shared(state): Shared<Arc<State>>,
    Path((owner, name, revision)): Path<(String, String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let repo = state.readable(&headers, &owner, &name).await?;
    let head = repo.revision(&revision).ok_or_else(|| Refusal::no_revision(&revision))?;
    let query: Vec<(String, String)> =
        url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect();
    let number =
        |name: &str| query.iter().find(|(key, _)| key == name).and_then(|(_, text)| text.parse().ok());
    let formatted = query.iter().any(|(key, value)| key.starts_with("expand") && value == "formatted");
    let commits: Vec<_> =
        repo.history(head).map(|commit| listed(commit, &state.options.owner, formatted)).collect();

    let size = number("limit").unwrap_or(usize::MAX).clamp(1, state.options.page_size.max(1));
    let page = number("p").unwrap_or(0);
    let mut next = pages::address(&state.url, ["api", "models", &owner, &name, "commits", &revision]);
    if formatted {
        next.query_pairs_mut().append_pair("expand[]", "formatted");
    }
    let cursor = ("p", page.saturating_add(1));
    let mut response = pages::page(&commits, page.saturating_mul(size), size, next, cursor);
    response.headers_mut().insert(TOTAL_COUNT.clone(), commits.len().into());
    Ok(response)
}

fn listed(commit: &Commit, author: &str, formatted: bool) -> Value {
    let mut entry = json!({
        "id": commit.id, "title": commit.summary, "message": commit.description,
        "authors": [{ "user": author }], "date": iso(commit.at),
    });
    if formatted {
        let html = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        entry["formatted"] = json!({ "title": html(&commit.summary), "message": html(&commit.description) });
    }
    entry
}

#[derive(Deserialize)]
struct Squash {
    message: String,
}

/// Replaces a branch's commits by one without a parent.
async fn squash(
    Shared(state): Shared<Arc<State>>,
    Path((owner, name, branch)): Path<(String, String, String)>,
    headers: HeaderMap,
    Json(asked): Json<Squash>,
) -> Result<Json<Value>, Refusal> {
    let repo = state.writable(&headers, &owner, &name).await?;
    let change = |repo: &mut Repo| {
        let commit = repo.revision(&branch).ok_or_else(|| Refusal::no_revision(&branch))?;
        let files = commit.files.clone();
        let Some(head @ Head::Branch(_)) = repo.head(&branch) else {
            return Err(Refusal::bad_request(format!("Invalid reference for a branch: {branch}")));
        };
        let message = Message { summary: asked.message, ..Message::default() };
        Ok(repo.commit(&head, None, message, files, Timestamp::now()))
    };
    let id = state.repos.change(&repo.id(), change).await?;
    Ok(Json(json!({ "commitOid": id })))
}

//! Routes about names of commits: branches, tags, pull requests.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, Query, State as Shared};
use axum::http::HeaderMap;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::flag;
use crate::hub::refusal::Refusal;
use crate::hub::repo::{MAIN, Repo};
use crate::hub::state::State;

pub(super) fn router() -> Router<Arc<State>> {
    Router::new()
        .route("/api/models/{owner}/{name}/refs", get(refs))
        .route("/api/models/{owner}/{name}/branch/{branch}", post(create_branch).delete(delete_branch))
        // A POST names the tagged revision, a DELETE the tag.
        .route("/api/models/{owner}/{name}/tag/{revision}", post(create_tag).delete(delete_tag))
}

#[derive(Deserialize)]
struct RefsQuery {
    #[serde(default, deserialize_with = "flag::deserialize")]
    include_prs: bool,
}

async fn refs(
    Shared(state): Shared<Arc<State>>,
    Path((owner, name)): Path<(String, String)>,
    Query(query): Query<RefsQuery>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    let repo = state.readable(&headers, &owner, &name).await?;
    let mut refs = json!({
        "branches": listed(&repo.branches, "refs/heads/"),
        "tags": listed(&repo.tags, "refs/tags/"),
        "converts": [],
    });
    if query.include_prs {
        let numbered = repo.pull_requests.iter().map(|(number, commit)| (number.to_string(), commit.clone()));
        refs["pullRequests"] = listed(&numbered.collect(), "refs/pr/").into();
    }
    Ok(Json(refs))
}

fn listed(refs: &BTreeMap<String, String>, prefix: &str) -> Vec<Value> {
    let entry = |(name, commit): (&String, &String)| json!({ "name": name, "ref": format!("{prefix}{name}"), "targetCommit": commit });
    refs.iter().map(entry).collect()
}

/// Returns true when git accepts this as the name of a branch or tag.
fn valid_ref(name: &str) -> bool {
    let odd = |c: char| c.is_ascii_control() || " ~^:?*[\\".contains(c);
    let bad_part = |part: &str| part.is_empty() || part.starts_with('.') || part.ends_with(".lock");
    !name.split('/').any(bad_part)
        && !name.contains(odd)
        && !name.contains("..")
        && !name.contains("@{")
        && !name.starts_with('-')
        && !name.ends_with('.')
        && name != "@"
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewBranch {
    starting_point: Option<String>,
}

async fn create_branch(
    Shared(state): Shared<Arc<State>>,
    Path((owner, name, branch)): Path<(String, String, String)>,
    headers: HeaderMap,
    Json(new): Json<NewBranch>,
) -> Result<Json<Value>, Refusal> {
    let repo = state.writable(&headers, &owner, &name).await?;
    if branch.starts_with("refs/") || !valid_ref(&branch) {
        return Err(Refusal::bad_request(format!("Invalid reference for a branch: {branch}")));
    }
    let start = new.starting_point.as_deref().unwrap_or(MAIN);
    change(&state, &repo, |repo| {
        let commit = target(repo, start)?;
        match repo.branches.insert(branch.clone(), commit) {
            None => Ok(()),
            Some(_) => Err(Refusal::conflict(format!("Reference refs/heads/{branch} already exists"))),
        }
    })
    .await
}

async fn delete_branch(
    Shared(state): Shared<Arc<State>>,
    Path((owner, name, branch)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    let repo = state.writable(&headers, &owner, &name).await?;
    if branch == MAIN {
        return Err(Refusal::forbidden("Cannot delete refs/heads/main"));
    }
    change(&state, &repo, |repo| {
        repo.branches.remove(&branch).map(drop).ok_or_else(|| Refusal::no_revision(&branch))
    })
    .await
}

#[derive(Deserialize)]
struct NewTag {
    tag: String,
}

async fn create_tag(
    Shared(state): Shared<Arc<State>>,
    Path((owner, name, revision)): Path<(String, String, String)>,
    headers: HeaderMap,
    Json(new): Json<NewTag>,
) -> Result<Json<Value>, Refusal> {
    let repo = state.writable(&headers, &owner, &name).await?;
    change(&state, &repo, |repo| {
        let commit = target(repo, &revision)?;
        if new.tag.starts_with("refs/") || !valid_ref(&new.tag) {
            return Err(Refusal::bad_request(format!("Invalid reference for a tag: {}", new.tag)));
        }
        match repo.tags.insert(new.tag.clone(), commit) {
            None => Ok(()),
            Some(_) => Err(Refusal::conflict(format!("Tag {} already exists", new.tag))),
        }
    })
    .await
}

async fn delete_tag(
    Shared(state): Shared<Arc<State>>,
    Path((owner, name, tag)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    let repo = state.writable(&headers, &owner, &name).await?;
    change(&state, &repo, |repo| repo.tags.remove(&tag).map(drop).ok_or_else(|| Refusal::no_revision(&tag)))
        .await
}

fn target(repo: &Repo, revision: &str) -> Result<String, Refusal> {
    let commit = repo.revision(revision).ok_or_else(|| Refusal::no_revision(revision))?;
    Ok(commit.id.clone())
}

/// Changes the repo, or leaves it as it is when the change is refused.
async fn change(
    state: &State,
    repo: &Repo,
    change: impl FnOnce(&mut Repo) -> Result<(), Refusal>,
) -> Result<Json<Value>, Refusal> {
    state.repos.change(&repo.id(), change).await?;
    Ok(Json(json!({ "success": true })))
}

#[cfg(test)]
mod tests {
    use super::valid_ref;

    #[test]
    fn names_of_branches_follow_git() {
        for name in ["main", "feature/x", "v1.0", "a-b_c", "ä"] {
            assert!(valid_ref(name), "{name}");
        }
        for name in [
            "", "/x", "x/", "a//b", "a b", "a..b", ".a", "a/.b", "x.lock", "-x", "x.", "@", "a@{b", "a~1",
            "a\n",
        ] {
            assert!(!valid_ref(name), "{name}");
        }
    }
}

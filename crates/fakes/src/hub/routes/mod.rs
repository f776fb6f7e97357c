//! The Hub's own routes, one file per part of its API.
//!
//! ```text
//! account   whoami
//! repos     create, delete, move, settings, access check
//! info      a model's information
//! tree      file lists, paths-info
//! refs      branches, tags, pull requests
//! history   commit lists, squash
//! card      check of a model card's metadata
//! lfs       preupload, LFS batch, verify
//! xet       tokens of the Xet store
//! commit    NDJSON commits with compare-and-swap
//! resolve   downloads
//! ```

mod account;
mod card;
mod commit;
mod flag;
mod history;
mod info;
mod lfs;
mod pages;
mod refs;
mod repos;
mod resolve;
mod tree;
mod xet;

use std::sync::Arc;

use axum::Router;
use jiff::Timestamp;

use super::state::State;

pub(super) fn router() -> Router<Arc<State>> {
    Router::new()
        .merge(account::router())
        .merge(repos::router())
        .merge(info::router())
        .merge(tree::router())
        .merge(refs::router())
        .merge(history::router())
        .merge(card::router())
        .merge(lfs::router())
        .merge(xet::router())
        .merge(commit::router())
        .merge(resolve::router())
}

/// Returns a time as the Hub writes it, in whole seconds.
fn iso(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string()
}

//! The repo's own pages: index and card, updated for a release.

use bytes::Bytes;

use super::{Extra, Listed};
use crate::hub::digest::Digest;
use crate::hub::error::HubError;
use crate::hub::index::{INDEX, Index};
use crate::hub::listing::{self, CommitId};
use crate::hub::release::Release;
use crate::hub::repo_card;
use crate::hub::wire::Wire;

/// Path of the repo's page.
const PAGE: &str = "README.md";

/// Returns the updated pages, based on this commit; `before` is the release that the backend loads
/// as of the commit.
pub(super) async fn pages(
    wire: &Wire,
    head: &CommitId,
    before: Option<&Release>,
    listed: &Listed,
    (sha256, size): (Digest, u64),
) -> Result<Vec<Extra>, HubError> {
    let mut index = match listing::content(wire, head, INDEX).await? {
        Some(bytes) => Index::read(&bytes)?,
        None => Index::default(),
    };
    let mut entry = listed.entry.clone();
    (entry.sha256, entry.size) = (Some(sha256), size);
    index.enter(entry, before);
    let mut pages = vec![Extra { path: INDEX.to_owned(), content: Bytes::from(index.to_json()) }];

    let page = listing::content(wire, head, PAGE).await?;
    match page.as_deref().map(std::str::from_utf8).transpose() {
        Ok(page) => {
            let page = repo_card::merged(page, &listed.card);
            pages.push(Extra { path: PAGE.to_owned(), content: Bytes::from(page) });
        }
        // Writing the page back would lose the bytes that are not UTF-8.
        Err(error) => tracing::warn!(%error, "the repo's README.md is not UTF-8, so it is left unchanged"),
    }
    Ok(pages)
}

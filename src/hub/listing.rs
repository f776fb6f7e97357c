//! Content of a repo: its head, the releases as of a commit, and small files.
//!
//! Parses the tree's JSON itself, because `hf-hub` looks for an LFS file's checksum under a key
//! that the Hub does not send, and so never finds the checksum.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use reqwest::header::{HeaderMap, LINK};
use serde::{Deserialize, Serialize};
use url::Url;

use super::access::RepoName;
use super::digest::Digest;
use super::error::HubError;
use super::limits::{CONTENT_BYTES, LISTING_BYTES, LISTING_FILES, LISTING_PAGES, LISTING_TIME};
use super::release::{FOLDER, RECEIPTS, Release, ReleaseName};
use super::wire::Wire;

/// A commit's id: 40 lowercase hex digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CommitId(String);

impl CommitId {
    /// Returns the 40 hex digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Error for text that is not a commit's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a commit id of 40 lowercase hex digits")]
pub struct NotACommitId;

impl FromStr for CommitId {
    type Err = NotACommitId;

    fn from_str(text: &str) -> Result<Self, NotACommitId> {
        let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() == 40 && text.bytes().all(hex) { Ok(Self(text.to_owned())) } else { Err(NotACommitId) }
    }
}

impl TryFrom<String> for CommitId {
    type Error = NotACommitId;

    fn try_from(text: String) -> Result<Self, NotACommitId> {
        text.parse()
    }
}

impl From<CommitId> for String {
    fn from(id: CommitId) -> Self {
        id.0
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[derive(Deserialize)]
struct Info {
    sha: CommitId,
    /// Name of the repo: another one than the requested when the repo was renamed.
    #[serde(default)]
    id: Option<String>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "type")]
    kind: String,
    path: String,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    oid: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    oid: Digest,
    size: u64,
}

/// Returns the commit at the head of `main`.
pub(super) async fn head(wire: &Wire) -> Result<CommitId, HubError> {
    Ok(info(wire).await?.sha)
}

/// Returns the repo's present name when it was renamed. The Hub redirects the old one.
pub(super) async fn renamed(wire: &Wire) -> Result<Option<RepoName>, HubError> {
    let now = info(wire).await?.id.and_then(|id| id.parse::<RepoName>().ok());
    Ok(now.filter(|now| !now.to_string().eq_ignore_ascii_case(&wire.access.repo.to_string())))
}

async fn info(wire: &Wire) -> Result<Info, HubError> {
    let url = wire.api([]);
    wire.json("the repo's info", || wire.authorized(&url, wire.client.get(url.clone()))).await
}

/// A file of a repo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    /// Path in the repo.
    pub(super) path: String,
    /// Size in bytes.
    pub(super) size: u64,
    /// Checksum of the content; `None` for a file outside LFS.
    pub(super) sha256: Option<Digest>,
    /// Id of the file's blob in git; `None` when it has none or an odd one.
    pub(super) blob: Option<String>,
}

impl Item {
    /// Returns the identity of the content: its SHA-256, or else the id of its blob.
    pub(super) fn content(&self) -> Option<String> {
        content_id(self.sha256, self.blob.as_deref())
    }
}

/// Returns the identity of a file's content.
pub(super) fn content_id(sha256: Option<Digest>, blob: Option<&str>) -> Option<String> {
    sha256.map(|sha256| sha256.to_string()).or_else(|| blob.map(str::to_owned))
}

/// Returns every file as of a commit.
pub(super) async fn files(wire: &Wire, commit: &CommitId) -> Result<Vec<Item>, HubError> {
    let mut url = wire.api(["tree", commit.as_str()]);
    url.query_pairs_mut().append_pair("recursive", "true");
    entries(wire, url).await
}

/// Returns the releases as of a commit, newest first; none when the folder of releases is missing.
pub(super) async fn releases(wire: &Wire, commit: &CommitId) -> Result<Vec<Release>, HubError> {
    let items = entries(wire, wire.api(["tree", commit.as_str(), FOLDER])).await?;
    let mut releases: Vec<Release> = items.into_iter().filter_map(release).collect();
    releases.sort_by(|a, b| b.name.cmp(&a.name));
    Ok(releases)
}

/// Returns the versions that have a receipt as of a commit, each with the receipt's path.
pub(super) async fn receipts(wire: &Wire, commit: &CommitId) -> Result<Vec<(String, String)>, HubError> {
    let below = RECEIPTS.split('/');
    let items = entries(wire, wire.api(["tree", commit.as_str()].into_iter().chain(below))).await?;
    let version = |item: Item| {
        let name = item.path.strip_prefix(RECEIPTS)?.strip_prefix('/')?;
        Some((name.strip_suffix(".json")?.to_owned(), item.path.clone()))
    };
    Ok(items.into_iter().filter_map(version).collect())
}

/// Returns the content of a small file as of a commit; `None` when the file does not exist.
pub(super) async fn content(wire: &Wire, commit: &CommitId, path: &str) -> Result<Option<Bytes>, HubError> {
    const WHAT: &str = "a small file";
    let repo = &wire.access.repo;
    let url =
        wire.url([repo.owner(), repo.name(), "resolve", commit.as_str()].into_iter().chain(path.split('/')));
    let read = wire.retried(WHAT, || async {
        let response = wire.once(wire.authorized(&url, wire.client.get(url.clone()))).await?;
        wire.read(WHAT, response, CONTENT_BYTES).await
    });
    match read.await {
        Ok(body) => Ok(Some(body.into())),
        Err(HubError::NoFile { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads all pages of a listing and returns its files; none when the folder does not exist.
async fn entries(wire: &Wire, first: Url) -> Result<Vec<Item>, HubError> {
    let read = tokio::time::timeout(LISTING_TIME, pages(wire, first)).await;
    read.map_err(|_| HubError::TimedOut { limit: LISTING_TIME })?
}

async fn pages(wire: &Wire, first: Url) -> Result<Vec<Item>, HubError> {
    const ENDLESS: HubError = HubError::Malformed { what: "the file list, which has no end" };
    let mut items = Vec::new();
    let mut bytes = 0;
    let mut next = Some(first);
    let mut pages = 0;
    while let Some(url) = next {
        pages += 1;
        if pages > LISTING_PAGES {
            return Err(ENDLESS);
        }
        let (entries, link) = match page(wire, &url).await {
            Err(HubError::NoFile { .. }) if pages == 1 => return Ok(Vec::new()),
            page => page?,
        };
        next = link;
        bytes += entries.iter().map(|entry| entry.path.len()).sum::<usize>();
        items.extend(entries.into_iter().filter_map(item));
        if items.len() > LISTING_FILES || bytes > LISTING_BYTES {
            return Err(ENDLESS);
        }
    }
    Ok(items)
}

fn item(entry: Entry) -> Option<Item> {
    let size = entry.lfs.as_ref().map_or(entry.size, |lfs| lfs.size);
    let sha256 = entry.lfs.map(|lfs| lfs.oid);
    // The id becomes part of a file name.
    let hex =
        |oid: &String| (40..=64).contains(&oid.len()) && oid.bytes().all(|byte| byte.is_ascii_hexdigit());
    let blob = entry.oid.filter(hex);
    (entry.kind == "file").then_some(Item { path: entry.path, size, sha256, blob })
}

fn release(item: Item) -> Option<Release> {
    let name = ReleaseName::from_path(&item.path)?;
    Some(Release { name, size: item.size, sha256: item.sha256, blob: item.blob })
}

async fn page(wire: &Wire, url: &Url) -> Result<(Vec<Entry>, Option<Url>), HubError> {
    const WHAT: &str = "the file list";
    wire.retried(WHAT, || async {
        let response = wire.once(wire.authorized(url, wire.client.get(url.clone()))).await?;
        let next = next_link(response.headers(), url);
        Ok((wire.read_json(WHAT, response).await?, next))
    })
    .await
}

/// Reads one page, its header `Link` and its body, as [`page`] does.
#[cfg(feature = "fuzzing")]
pub(super) fn read_page(link: &[u8], body: &[u8]) -> (Vec<Item>, Vec<Release>, Option<Url>) {
    let link = reqwest::header::HeaderValue::from_bytes(link).ok().map(|link| (LINK, link));
    let next = Url::parse("https://example.org/api").ok();
    let next = next.and_then(|base| next_link(&HeaderMap::from_iter(link), &base));
    let entries: Vec<Entry> = serde_json::from_slice(body).unwrap_or_default();
    let items: Vec<Item> = entries.into_iter().filter_map(item).collect();
    let releases = items.iter().cloned().filter_map(release).collect();
    (items, releases, next)
}

/// Returns the URL of the next page, from `Link: <url>; rel="next"`.
fn next_link(headers: &HeaderMap, base: &Url) -> Option<Url> {
    let links = headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
    // A comma separates links, but a URL may contain commas too. The text between `<` and `>` is
    // always the URL.
    links.flat_map(|value| value.split('<').skip(1)).find_map(|link| {
        let (url, parameters) = link.split_once('>')?;
        let is_next = parameters.replace([' ', '"'], "").split([';', ',']).any(|part| part == "rel=next");
        if is_next { base.join(url).ok() } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn next(link: &str) -> Option<String> {
        let headers = HeaderMap::from_iter([(LINK, link.parse().ok()?)]);
        next_link(&headers, &Url::parse("http://hub/api/x").unwrap()).map(String::from)
    }

    #[test]
    fn the_next_page_is_read_from_the_link_header() {
        assert_eq!(next("<http://hub/a?cursor=b,c>; rel=\"next\"").unwrap(), "http://hub/a?cursor=b,c");
        assert_eq!(next("<http://hub/1>; rel=\"prev\", <http://hub/3>; rel=next").unwrap(), "http://hub/3");
        assert_eq!(next("</api/y>; rel=\"next\"").unwrap(), "http://hub/api/y");
        assert_eq!(next("<http://hub/1>; rel=\"last\""), None);
        assert_eq!(next("http://hub/1"), None);
    }

    proptest! {
        #[test]
        fn no_link_makes_reading_panic(link in "[ -~]{0,60}") {
            let _ = next(&link);
        }

        #[test]
        fn no_entry_makes_reading_panic(path in ".{0,60}", kind in "file|directory") {
            let _ = item(Entry { kind, path, size: 1, oid: None, lfs: None }).and_then(release);
        }
    }
}

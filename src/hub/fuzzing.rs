//! Doors for the fuzzer to parsers that are private to this folder. Only the feature `fuzzing` compiles
//! them.

use super::listing;
use super::model;
use super::release::ReleaseName;
use super::repo_card;

/// Content of one page of a listing.
#[derive(Debug, Default)]
pub struct Listed {
    /// Names of the releases.
    pub releases: Vec<ReleaseName>,
    /// Paths that the download of a base model would create.
    pub files_of_model: Vec<String>,
    /// Address of the next page.
    pub next: Option<url::Url>,
}

/// Reads one page of a listing: its header `Link` and its body.
pub fn listing(link: &[u8], body: &[u8]) -> Listed {
    let (items, releases, next) = listing::read_page(link, body);
    let releases = releases.into_iter().map(|release| release.name).collect();
    Listed { releases, files_of_model: model::created(&items), next }
}

/// Returns a page of the repo with a card of ours merged in.
pub fn merged_card(page: &str) -> String {
    const CARD: &str = concat!(
        "---\nautovalidate_fields:\n- tags\n- model-index\nlicense: mit\ntags:\n- onnx\nmodel-index: new\n---\n\n",
        "<!-- autovalidate:begin -->\nours\n<!-- autovalidate:end -->\n"
    );
    repo_card::merged(Some(page), CARD)
}

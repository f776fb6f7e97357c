//! State that the routes share: the Hub's parts, permission checks, and signed links.

use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode, header};
use secrecy::ExposeSecret;
use url::Url;

use super::cas::Cas;
use super::faults::Faults;
use super::objects::Objects;
use super::options::Options;
use super::refusal::Refusal;
use super::repo::Repo;
use super::repos::Repos;
use crate::hub::digest::Digest;

#[derive(Debug)]
pub(super) struct State {
    pub(super) url: Url,
    pub(super) store_url: Url,
    pub(super) cas_url: Url,
    /// Key that signs links and Xet tokens. Every start draws a new one, so they expire with the
    /// process.
    pub(super) secret: String,
    pub(super) faults: Faults,
    pub(super) objects: Objects,
    pub(super) repos: Repos,
    pub(super) cas: Cas,
    pub(super) options: Options,
}

/// Permission that a request's token gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Access {
    /// No token.
    Anonymous,
    Read,
    Write,
}

impl State {
    /// Returns the permission that the request's token gives.
    ///
    /// # Errors
    /// 401 when the request carries an unknown token.
    pub(super) fn access(&self, headers: &HeaderMap) -> Result<Access, Refusal> {
        let Some(given) = headers.get(header::AUTHORIZATION) else { return Ok(Access::Anonymous) };
        let given = given.to_str().ok().and_then(|text| text.strip_prefix("Bearer "));
        let is = |token: &secrecy::SecretString| given == Some(token.expose_secret());
        if is(&self.options.token) {
            Ok(Access::Write)
        } else if self.options.read_token.as_ref().is_some_and(is) {
            Ok(Access::Read)
        } else {
            Err(Refusal::new(StatusCode::UNAUTHORIZED, "Invalid credentials in Authorization header"))
        }
    }

    /// Checks that the caller may write.
    ///
    /// # Errors
    /// 401 without a token, 403 with one that only reads.
    pub(super) fn may_write(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        match self.access(headers)? {
            Access::Anonymous => Err(Refusal::not_signed_in()),
            Access::Read => Err(Refusal::forbidden("you must use a write token to upload to a repository")),
            Access::Write => Ok(()),
        }
    }

    /// Returns the repo if it exists and this caller may see it.
    pub(super) async fn visible(
        &self,
        headers: &HeaderMap,
        owner: &str,
        name: &str,
    ) -> Result<Arc<Repo>, Refusal> {
        let with_token = self.access(headers)? > Access::Anonymous;
        let repo = self.repos.get(owner, name).await.ok_or_else(|| Refusal::no_repo(with_token))?;
        if repo.private && !with_token {
            return Err(Refusal::no_repo(false));
        }
        Ok(repo)
    }

    /// Returns the repo if it exists and this caller may read its files and its history.
    pub(super) async fn readable(
        &self,
        headers: &HeaderMap,
        owner: &str,
        name: &str,
    ) -> Result<Arc<Repo>, Refusal> {
        let repo = self.visible(headers, owner, name).await?;
        if repo.gated.is_on() && self.access(headers)? == Access::Anonymous {
            return Err(Refusal::gated(&repo.id()));
        }
        Ok(repo)
    }

    /// Returns the repo if it exists and this caller may write to it.
    pub(super) async fn writable(
        &self,
        headers: &HeaderMap,
        owner: &str,
        name: &str,
    ) -> Result<Arc<Repo>, Refusal> {
        let repo = match self.access(headers)? {
            Access::Anonymous => return Err(Refusal::not_signed_in()),
            _ => self.repos.get(owner, name).await.ok_or_else(|| Refusal::no_repo(true))?,
        };
        self.may_write(headers)?;
        Ok(repo)
    }

    /// Returns a link to the object store. The link needs no token, because its signature proves
    /// that the Hub issued it.
    pub(super) fn link(&self, action: &str, oid: Digest, number: u64) -> String {
        let signature = self.signature(&format!("{action}/{oid}/{number}"));
        format!("{}{action}/{oid}/{number}?signature={signature}", self.store_url)
    }

    /// Checks a link's signature.
    ///
    /// # Errors
    /// 403 when the Hub didn't issue this link.
    pub(super) fn check_link(
        &self,
        action: &str,
        oid: Digest,
        number: u64,
        signature: &str,
    ) -> Result<(), Refusal> {
        if signature == self.signature(&format!("{action}/{oid}/{number}")) {
            return Ok(());
        }
        Err(Refusal::forbidden("the signature does not match the link"))
    }

    /// Returns the text that only this Hub can derive from `text`.
    pub(super) fn signature(&self, text: &str) -> String {
        Digest::of(format!("{}/{text}", self.secret).as_bytes()).to_string()
    }

    /// Returns where a request goes whose path names a repo that has another name now.
    pub(super) async fn redirected(&self, path: &str) -> Option<String> {
        let moved = self.repos.moved().await;
        self.faults.renamed().into_iter().chain(moved).find_map(|(old, new)| renamed(path, &old, &new))
    }
}

/// Returns the path with the repo's new name, or `None` when it does not name the repo.
fn renamed(path: &str, old: &str, new: &str) -> Option<String> {
    let at = path.find(&format!("/{old}"))? + 1;
    let rest = &path[at + old.len()..];
    let ends = rest.is_empty() || rest.starts_with(['/', '?']) || rest.starts_with(".git/");
    ends.then(|| format!("{}{new}{rest}", &path[..at]))
}

#[cfg(test)]
mod tests {
    use super::renamed;

    #[test]
    fn only_the_moved_repo_is_redirected() {
        let to = |path| renamed(path, "acme/cars", "acme/autos");
        assert_eq!(to("/api/models/acme/cars?blobs=1").as_deref(), Some("/api/models/acme/autos?blobs=1"));
        assert_eq!(to("/acme/cars.git/info/lfs").as_deref(), Some("/acme/autos.git/info/lfs"));
        for other in ["/api/models/acme/cars2", "/acme/car", "/other"] {
            assert_eq!(to(other), None, "{other}");
        }
    }
}

//! State that the routes share: the Hub's parts, permission checks, and signed links to the object
//! store.

use std::path::PathBuf;
use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode, header};
use secrecy::ExposeSecret;
use url::Url;

use super::faults::Faults;
use super::objects::Objects;
use super::options::Options;
use super::refusal::Refusal;
use super::repos::{Repo, Repos};
use crate::hub::digest::Digest;

#[derive(Debug)]
pub(super) struct State {
    pub(super) url: Url,
    pub(super) store_url: Url,
    /// Key that signs links to the object store. Every start draws a new one, so links expire with
    /// the process.
    pub(super) secret: String,
    pub(super) faults: Faults,
    pub(super) objects: Objects,
    pub(super) repos: Repos,
    pub(super) options: Options,
}

impl State {
    /// Returns true when the request carries the token.
    ///
    /// # Errors
    /// 401 when the request carries another token.
    pub(super) fn token_given(&self, headers: &HeaderMap) -> Result<bool, Refusal> {
        let Some(given) = headers.get(header::AUTHORIZATION) else { return Ok(false) };
        let token = self.options.token.expose_secret();
        if given.to_str().ok().and_then(|text| text.strip_prefix("Bearer ")) == Some(token) {
            return Ok(true);
        }
        Err(Refusal::new(StatusCode::UNAUTHORIZED, "Invalid credentials in Authorization header"))
    }

    /// Checks that the caller may write.
    ///
    /// # Errors
    /// 401 without the token.
    pub(super) fn may_write(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        if self.token_given(headers)? {
            return Ok(());
        }
        Err(Refusal::new(StatusCode::UNAUTHORIZED, "Invalid username or password."))
    }

    /// Returns the repo if it exists and this caller may read it.
    pub(super) async fn readable(
        &self,
        headers: &HeaderMap,
        owner: &str,
        name: &str,
    ) -> Result<Arc<Repo>, Refusal> {
        let with_token = self.token_given(headers)?;
        let repo = self.repos.get(owner, name).await.ok_or_else(|| Refusal::no_repo(with_token))?;
        if repo.private && !with_token {
            return Err(Refusal::no_repo(false));
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
        self.may_write(headers)?;
        self.repos.get(owner, name).await.ok_or_else(|| Refusal::no_repo(true))
    }

    /// Returns a link to the object store. The link needs no token, because its signature proves
    /// that the Hub issued it.
    pub(super) fn link(&self, action: &str, oid: Digest, number: u64) -> String {
        let signature = self.signature(action, oid, number);
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
        if signature == self.signature(action, oid, number) {
            return Ok(());
        }
        Err(Refusal::new(StatusCode::FORBIDDEN, "the signature does not match the link"))
    }

    fn signature(&self, action: &str, oid: Digest, number: u64) -> String {
        Digest::of(format!("{}/{action}/{oid}/{number}", self.secret).as_bytes()).to_string()
    }

    /// Creates and returns the directory that the Xet library writes content to.
    pub(super) async fn xet_directory(&self) -> std::io::Result<PathBuf> {
        let directory = std::path::absolute(&self.options.directory)?.join("xet");
        tokio::fs::create_dir_all(&directory).await?;
        Ok(directory)
    }
}

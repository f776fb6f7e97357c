//! What the routes share: the Hub's parts, who may do what, and the signed links to the object store.

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
    /// Signs links to the object store; new at every start, so old links end with the process.
    pub(super) secret: String,
    pub(super) faults: Faults,
    pub(super) objects: Objects,
    pub(super) repos: Repos,
    pub(super) options: Options,
}

impl State {
    /// Whether the request carries the token.
    ///
    /// # Errors
    /// 401 when it carries another one.
    pub(super) fn token_given(&self, headers: &HeaderMap) -> Result<bool, Refusal> {
        let Some(given) = headers.get(header::AUTHORIZATION) else { return Ok(false) };
        let token = self.options.token.expose_secret();
        if given.to_str().ok().and_then(|text| text.strip_prefix("Bearer ")) == Some(token) {
            return Ok(true);
        }
        Err(Refusal::new(StatusCode::UNAUTHORIZED, "Invalid credentials in Authorization header"))
    }

    /// # Errors
    /// 401 without the token.
    pub(super) fn may_write(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        if self.token_given(headers)? {
            return Ok(());
        }
        Err(Refusal::new(StatusCode::UNAUTHORIZED, "Invalid username or password."))
    }

    /// The repo, if it is there and this caller may see it.
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

    /// The repo, if it is there and this caller may change it.
    pub(super) async fn writable(
        &self,
        headers: &HeaderMap,
        owner: &str,
        name: &str,
    ) -> Result<Arc<Repo>, Refusal> {
        self.may_write(headers)?;
        self.repos.get(owner, name).await.ok_or_else(|| Refusal::no_repo(true))
    }

    /// A link to the object store that needs no token: its signature says that the Hub gave it out.
    pub(super) fn link(&self, action: &str, oid: Digest, number: u64) -> String {
        let signature = self.signature(action, oid, number);
        format!("{}{action}/{oid}/{number}?signature={signature}", self.store_url)
    }

    /// # Errors
    /// 403 when the Hub didn't give out this link.
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
        Err(Refusal::new(StatusCode::FORBIDDEN, "the signature doesn't fit the link"))
    }

    fn signature(&self, action: &str, oid: Digest, number: u64) -> String {
        Digest::of(format!("{}/{action}/{oid}/{number}", self.secret).as_bytes()).to_string()
    }

    /// Where the Xet library writes content.
    pub(super) async fn xet_directory(&self) -> std::io::Result<PathBuf> {
        let directory = std::path::absolute(&self.options.directory)?.join("xet");
        tokio::fs::create_dir_all(&directory).await?;
        Ok(directory)
    }
}

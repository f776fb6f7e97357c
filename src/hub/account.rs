//! The account of the token.

use serde::Deserialize;

use super::error::HubError;
use super::wire::Wire;

/// Permission of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenRole {
    /// Read only.
    Read,
    /// Read and write everything that the account may.
    Write,
    /// Something else: fine-grained tokens have permissions for each repo.
    Other,
}

/// Answer about the caller, as far as it matters here.
#[derive(Deserialize)]
struct Caller {
    #[serde(default)]
    auth: Option<Auth>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Auth {
    #[serde(default)]
    access_token: Option<AccessToken>,
}

#[derive(Deserialize)]
struct AccessToken {
    role: String,
}

/// Asks what the token may do.
pub(super) async fn token_role(wire: &Wire) -> Result<TokenRole, HubError> {
    let url = wire.url(["api", "whoami-v2"]);
    let request = || wire.authorized(&url, wire.client.get(url.clone()));
    let caller: Caller = wire.json("the token's account", request).await?;
    let role = caller.auth.and_then(|auth| auth.access_token).map(|token| token.role);
    Ok(match role.as_deref() {
        Some("read") => TokenRole::Read,
        Some("write") => TokenRole::Write,
        Some(_) | None => TokenRole::Other,
    })
}

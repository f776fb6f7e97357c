//! The gateway before the services: it checks the API key, and exchanges newer keys for tokens.

use axum::http::HeaderMap;
use serde_json::json;

use super::Shared;
use super::keys::{KeyKind, Role, is_opaque};
use super::rest::Refusal;

/// Verdict of the gateway on a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// The role of a newer key. The gateway has put a token for it into the request.
    As(Role),
    /// The token in the header `Authorization`.
    Token(String),
    /// There is no token: PostgREST runs as `anon`.
    Nobody,
}

/// Reads the key in the header `apikey` or the parameter of that name. A newer key in `Authorization`
/// must equal it; other tokens there are left to the service.
pub(super) fn admit(shared: &Shared, headers: &HeaderMap, query: &str) -> Result<Admission, Refusal> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let parameter = || {
        url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "apikey").map(|(_, key)| key)
    };
    let key = header("apikey").map(Into::into).or_else(parameter).filter(|key| !key.is_empty());
    let key = key.ok_or_else(|| {
        refusal("No API key found in request", "No `apikey` request header or url param was found.")
    })?;
    let role = check(shared, &key, header("user-agent"))?;
    Ok(match header("authorization") {
        None if is_opaque(&key) => Admission::As(role),
        None => Admission::Nobody,
        Some(value) => {
            match value.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")) {
                Some((_, token)) if token == key && is_opaque(token) => Admission::As(role),
                Some((_, token)) => Admission::Token(token.trim().to_owned()),
                None => Admission::Nobody,
            }
        }
    })
}

/// Checks a key, and returns its role.
pub(super) fn check(shared: &Shared, key: &str, agent: Option<&str>) -> Result<Role, Refusal> {
    match shared.keys.find(key) {
        Some((KeyKind::Legacy, _)) if shared.faults.legacy_keys_disabled() => Err(refusal(
            "Legacy API keys are disabled",
            "Your legacy API keys (anon, service_role) were disabled on 2026-01-01T00:00:00.000000+00:00. Re-enable \
             them in the Supabase dashboard, or use the new publishable and secret API keys.",
        )),
        Some((KeyKind::Secret, _)) if agent.is_some_and(|agent| agent.starts_with("Mozilla/")) => {
            Err(refusal(
                "Forbidden use of secret API key in browser",
                "Secret API keys can only be used in a protected environment and should never be used in a browser. \
             Delete this secret API key immediately.",
            ))
        }
        Some((_, role)) => Ok(role),
        None if is_opaque(key) => Err(refusal(
            "Unregistered API key",
            "Double check the provided API key as it is not registered for this project.",
        )),
        None => {
            Err(refusal("Invalid API key", "Double check your Supabase `anon` or `service_role` API key."))
        }
    }
}

fn refusal(message: &str, hint: &str) -> Refusal {
    Refusal::gateway(401, json!({"message": message, "hint": hint}))
}

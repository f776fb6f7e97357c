//! API keys and their roles.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

/// The database role behind a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Subject to row-level security.
    Anon,
    /// Sees every row.
    Service,
}

/// The keys of one stand-in: a legacy JWT and a newer key for each role. The keys protect nothing,
/// and they are the same at every start so that a demo's commands can be copied.
#[derive(Debug)]
pub(super) struct Keys {
    pub(super) anon: String,
    pub(super) service: String,
    pub(super) publishable: String,
    pub(super) secret: String,
}

impl Keys {
    pub(super) fn local() -> Self {
        Self {
            anon: jwt("anon"),
            service: jwt("service_role"),
            publishable: "sb_publishable_local".to_owned(),
            secret: "sb_secret_local".to_owned(),
        }
    }

    /// Returns the role of a key or token, or `None` when it is not one of ours.
    pub(super) fn role(&self, key: &str) -> Option<Role> {
        if key == self.anon || key == self.publishable {
            Some(Role::Anon)
        } else if key == self.service || key == self.secret {
            Some(Role::Service)
        } else {
            None
        }
    }
}

/// Returns a JWT that expires in 2100. Its signature is the text `local-stand-in`, so the token is
/// recognizable as a fake.
fn jwt(role: &str) -> String {
    let claims =
        json!({"iss": "supabase-local", "role": role, "iat": 1_700_000_000, "exp": 4_102_444_800_u64});
    let parts = [r#"{"alg":"HS256","typ":"JWT"}"#, &claims.to_string(), "local-stand-in"];
    parts.map(|part| URL_SAFE_NO_PAD.encode(part)).join(".")
}

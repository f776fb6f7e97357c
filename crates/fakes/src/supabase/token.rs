//! Tokens: JWTs of API keys and of users.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

/// Signature of every token. It is a text, so that a token is recognizable as a fake.
const SIGNATURE: &str = "local-stand-in";

/// Claims of a token.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Claims(Map<String, Value>);

/// Reason why a text is no token of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenError {
    /// It has another number of parts than three.
    Parts(usize),
    /// Its header or claims are no JSON objects in base64.
    Malformed,
    /// Somebody else has signed it.
    Signature,
}

/// Returns a token for a role that expires at this time, in seconds since 1970.
pub(super) fn signed(role: &str, expiry: i64) -> String {
    let claims = json!({"iss": "supabase-local", "role": role, "iat": 1_700_000_000, "exp": expiry});
    let parts = [r#"{"alg":"HS256","typ":"JWT"}"#, &claims.to_string(), SIGNATURE];
    parts.map(|part| URL_SAFE_NO_PAD.encode(part)).join(".")
}

impl Claims {
    /// Reads a token of ours. The claims are not judged.
    pub(super) fn read(token: &str) -> Result<Self, TokenError> {
        let parts: Vec<_> = token.split('.').collect();
        let [header, claims, signature] = parts.as_slice() else {
            return Err(TokenError::Parts(parts.len()));
        };
        let object =
            |part: &str| match URL_SAFE_NO_PAD.decode(part).map(|bytes| serde_json::from_slice(&bytes)) {
                Ok(Ok(Value::Object(object))) => Ok(object),
                _ => Err(TokenError::Malformed),
            };
        object(header)?;
        let claims = object(claims)?;
        match *signature == URL_SAFE_NO_PAD.encode(SIGNATURE) {
            true => Ok(Self(claims)),
            false => Err(TokenError::Signature),
        }
    }

    /// Returns the name of the role.
    pub(super) fn role(&self) -> Option<&str> {
        self.0.get("role").and_then(Value::as_str)
    }

    /// Returns a claim.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// Returns the time at which the token expires, in seconds since 1970.
    pub(super) fn expiry(&self) -> Option<i64> {
        self.0.get("exp").and_then(Value::as_i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_our_tokens_are_read() {
        let token = signed("authenticated", 7);
        let claims = Claims::read(&token).expect("a token");
        assert_eq!((claims.role(), claims.expiry()), (Some("authenticated"), Some(7)));
        assert_eq!(Claims::read("sb_secret_local"), Err(TokenError::Parts(1)));
        assert_eq!(Claims::read("a.b.c"), Err(TokenError::Malformed));
        assert_eq!(Claims::read(&token[..token.len() - 1]), Err(TokenError::Signature));
    }

    proptest! {
        #[test]
        fn any_token_is_read_without_panic(token in "[a-zA-Z0-9._-]{0,60}") {
            let _ = Claims::read(&token);
        }
    }
}

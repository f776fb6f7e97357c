//! Sessions of a browser, and the proof that a form came from one of our pages.
//!
//! Nothing is stored: a session is the time of its end with an authentication code (HMAC-SHA256) under
//! a key that is derived from the console's token. Sessions therefore outlive a restart, and end all
//! at once when the token changes.

use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::hex::hex;

/// Name of the cookie.
pub(super) const COOKIE: &str = "autovalidate_console";
/// Time after which a person has to log in again.
pub(super) const LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);

/// Maker and checker of sessions.
#[derive(Clone)]
pub(super) struct Sessions {
    /// Key, padded to the block size of SHA-256.
    key: [u8; 64],
}

impl Sessions {
    /// Derives the key from the token, or draws one that lasts as long as the process.
    pub(super) fn new(token: Option<&SecretString>) -> Self {
        let secret: [u8; 32] = match token {
            Some(token) => Sha256::new()
                .chain_update("console sessions\n")
                .chain_update(token.expose_secret())
                .finalize()
                .into(),
            None => rand::random(),
        };
        let mut key = [0; 64];
        key[..secret.len()].copy_from_slice(&secret);
        Self { key }
    }

    /// Returns the value of the cookie of a session that begins now.
    pub(super) fn begin(&self, now: Timestamp) -> String {
        let ends = now.as_second() + i64::try_from(LIFETIME.as_secs()).unwrap_or_default();
        format!("{ends}.{}", self.code("session", &ends.to_string()))
    }

    /// Returns true for the cookie of a session that has not ended.
    pub(super) fn is_valid(&self, cookie: &str, now: Timestamp) -> bool {
        let Some((ends, code)) = cookie.split_once('.') else { return false };
        let expected = self.code("session", ends);
        let genuine = bool::from(expected.as_bytes().ct_eq(code.as_bytes()));
        genuine && ends.parse::<i64>().is_ok_and(|ends| now.as_second() < ends)
    }

    /// Returns the token that forms of a session carry.
    pub(super) fn form_token(&self, session: &str) -> String {
        self.code("form", session)
    }

    /// Returns true when a form carries the token of this session.
    pub(super) fn is_form_token(&self, session: &str, token: &str) -> bool {
        bool::from(self.form_token(session).as_bytes().ct_eq(token.as_bytes()))
    }

    fn code(&self, purpose: &str, text: &str) -> String {
        let mac = Hmac::<Sha256>::new(&self.key.into());
        let code = mac.chain_update(purpose).chain_update("\n").chain_update(text).finalize();
        hex(&code.into_bytes())
    }
}

/// Returns true when two secrets are the same, in a time that says nothing about them.
pub(super) fn is_same_secret(secret: &SecretString, given: &str) -> bool {
    // Digests have one length, so the time does not reveal even the secret's length.
    bool::from(Sha256::digest(secret.expose_secret()).ct_eq(&Sha256::digest(given)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_session_ends_in_time_and_with_the_token_and_cannot_be_made_up() {
        let sessions = |token: &str| Sessions::new(Some(&SecretString::from(token.to_owned())));
        let (ours, lifetime) = (sessions("a token of twenty-two"), LIFETIME.as_secs().cast_signed());
        let cookie = ours.begin(at(1_000));
        assert!(ours.is_valid(&cookie, at(1_000)) && ours.is_valid(&cookie, at(999 + lifetime)));
        assert!(!ours.is_valid(&cookie, at(1_000 + lifetime)));
        assert!(sessions("a token of twenty-two").is_valid(&cookie, at(1_000)), "after a restart");
        assert!(!sessions("another token, longer").is_valid(&cookie, at(1_000)));
        let (_, code) = cookie.split_once('.').unwrap();
        for forged in ["", ".", "99999999999", &format!("99999999999.{code}"), &format!("x{cookie}")] {
            assert!(!ours.is_valid(forged, at(1_000)), "{forged}");
        }
    }

    #[test]
    fn a_form_is_bound_to_its_session() {
        let sessions = Sessions::new(None);
        let token = sessions.form_token("one");
        assert!(sessions.is_form_token("one", &token) && !sessions.is_form_token("two", &token));
        assert!(!Sessions::new(None).is_form_token("one", &token), "another process");
        assert_ne!(sessions.form_token("one"), sessions.code("session", "one"), "a form token is no session");
    }
}

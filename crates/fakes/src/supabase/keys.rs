//! API keys, and the database roles behind them.

use super::token::signed;

/// The database role behind a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Nobody has signed in. Subject to row-level security.
    Anon,
    /// A user has signed in. Subject to row-level security, too.
    Authenticated,
    /// Sees every row.
    Service,
}

impl Role {
    /// Returns the role of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "anon" => Some(Self::Anon),
            "authenticated" => Some(Self::Authenticated),
            "service_role" => Some(Self::Service),
            _ => None,
        }
    }
}

/// Kind of an API key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyKind {
    /// A JWT.
    Legacy,
    Publishable,
    Secret,
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

/// Time at which the legacy keys expire, in the year 2100.
const LEGACY_EXPIRY: i64 = 4_102_444_800;

impl Keys {
    pub(super) fn local() -> Self {
        Self {
            anon: signed("anon", LEGACY_EXPIRY),
            service: signed("service_role", LEGACY_EXPIRY),
            publishable: "sb_publishable_local".to_owned(),
            secret: "sb_secret_local".to_owned(),
        }
    }

    /// Returns the kind and the role of a key, or `None` when it is not one of ours.
    pub(super) fn find(&self, key: &str) -> Option<(KeyKind, Role)> {
        let known = [
            (&self.anon, KeyKind::Legacy, Role::Anon),
            (&self.service, KeyKind::Legacy, Role::Service),
            (&self.publishable, KeyKind::Publishable, Role::Anon),
            (&self.secret, KeyKind::Secret, Role::Service),
        ];
        known.into_iter().find(|(own, ..)| *own == key).map(|(_, kind, role)| (kind, role))
    }
}

/// Returns true for a key of the newer kind, which is no JWT.
pub(super) fn is_opaque(key: &str) -> bool {
    key.starts_with("sb_")
}

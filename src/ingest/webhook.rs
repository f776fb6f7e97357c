//! A database webhook's request: its authentication, and the row it hints at.
//!
//! Pure functions; `http` owns the route. A webhook is a hint only (at most once, unordered,
//! unsigned), so the worker takes nothing of the row from it: the sweep reads the row from the
//! table.

use std::collections::BTreeSet;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::access::TableAccess;
use crate::failure::{Failure, RetryDirective};
use crate::row_identity::RowId;

/// Header that carries the secret.
pub const SECRET_HEADER: &str = "x-webhook-secret";

/// Path at which a worker serves the webhook. The tick is served beside it.
pub const PATH: &str = "/hooks/supabase";

/// Beginning of the answer of a worker without a secret, which takes no hook.
pub const HOOKS_OFF: &str = "the hooks are off";

/// Largest body that is read, in bytes: a row of two short texts, with room to spare.
pub const MAX_BODY_BYTES: usize = 64 << 10;

/// Reason why a request is refused.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// The secret is missing or wrong.
    #[error("the secret is missing or wrong")]
    Secret,
    /// The body is larger than [`MAX_BODY_BYTES`].
    #[error("the webhook's body of {bytes} bytes is too large")]
    TooLarge {
        /// Length of the body in bytes.
        bytes: usize,
    },
    /// The body is not the JSON object a database webhook sends.
    #[error("the webhook's body can't be read")]
    Body(#[source] serde_json::Error),
    /// The body is about another table.
    #[error("the webhook is about another table")]
    OtherTable,
}

impl Failure for WebhookError {
    fn directive(&self) -> RetryDirective {
        match self {
            Self::Secret | Self::OtherTable => RetryDirective::Person,
            Self::TooLarge { .. } | Self::Body(_) => RetryDirective::Never,
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Secret => {
                "Give the database webhook, or the job that calls the tick, the header x-webhook-secret with WEBHOOK_SECRET's value."
            }
            Self::OtherTable => "Point the database webhook at the table that SUPABASE_TABLE names.",
            Self::TooLarge { .. } | Self::Body(_) => {
                "Check that only the database webhook calls this address."
            }
        }
        .to_owned()
    }
}

/// Hint that a row was inserted, updated or deleted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hint {
    /// Id of an inserted row, when the body carried one.
    pub inserted: Option<RowId>,
    /// Ids of an updated row: the ids that it has and had.
    pub changed: Vec<RowId>,
    /// Id of a deleted row.
    pub deleted: Option<RowId>,
}

#[derive(Deserialize)]
struct Body {
    #[serde(default, rename = "type")]
    event: Option<String>,
    #[serde(default)]
    schema: Option<String>,
    #[serde(default)]
    table: Option<String>,
    #[serde(default)]
    record: Option<Map<String, Value>>,
    #[serde(default)]
    old_record: Option<Map<String, Value>>,
}

/// Checks the secret in constant time and reads the hint. The caller answers 2xx at once and asks a
/// [`SweepTrigger`](super::SweepTrigger) for a sweep.
///
/// # Errors
/// [`WebhookError`]. The secret is checked before any of the body is looked at.
pub fn receive(
    access: &TableAccess,
    secret: &SecretString,
    presented: Option<&[u8]>,
    body: &[u8],
) -> Result<Hint, WebhookError> {
    authenticate(secret, presented)?;
    if body.len() > MAX_BODY_BYTES {
        return Err(WebhookError::TooLarge { bytes: body.len() });
    }
    let body: Body = serde_json::from_slice(body).map_err(WebhookError::Body)?;
    // The trigger of a partition names the partition, which is usually named after its table.
    let is_ours = |table: &str| {
        table.strip_prefix(access.table.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
    };
    if body.schema.is_some_and(|schema| schema != access.schema)
        || body.table.is_some_and(|table| !is_ours(&table))
    {
        return Err(WebhookError::OtherTable);
    }
    let id = |record: Option<Map<String, Value>>| access.columns.id_of(&record?);
    let (new, old) = (id(body.record), id(body.old_record));
    match body.event.as_deref() {
        Some("UPDATE") => {
            let ids: BTreeSet<RowId> = new.into_iter().chain(old).collect();
            Ok(Hint { changed: ids.into_iter().collect(), ..Hint::default() })
        }
        Some("DELETE") => Ok(Hint { deleted: old, ..Hint::default() }),
        _ => Ok(Hint { inserted: new, ..Hint::default() }),
    }
}

/// Checks the secret in constant time.
///
/// # Errors
/// [`WebhookError::Secret`].
pub fn authenticate(secret: &SecretString, presented: Option<&[u8]>) -> Result<(), WebhookError> {
    // Digests have one length, so the time does not reveal even the secret's length.
    let expected = Sha256::digest(secret.expose_secret());
    let given = Sha256::digest(presented.unwrap_or_default());
    match presented.is_some() && bool::from(expected.ct_eq(&given)) {
        true => Ok(()),
        false => Err(WebhookError::Secret),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use url::Url;

    fn ask(presented: Option<&[u8]>, body: &[u8]) -> Result<Hint, WebhookError> {
        let url = Url::parse("https://example.org").expect("an address");
        let access = TableAccess::new(url, "key".to_owned().into());
        receive(&access, &"open sesame".to_owned().into(), presented, body)
    }

    #[test]
    fn only_the_secret_opens() {
        let body = br#"{"type":"INSERT","table":"typo_training_dataset","record":{"id":5},"user_id":null}"#;
        assert_eq!(ask(Some(b"open sesame"), body).expect("ours").inserted, Some(5.into()));
        assert!(matches!(ask(None, body), Err(WebhookError::Secret)));
        assert!(matches!(ask(Some(b""), body), Err(WebhookError::Secret)));
        assert!(matches!(ask(Some(b"open"), body), Err(WebhookError::Secret)));
    }

    #[test]
    fn bodies_are_bounded_and_of_our_table() {
        let large = vec![b' '; MAX_BODY_BYTES + 1];
        assert!(matches!(ask(Some(b"open sesame"), &large), Err(WebhookError::TooLarge { .. })));
        assert!(matches!(ask(Some(b"open sesame"), br#"{"table":"t"}"#), Err(WebhookError::OtherTable)));
        assert_eq!(ask(Some(b"open sesame"), b"{}").expect("a hint"), Hint::default());
    }

    #[test]
    fn updates_and_deletions_name_the_row_as_it_was_and_as_it_is() {
        let hint = |body: &str| ask(Some(b"open sesame"), body.as_bytes()).expect("a hint");
        let update =
            r#"{"type":"UPDATE","table":"typo_training_dataset","record":{"id":5},"old_record":{"id":4}}"#;
        assert_eq!(hint(update).changed, [4.into(), 5.into()]);
        let deletion =
            r#"{"type":"DELETE","table":"typo_training_dataset_2026","record":null,"old_record":{"id":4}}"#;
        assert_eq!(hint(deletion).deleted, Some(4.into()), "from a partition");
        let other = ask(Some(b"open sesame"), br#"{"type":"DELETE","table":"typo_training_datasets"}"#);
        assert!(matches!(other, Err(WebhookError::OtherTable)));
    }

    proptest! {
        #[test]
        fn any_body_is_read_without_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = ask(Some(b"open sesame"), &body);
        }
    }
}

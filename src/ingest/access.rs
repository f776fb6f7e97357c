//! Address, key and columns of the corrections table, and the decoding of its records.

use std::fmt;

use base64::Engine;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use url::Url;

use crate::correction::Row;
use crate::failure::{Failure, RetryDirective};
use crate::row_identity::{RowId, is_text};

/// A Supabase project's table and the key that reads it.
#[derive(Debug, Clone)]
pub struct TableAccess {
    /// Address of the project, such as `https://<ref>.supabase.co`.
    pub url: Url,
    /// A legacy JWT (`anon` or `service_role`) or a newer `sb_publishable_`/`sb_secret_` key.
    pub key: SecretString,
    /// Schema of the table.
    pub schema: String,
    /// Name of the table.
    pub table: String,
    /// Names of the table's columns.
    pub columns: Columns,
}

/// Names of the table's columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    /// Column of the primary key: a whole number that increases, or a text such as a UUID.
    pub id: String,
    /// Column of the text as it was typed.
    pub typo: String,
    /// Column of the correction that was accepted.
    pub corrected: String,
    /// Column of the form field that the text was typed into.
    pub domain: String,
    /// Column of the time of the last update, for a table that has one; empty to look for none.
    pub updated_at: String,
    /// Column of the time of the insert; empty for a table without one.
    pub created_at: String,
}

impl Default for Columns {
    fn default() -> Self {
        let [id, typo, corrected, domain, created_at, updated_at] =
            ["id", "typo", "corrected", "domain", "created_at", "updated_at"].map(str::to_owned);
        Self { id, typo, corrected, domain, created_at, updated_at }
    }
}

/// A project address or a key that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// The address is neither `http` nor `https`, or has no host.
    #[error("the project's address is not an http(s) address")]
    Address,
    /// The key is empty or holds characters that no header can carry.
    #[error("the project's key is empty or holds characters that a header can't carry")]
    Key,
}

impl Failure for AccessError {
    fn directive(&self) -> RetryDirective {
        match self {
            Self::Address | Self::Key => RetryDirective::Person,
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Address => "Set SUPABASE_URL to the project's address, such as https://<ref>.supabase.co.",
            Self::Key => {
                "Set SUPABASE_ANON_KEY or SUPABASE_SERVICE_KEY to a key from Project Settings > API Keys."
            }
        }
        .to_owned()
    }
}

/// Schema of the table, unless another is set.
pub const DEFAULT_SCHEMA: &str = "public";
/// Name of the table, unless another is set.
pub const DEFAULT_TABLE: &str = "typo_training_dataset";

impl TableAccess {
    /// Returns access to `public.typo_training_dataset` with the usual column names.
    pub fn new(url: Url, key: SecretString) -> Self {
        Self {
            url,
            key,
            schema: DEFAULT_SCHEMA.to_owned(),
            table: DEFAULT_TABLE.to_owned(),
            columns: Columns::default(),
        }
    }

    /// Returns the table's PostgREST address.
    pub(crate) fn rest_url(&self) -> Result<Url, AccessError> {
        self.below(&["rest", "v1", &self.table])
    }

    /// Returns Realtime's websocket address. Never log it: the service requires the key in its
    /// query.
    pub(super) fn realtime_url(&self) -> Result<SecretString, AccessError> {
        let mut url = self.below(&["realtime", "v1", "websocket"])?;
        let scheme = if url.scheme() == "https" { "wss" } else { "ws" };
        url.set_scheme(scheme).map_err(|()| AccessError::Address)?;
        url.query_pairs_mut().append_pair("apikey", self.key.expose_secret()).append_pair("vsn", "1.0.0");
        Ok(String::from(url).into())
    }

    /// Returns the key when it is a JWT. A JWT must also be sent as the bearer token; a newer key
    /// must not.
    pub(super) fn token(&self) -> Option<&SecretString> {
        (!self.key.expose_secret().starts_with("sb_")).then_some(&self.key)
    }

    /// Returns true when the key's role sees every row, whatever the policies say: with a secret
    /// key, or with the JWT of `service_role`.
    pub fn bypasses_policies(&self) -> bool {
        let key = self.key.expose_secret();
        let claims = || {
            let part = key.split('.').nth(1)?;
            let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).ok()?;
            serde_json::from_slice::<Value>(&bytes).ok()
        };
        key.starts_with("sb_secret_") || claims().is_some_and(|claims| claims["role"] == "service_role")
    }

    fn below(&self, segments: &[&str]) -> Result<Url, AccessError> {
        if !matches!(self.url.scheme(), "http" | "https") || !self.url.has_host() {
            return Err(AccessError::Address);
        }
        let mut url = self.url.clone();
        url.set_query(None);
        url.path_segments_mut().map_err(|()| AccessError::Address)?.pop_if_empty().extend(segments);
        Ok(url)
    }
}

/// A row that cannot become a pair: a column is missing or has another type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// Id of the row, when at least the id could be read.
    pub id: Option<RowId>,
}

impl fmt::Display for Malformed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.id {
            Some(id) => write!(formatter, "row {id} lacks a column or has a column of another type"),
            None => formatter.write_str("a row without a readable id"),
        }
    }
}

impl Columns {
    /// Returns the column names in the table's order.
    pub(super) fn names(&self) -> [&str; 5] {
        [&self.id, &self.typo, &self.corrected, &self.domain, &self.created_at]
    }

    /// Returns the id of a record. A `numeric` column may write a whole number with a fraction of zeros.
    pub(crate) fn id_of(&self, record: &Map<String, Value>) -> Option<RowId> {
        match record.get(&self.id)? {
            Value::String(text) => RowId::of_text(text),
            value => self::number(value).map(RowId::of_number),
        }
    }

    /// Returns the id of a record, where it is a whole number.
    pub(super) fn number_of(&self, record: &Map<String, Value>) -> Option<i64> {
        number(record.get(&self.id)?)
    }

    /// Decodes a record as PostgREST, Realtime and a webhook write it. Null becomes an empty text,
    /// which [`Row::check`] refuses later, so that the row is counted. A value of another type
    /// makes the record [`Malformed`].
    pub(super) fn decode(&self, record: &Map<String, Value>) -> Result<Row, Malformed> {
        let id = self.id_of(record).ok_or(Malformed { id: None })?;
        let text = |name: &str| match record.get(name) {
            Some(Value::String(text)) => Ok(text.clone()),
            Some(Value::Null) => Ok(String::new()),
            _ => Err(Malformed { id: Some(id.clone()) }),
        };
        Ok(Row {
            id: id.number(),
            text_id: id.text().map(Into::into),
            typo: text(&self.typo)?,
            corrected: text(&self.corrected)?,
            domain: text(&self.domain)?,
            created_at: record.get(&self.created_at).and_then(Value::as_str).map(str::to_owned),
        })
    }
}

/// Returns a value that is a whole number. The lowest ones stand for texts; no table counts down to them.
fn number(value: &Value) -> Option<i64> {
    let number = value.as_i64().or_else(|| whole(value.as_f64()?))?;
    (!is_text(number)).then_some(number)
}

/// Returns a number without a fraction as an integer, if a float holds it exactly.
fn whole(number: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    (number.fract() == 0.0 && number.abs() < EXACT).then_some(number as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn decode(record: &Value) -> Result<Row, Malformed> {
        Columns::default().decode(record.as_object().expect("an object"))
    }

    #[test]
    fn null_is_empty_and_another_type_is_malformed() {
        let row = decode(&json!({"id": "7", "typo": null, "corrected": "b", "domain": "c", "created_at": 5}));
        assert_eq!(row.expect("a row").id, 7);
        let number = decode(&json!({"id": 8, "typo": 1, "corrected": "b", "domain": "c"}));
        assert_eq!(number, Err(Malformed { id: Some(8.into()) }));
        assert_eq!(decode(&json!({"id": 1.5})), Err(Malformed { id: None }));
        let numeric = decode(&json!({"id": 9.00, "typo": "a", "corrected": "b", "domain": "c"}));
        assert_eq!(numeric.map(|row| (row.id, row.created_at)), Ok((9, None)));
    }

    #[test]
    fn addresses_keep_a_path_and_lose_nothing() {
        let url = Url::parse("https://example.org/base/").expect("an address");
        let access = TableAccess::new(url, "sb_secret_x".to_owned().into());
        let rest = access.rest_url().expect("an address");
        assert_eq!(rest.as_str(), "https://example.org/base/rest/v1/typo_training_dataset");
        let realtime = access.realtime_url().expect("an address");
        assert!(realtime.expose_secret().starts_with("wss://example.org/base/realtime/v1/websocket?apikey="));
        assert!(access.token().is_none());
        assert!(!format!("{access:?}").contains("sb_secret_x"));
    }

    #[test]
    fn other_schemes_are_refused() {
        let access = TableAccess::new(Url::parse("mailto:a@b.c").expect("an address"), "k".to_owned().into());
        assert_eq!(access.rest_url(), Err(AccessError::Address));
    }

    proptest! {
        #[test]
        fn any_record_is_read_without_panic(text in "\\{.{0,80}\\}", id in any::<f64>()) {
            if let Ok(Value::Object(record)) = serde_json::from_str(&text) {
                let _ = Columns::default().decode(&record);
            }
            let _ = decode(&json!({"id": id, "typo": "a", "corrected": "b", "domain": "c"}));
        }
    }
}

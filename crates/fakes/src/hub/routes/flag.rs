//! Booleans of queries and forms. `requests`, the HTTP library of the Python client before 1.0,
//! writes them as Python does: `True`.

use serde::{Deserialize, Deserializer};

/// Returns true for `true`, `True` and `1`, as the Hub reads them.
pub(super) fn is_set(text: &str) -> bool {
    matches!(text, "1") || text.eq_ignore_ascii_case("true")
}

/// Deserializes a flag of a query.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(is_set(&String::deserialize(deserializer)?))
}

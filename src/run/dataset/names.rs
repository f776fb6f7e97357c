//! Names besides those of the rows: the source that `CATALOG` names, and the identity of a list of
//! names. Records and receipts contain only that identity.

use serde::{Deserialize, Serialize};

use crate::hub::{Digest, Hasher};
use crate::ingest::{CatalogError, CatalogSource, TableAccess};

/// Source of names besides those of the rows.
#[derive(Debug, Clone)]
pub struct NameSource {
    /// File or table to read.
    pub source: CatalogSource,
    /// Project and key for reading a table; `None` when no project is set.
    pub access: Option<TableAccess>,
}

impl NameSource {
    /// Reads every `(domain, name)`. The domain is empty when a name belongs to all domains.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub async fn read(&self) -> Result<Vec<(String, String)>, CatalogError> {
        self.source.read_in(self.access.as_ref()).await
    }
}

/// Identity of a list of names: its count and hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameList {
    /// Number of names.
    pub count: usize,
    /// SHA-256 over the names in their order, with their domains.
    pub sha256: Digest,
}

impl NameList {
    /// Returns the identity of these names.
    pub fn of(names: &[(String, String)]) -> Self {
        let mut digest = Hasher::default();
        hash_names(&mut digest, names);
        Self { count: names.len(), sha256: digest.digest() }
    }
}

/// Hashes names in their order, with their domains.
pub(super) fn hash_names(digest: &mut Hasher, names: &[(String, String)]) {
    names.iter().flat_map(|(domain, name)| [domain, name]).for_each(|text| digest.update_text(text));
}

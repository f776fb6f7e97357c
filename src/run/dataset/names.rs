//! Names besides those of the rows: the source that `CATALOG` names, and the identity of a list of
//! names. Records and receipts contain only that identity.

use serde::{Deserialize, Serialize};

use crate::catalog_row::CatalogRow;
use crate::hub::{Digest, Hasher};
use crate::ingest::{CatalogError, CatalogSource, TableAccess};

/// Source of names besides those of the rows.
#[derive(Debug, Clone)]
pub struct NameSource {
    /// File or table to read.
    pub source: CatalogSource,
    /// Project and key for reading a table; `None` when no project is set.
    pub access: Option<TableAccess>,
    /// Domains whose names may stand in columns of their own; see [`CatalogSource`].
    pub domains: Vec<String>,
}

impl NameSource {
    /// Reads every row of names.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub async fn read(&self) -> Result<Vec<CatalogRow>, CatalogError> {
        self.source.read_in(self.access.as_ref(), &self.domains).await
    }
}

/// Identity of a list of names: its count and hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameList {
    /// Number of rows. Most catalogs have one name in each.
    pub count: usize,
    /// SHA-256 over the names in their order, with their domains.
    pub sha256: Digest,
}

impl NameList {
    /// Returns the identity of these names.
    pub fn of(names: &[CatalogRow]) -> Self {
        let mut digest = Hasher::default();
        hash_names(&mut digest, names);
        Self { count: names.len(), sha256: digest.digest() }
    }
}

/// Hashes names in their order, with their domains.
pub(super) fn hash_names(digest: &mut Hasher, rows: &[CatalogRow]) {
    for row in rows {
        if row.names().len() != 1 {
            // Several names in one row are not the same as each in a row of its own.
            digest.update(b"row");
            digest.update(&row.names().len().to_le_bytes());
        }
        row.names().flat_map(|(domain, name)| [domain, name]).for_each(|text| digest.update_text(text));
    }
}

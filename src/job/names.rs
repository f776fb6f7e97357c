//! Names beside those that people corrected to: what `CATALOG` names.

use crate::supabase::{Access, CatalogueError, CatalogueSource};

/// Where further names come from.
#[derive(Debug, Clone)]
pub struct NameSource {
    /// The file or table.
    pub source: CatalogueSource,
    /// The project a table is in.
    pub access: Option<Access>,
}

impl NameSource {
    /// Every `(domain, name)`; the domain is empty where a name belongs to all of them.
    ///
    /// # Errors
    /// [`CatalogueError`].
    pub async fn read(&self) -> Result<Vec<(String, String)>, CatalogueError> {
        self.source.read_in(self.access.as_ref()).await
    }
}

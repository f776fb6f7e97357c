//! Names beside those that people corrected to: what `CATALOG` names, and what it named when a run read it.
//!
//! The file or table changes, and a run depends on the names as on its rows. So a list of names is kept once by its
//! hash, in the data directory and nowhere else; records and receipts have the hash and the count.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::hub::{Digest, Hasher};
use crate::ingest::{CatalogError, CatalogSource, TableAccess};

use crate::run::error::RunError;
use crate::run::storage::{keep_newest, replace};

/// The folder of lists below the data directory.
pub(in crate::run) const LISTS: &str = "names";
/// How many lists are kept. A catalog that never changes is one list.
const KEPT: usize = 100;
/// What their names end in.
const SUFFIX: &str = ".jsonl";

/// Where further names come from.
#[derive(Debug, Clone)]
pub struct NameSource {
    /// The file or table.
    pub source: CatalogSource,
    /// The project a table is in.
    pub access: Option<TableAccess>,
}

impl NameSource {
    /// Every `(domain, name)`; the domain is empty where a name belongs to all of them.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub async fn read(&self) -> Result<Vec<(String, String)>, CatalogError> {
        self.source.read_in(self.access.as_ref()).await
    }
}

/// A list of names, by what tells it from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameList {
    /// How many there are.
    pub count: usize,
    /// SHA-256 over them in their order, with their domains; lengths keep texts apart.
    pub sha256: Digest,
}

impl NameList {
    /// What tells these names from others.
    pub fn of(names: &[(String, String)]) -> Self {
        let mut digest = Hasher::default();
        for text in names.iter().flat_map(|(domain, name)| [domain, name]) {
            digest.update(&(text.len() as u64).to_le_bytes());
            digest.update(text.as_bytes());
        }
        Self { count: names.len(), sha256: digest.digest() }
    }
}

/// A folder of lists, `<hash>.jsonl` each, one name a line.
#[derive(Debug, Clone)]
pub(in crate::run) struct NameLists {
    folder: PathBuf,
}

impl NameLists {
    /// The lists below a folder.
    pub(in crate::run) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The file of a list.
    pub(in crate::run) fn path(&self, list: &NameList) -> PathBuf {
        self.folder.join(format!("{}{SUFFIX}", list.sha256))
    }

    /// The names of a list, if they are here and whole.
    pub(in crate::run) fn load(&self, list: &NameList) -> Option<Vec<(String, String)>> {
        let text = std::fs::read_to_string(self.path(list)).ok()?;
        let names: Result<Vec<_>, _> = text.lines().map(serde_json::from_str).collect();
        names.ok().filter(|names| NameList::of(names) == *list)
    }

    /// Keeps names, and forgets the lists that have not been used for longest.
    pub(in crate::run) fn keep(&self, names: &[(String, String)]) -> Result<(), RunError> {
        let mut bytes = Vec::new();
        for name in names {
            serde_json::to_writer(&mut bytes, name).map_err(crate::broker::QueueError::from)?;
            bytes.push(b'\n');
        }
        replace(&self.path(&NameList::of(names)), &bytes)?;
        keep_newest(&self.folder, SUFFIX, KEPT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(texts: &[(&str, &str)]) -> Vec<(String, String)> {
        texts.iter().map(|(domain, name)| ((*domain).to_owned(), (*name).to_owned())).collect()
    }

    #[test]
    fn a_list_comes_back_by_its_hash_and_a_damaged_one_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let lists = NameLists::new(folder.path().join("names"));
        let (one, other) = (names(&[("brand", "Kia"), ("", "U\np")]), names(&[("brand", "Kiau"), ("", "p")]));
        let list = NameList::of(&one);
        assert_ne!(list.sha256, NameList::of(&other).sha256);
        assert_eq!(lists.load(&list), None);
        lists.keep(&one).unwrap();
        lists.keep(&other).unwrap();
        assert_eq!(lists.load(&list), Some(one));
        std::fs::write(lists.path(&list), "[\"brand\",\"Kio\"]\n").unwrap();
        assert_eq!(lists.load(&list), None);
    }
}

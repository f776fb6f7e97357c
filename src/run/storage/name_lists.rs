//! The lists of names that runs have read from `CATALOG`.
//!
//! The file or table changes over time, and a run depends on these names as much as on its rows. So
//! each list of names is stored once, by its hash, in the data directory and nowhere else.

use std::path::{Path, PathBuf};

use crate::catalog_row::CatalogRow;
use crate::run::dataset::NameList;
use crate::run::error::RunError;

use super::files::{keep_newest, replace_json_lines};

/// Name of the folder of lists below the data directory.
const LISTS: &str = "names";
/// Number of lists that are kept. A catalog that never changes is one list.
const MAX_LISTS: usize = 100;
/// Suffix of a list's file name.
const SUFFIX: &str = ".jsonl";

/// Folder of lists, each in a file `<hash>.jsonl` with one row of names per line.
#[derive(Debug, Clone)]
pub(in crate::run) struct NameLists {
    folder: PathBuf,
}

impl NameLists {
    /// Returns the lists below a data directory.
    pub(in crate::run) fn new(data_dir: &Path) -> Self {
        Self { folder: data_dir.join(LISTS) }
    }

    /// Returns the path of a list's file.
    pub(in crate::run) fn path(&self, list: &NameList) -> PathBuf {
        self.folder.join(format!("{}{SUFFIX}", list.sha256))
    }

    /// Loads the names of a list, if its file is on this disk and matches the hash.
    pub(in crate::run) fn load(&self, list: &NameList) -> Option<Vec<CatalogRow>> {
        let text = std::fs::read_to_string(self.path(list)).ok()?;
        let names: Result<Vec<_>, _> = text.lines().map(serde_json::from_str).collect();
        names.ok().filter(|names| NameList::of(names) == *list)
    }

    /// Stores names, and removes the lists that have not been used for the longest time.
    pub(in crate::run) fn store(&self, names: &[CatalogRow]) -> Result<(), RunError> {
        replace_json_lines(&self.path(&NameList::of(names)), names)?;
        keep_newest(&self.folder, SUFFIX, MAX_LISTS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(texts: &[(&str, &str)]) -> Vec<CatalogRow> {
        texts.iter().map(|(domain, name)| CatalogRow::alone(*domain, *name)).collect()
    }

    #[test]
    fn a_list_comes_back_by_its_hash_and_a_damaged_one_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let lists = NameLists::new(folder.path());
        let (one, other) = (names(&[("brand", "Kia"), ("", "U\np")]), names(&[("brand", "Kiau"), ("", "p")]));
        let list = NameList::of(&one);
        assert_ne!(list.sha256, NameList::of(&other).sha256);
        assert_eq!(lists.load(&list), None);
        lists.store(&one).unwrap();
        lists.store(&other).unwrap();
        assert_eq!(lists.load(&list), Some(one));
        std::fs::write(lists.path(&list), "[\"brand\",\"Kio\"]\n").unwrap();
        assert_eq!(lists.load(&list), None);
    }
}

//! Zips of models.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use autovalidate_finetune::model::archive::{ArchiveError, ArchiveLimits, pack, unpack_within};
use autovalidate_finetune::model::find_model;

use crate::scratch;

/// The product's number of entries, and fewer bytes: memory holds what is unpacked here.
const LIMITS: ArchiveLimits = ArchiveLimits { entries: 10_000, bytes: 8 << 20 };

/// Unpacks the input. Everything must be inside the folder, nothing is left after an error, and what is
/// packed again must unpack to the same files.
pub(crate) fn unpack(input: &[u8]) {
    let home = scratch::folder();
    let zip = home.path().join("model.zip");
    fs::write(&zip, input).expect("a file");
    let into = home.path().join("into");
    let Ok(inner) = unpack_within(&zip, &into, LIMITS) else {
        assert_eq!(names(home.path()), ["model.zip"], "something is left");
        return;
    };
    assert!(inner.starts_with(&into));
    assert_eq!(names(home.path()), ["into", "model.zip"], "something is outside");
    let _ = find_model(&inner);

    let (again, copy) = (home.path().join("again.zip"), home.path().join("copy"));
    pack(&inner, "model", &again).expect("plain names can be packed");
    match unpack_within(&again, &copy, LIMITS) {
        Ok(copied) => assert_eq!(files(&copied, &copy.join("model")), files(&inner, &inner)),
        // The folder around the files makes names longer than the longest.
        Err(ArchiveError::UnsafeName { .. }) => {}
        Err(error) => panic!("{error:?}"),
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Returns every file below a folder, by its name relative to another one.
fn files(folder: &Path, relative: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => found.extend(files(&path, relative)),
            false => {
                let name = path.strip_prefix(relative).expect("inside").to_string_lossy().into_owned();
                found.insert(name, fs::read(&path).expect("a file"));
            }
        }
    }
    found
}

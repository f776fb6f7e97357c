//! Packing and unpacking, and attacks by zips from outside.
#![allow(clippy::unwrap_used, reason = "the lint's exception for tests does not reach their helpers")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use autovalidate_finetune::failure::{Failure, RetryDirective};
use autovalidate_finetune::model::archive::{ArchiveError, ArchiveLimits, pack, unpack, unpack_within};
use proptest::prelude::*;
use tempfile::TempDir;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use crate::support;

/// Writes a folder like that of a model.
fn model_folder(at: &Path) {
    fs::create_dir_all(at.join("1_Pooling")).unwrap();
    fs::create_dir_all(at.join("onnx")).unwrap();
    fs::write(at.join("modules.json"), "[]".repeat(1_000)).unwrap();
    fs::write(at.join("1_Pooling/config.json"), "{}").unwrap();
    fs::write(at.join("model.safetensors"), vec![7; 100_000]).unwrap();
    fs::write(at.join("onnx/model.onnx"), vec![8; 50_000]).unwrap();
}

fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.strip_prefix(folder).unwrap().to_path_buf(), fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// Returns the bytes of a zip as another program might write it.
fn zip_of(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// Unpacks these bytes, which must fail and leave nothing behind.
#[track_caller]
fn refused(bytes: &[u8]) -> ArchiveError {
    let home = TempDir::new().unwrap();
    let zip_path = home.path().join("outside.zip");
    fs::write(&zip_path, bytes).unwrap();
    let into = home.path().join("below/models");
    fs::create_dir_all(&into).unwrap();
    let error = unpack(&zip_path, &into).unwrap_err();
    assert_eq!(fs::read_dir(&into).unwrap().count(), 0, "something was left behind");
    assert_eq!(contents(home.path()).len(), 1, "something was written outside");
    error
}

#[test]
fn what_is_packed_is_unpacked() {
    let home = TempDir::new().unwrap();
    let (folder, zip_path) = (home.path().join("model"), home.path().join("model.zip"));
    model_folder(&folder);
    pack(&folder, "finetuned-1", &zip_path).unwrap();
    let top = unpack(&zip_path, &home.path().join("unpacked/here")).unwrap();
    assert_eq!(top, home.path().join("unpacked/here/finetuned-1"));
    assert_eq!(fs::read_dir(home.path().join("unpacked")).unwrap().count(), 1);
    assert_eq!(contents(&top), contents(&folder));
    assert_eq!(fs::read_dir(top.parent().unwrap()).unwrap().count(), 1, "no work folder is left");
}

#[test]
fn the_same_folder_gives_the_same_bytes() {
    let home = TempDir::new().unwrap();
    let zips = ["one", "two"].map(|name| {
        let folder = home.path().join(name);
        model_folder(&folder);
        // Permissions and times differ from machine to machine, and must not change the bytes.
        let file = File::open(folder.join("modules.json")).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        let zip_path = home.path().join(format!("{name}.zip"));
        pack(&folder, "top", &zip_path).unwrap();
        fs::read(zip_path).unwrap()
    });
    assert!(zips[0] == zips[1]);
}

#[test]
fn weights_are_stored_and_the_rest_deflated_below_one_folder() {
    let home = TempDir::new().unwrap();
    model_folder(&home.path().join("model"));
    let zip_path = home.path().join("model.zip");
    pack(&home.path().join("model"), "top", &zip_path).unwrap();
    let mut zip = ZipArchive::new(File::open(&zip_path).unwrap()).unwrap();
    let entries: Vec<(String, CompressionMethod)> = (0..zip.len())
        .map(|index| {
            let entry = zip.by_index(index).unwrap();
            (entry.name().unwrap().into_owned(), entry.compression())
        })
        .collect();
    let expected = [
        ("top/1_Pooling/config.json", CompressionMethod::Deflated),
        ("top/model.safetensors", CompressionMethod::Stored),
        ("top/modules.json", CompressionMethod::Deflated),
        ("top/onnx/model.onnx", CompressionMethod::Stored),
    ];
    assert_eq!(entries, expected.map(|(name, method)| (name.to_owned(), method)));
}

#[test]
fn pythons_zipfile_reads_ours_and_we_read_its() {
    let home = TempDir::new().unwrap();
    model_folder(&home.path().join("model"));
    pack(&home.path().join("model"), "top", &home.path().join("ours.zip")).unwrap();
    // The backend unpacks zips with `extractall`. The pipeline before this one packed them with
    // `make_archive`, which adds entries for folders.
    let script = "import shutil, zipfile\n\
        assert zipfile.ZipFile('ours.zip').testzip() is None\n\
        zipfile.ZipFile('ours.zip').extractall('by-python')\n\
        shutil.make_archive('theirs', 'zip', root_dir='by-python', base_dir='top')\n";
    let status =
        Command::new(support::python()).args(["-c", script]).current_dir(home.path()).status().unwrap();
    assert!(status.success());
    let top = unpack(&home.path().join("theirs.zip"), &home.path().join("by-us")).unwrap();
    assert_eq!(contents(&top), contents(&home.path().join("model")));
}

#[test]
fn a_folder_with_a_link_is_not_packed_and_an_older_zip_stays() {
    let home = TempDir::new().unwrap();
    let (folder, zip_path) = (home.path().join("model"), home.path().join("model.zip"));
    model_folder(&folder);
    symlink("/etc/hostname", folder.join("link")).unwrap();
    fs::write(&zip_path, "older").unwrap();
    assert!(matches!(pack(&folder, "top", &zip_path), Err(ArchiveError::Unpackable { .. })));
    assert_eq!(fs::read(&zip_path).unwrap(), b"older");
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 2, "no temporary file is left");
    for name in ["", ".", "..", "a/b", "/a", "a\\b"] {
        assert!(matches!(pack(&folder, name, &zip_path), Err(ArchiveError::TopName { .. })), "{name}");
    }
    let missing = pack(&home.path().join("nowhere"), "top", &zip_path);
    assert!(matches!(missing, Err(ArchiveError::Io { .. })));
}

#[test]
fn names_that_lead_outside_are_refused() {
    for name in [
        "../evil",
        "top/../../evil",
        "top/../evil",
        "top\\..\\evil",
        "C:/evil",
        "top/a\u{0}b",
        "top/\u{1b}[2J",
    ] {
        let error = refused(&zip_of(&[("top/fine.json", b"{}"), (name, b"evil")]));
        assert!(matches!(error, ArchiveError::UnsafeName { index: 1 }), "{name:?}: {error}");
        assert_eq!(error.directive(), RetryDirective::Never);
    }
}

#[test]
fn deep_and_long_names_are_refused() {
    let deep = format!("{}x", "a/".repeat(30_000));
    let long = format!("top/{}/{}", "a".repeat(200), "b/".repeat(500));
    for name in [deep.as_str(), &long, &"a/".repeat(17)] {
        let error = refused(&zip_of(&[("top/fine.json", b"{}"), (name, b"evil")]));
        assert!(matches!(error, ArchiveError::UnsafeName { index: 1 }), "{error}");
    }
}

#[test]
fn links_become_files_and_lead_nowhere() {
    let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.add_symlink("top/link", "/etc", SimpleFileOptions::default()).unwrap();
    zip.start_file("top/other", SimpleFileOptions::default()).unwrap();
    let home = TempDir::new().unwrap();
    let zip_path = home.path().join("link.zip");
    fs::write(&zip_path, zip.finish().unwrap().into_inner()).unwrap();
    let top = unpack(&zip_path, &home.path().join("in")).unwrap();
    assert!(top.join("link").symlink_metadata().unwrap().is_file());
    assert_eq!(fs::read(top.join("link")).unwrap(), b"/etc", "as Python writes it");

    let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.add_symlink("top/link", "/etc", SimpleFileOptions::default()).unwrap();
    zip.start_file("top/link/evil", SimpleFileOptions::default()).unwrap();
    assert!(matches!(refused(&zip.finish().unwrap().into_inner()), ArchiveError::FileAndFolder));
}

#[test]
fn a_zip_without_files_is_refused() {
    for entries in [&[][..], &[("__MACOSX/._a", b"a".as_slice()), (".DS_Store", b"b")]] {
        assert!(matches!(refused(&zip_of(entries)), ArchiveError::NoFile));
    }
}

#[test]
fn of_a_name_that_comes_twice_the_last_counts() {
    // The writer refuses to write a name twice, so two different names are made equal afterwards.
    let mut bytes = zip_of(&[("top/first", b"1"), ("top/secnd", b"2")]);
    replace(&mut bytes, b"top/secnd", b"top/first");
    let home = TempDir::new().unwrap();
    let zip_path = home.path().join("twice.zip");
    fs::write(&zip_path, bytes).unwrap();
    let top = unpack(&zip_path, &home.path().join("in")).unwrap();
    assert_eq!(fs::read(top.join("first")).unwrap(), b"2", "as with Python");
    let file_and_folder = zip_of(&[("top/a", b"1"), ("top/a/b", b"2")]);
    assert!(matches!(refused(&file_and_folder), ArchiveError::FileAndFolder));
}

#[test]
fn bombs_are_refused_by_their_claim_and_by_what_comes_out() {
    let home = TempDir::new().unwrap();
    let zip_path = home.path().join("bomb.zip");
    let into = home.path().join("into");
    let unpack_to = |bytes: &[u8], limits| {
        fs::write(&zip_path, bytes).unwrap();
        let _ = fs::remove_dir_all(&into);
        let result = unpack_within(&zip_path, &into, limits);
        assert!(result.is_ok() || fs::read_dir(&into).map_or(0, Iterator::count) == 0, "left behind");
        result
    };
    let limits = ArchiveLimits { entries: 2, bytes: 1_000 };

    let many = zip_of(&[("top/a", b""), ("top/b", b""), ("top/c", b"")]);
    assert!(matches!(unpack_to(&many, limits), Err(ArchiveError::TooLarge(_))));
    let large = zip_of(&[("top/a", &[0; 600]), ("top/b", &[0; 600])]);
    assert!(matches!(unpack_to(&large, limits), Err(ArchiveError::TooLarge(_))));

    // A zip with a false size: an entry that claims a hundred bytes unpacks to a million.
    let mut liar = zip_of(&[("top/a", &vec![0; 1_000_000])]);
    replace(&mut liar, &1_000_000u32.to_le_bytes(), &100u32.to_le_bytes());
    let result = unpack_to(&liar, limits);
    assert!(matches!(result, Err(ArchiveError::TooLarge(_) | ArchiveError::Malformed(_))), "{result:?}");

    let exact = zip_of(&[("top/a", &[0; 500]), ("top/b", &[0; 500])]);
    unpack_to(&exact, limits).unwrap();
}

#[test]
fn a_zip_cut_short_anywhere_is_refused_and_leaves_nothing() {
    let whole = zip_of(&[("top/a", &[1; 300]), ("top/b", &[2; 300])]);
    for length in 0..whole.len() {
        assert!(matches!(refused(&whole[..length]), ArchiveError::Malformed(_)), "cut to {length}");
    }
}

#[test]
fn a_damaged_file_is_refused_by_its_checksum() {
    let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    zip.start_file("top/weights.bin", stored).unwrap();
    zip.write_all(b"precious weights").unwrap();
    let mut bytes = zip.finish().unwrap().into_inner();
    replace(&mut bytes, b"precious", b"previous");
    assert!(matches!(refused(&bytes), ArchiveError::Malformed(_)));
}

#[test]
fn a_folder_that_is_there_is_not_touched() {
    let home = TempDir::new().unwrap();
    let zip_path = home.path().join("model.zip");
    fs::write(&zip_path, zip_of(&[("top/a", b"new")])).unwrap();
    let into = home.path().join("in");
    fs::create_dir(&into).unwrap();
    fs::write(into.join("a"), "old").unwrap();
    assert!(matches!(unpack(&zip_path, &into), Err(ArchiveError::Occupied { .. })));
    assert_eq!(contents(&into), BTreeMap::from([(PathBuf::from("a"), b"old".to_vec())]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        refused(&bytes);
    }

    #[test]
    fn a_zip_with_some_bytes_changed_is_refused_or_right(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let home = TempDir::new().unwrap();
        let mut bytes = zip_of(&[("top/a.json", &[1; 200]), ("top/b/c.bin", b"0123456789")]);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let zip_path = home.path().join("changed.zip");
        fs::write(&zip_path, &bytes).unwrap();
        let into = home.path().join("into");
        match unpack(&zip_path, &into) {
            // Names and dates carry no checksum and may differ; files must not.
            Ok(top) => prop_assert!(contents(&top).values().all(|file| file == &[1; 200] || file == b"0123456789")),
            Err(_) => prop_assert_eq!(fs::read_dir(&into).map_or(0, Iterator::count), 0),
        }
    }
}

fn replace(bytes: &mut [u8], old: &[u8], new: &[u8]) {
    assert_eq!(old.len(), new.len());
    let mut found = 0;
    for at in 0..bytes.len() - old.len() {
        if bytes[at..].starts_with(old) {
            bytes[at..at + old.len()].copy_from_slice(new);
            found += 1;
        }
    }
    assert!(found > 0, "nothing was replaced");
}

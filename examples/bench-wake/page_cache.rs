//! Removal of files from the page cache, so that a start reads them from the disk again.

use std::fs::File;
use std::path::Path;
use std::process::Command;

/// Writes the files at and below these paths to the disk and removes them from the page cache.
pub(crate) fn evict(paths: &[&Path]) {
    for path in paths {
        if path.is_dir() {
            for entry in std::fs::read_dir(path).unwrap() {
                evict(&[&entry.unwrap().path()]);
            }
        } else {
            // Only pages that are on the disk can be removed.
            File::open(path).unwrap().sync_all().unwrap();
            let mut input = std::ffi::OsString::from("if=");
            input.push(path);
            // With `nocache` and nothing to copy, GNU dd only gives this advice to the system.
            let dd = Command::new("dd").arg(input).args(["iflag=nocache", "count=0", "status=none"]).status();
            assert!(dd.unwrap().success(), "dd of GNU coreutils");
        }
    }
}

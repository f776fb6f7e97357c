//! Packing of a folder into a zip. The same folder gives the same bytes, so a retried upload sends
//! the same file.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use zip::result::ZipError;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::{ArchiveError, io_error, is_plain_name};
use crate::durable::replace_with;

/// Extensions of files that are stored uncompressed. Weights look like noise to a compressor:
/// deflating them costs minutes and saves next to nothing.
const STORED: [&str; 3] = ["safetensors", "onnx", "bin"];

/// Packs `folder` into `zip_path`, with all entries below one top folder `top_name`.
///
/// Entries are in the order of their names, and every entry has the format's first date as its
/// time. An existing file is replaced. Empty folders are left out. Memory use is small whatever the
/// file sizes.
///
/// # Errors
/// When the folder can't be read or contains links, or the zip can't be written. `zip_path` is then
/// unchanged.
pub fn pack(folder: &Path, top_name: &str, zip_path: &Path) -> Result<(), ArchiveError> {
    if !is_plain_name(top_name) {
        return Err(ArchiveError::TopName { name: top_name.to_owned() });
    }
    let mut files = Vec::new();
    collect(folder, top_name, &mut files)?;
    // File systems list a folder in no particular order.
    files.sort();

    let written = |error| match error {
        ZipError::Io(source) => io_error("writing", zip_path)(source),
        other => ArchiveError::Write(other),
    };
    let failed = |source| io_error("writing", zip_path)(source);
    replace_with(zip_path, failed, |out| {
        let mut zip = ZipWriter::new(BufWriter::new(out));
        for (name, path) in files {
            let mut file = File::open(&path).map_err(io_error("opening", &path))?;
            let size = file.metadata().map_err(io_error("reading", &path))?.len();
            zip.start_file(name, options(&path, size)).map_err(written)?;
            io::copy(&mut file, &mut zip).map_err(io_error("packing", &path))?;
        }
        let mut buffer = zip.finish().map_err(written)?;
        buffer.flush().map_err(failed)
    })
}

/// Collects the files below `folder` with their names in the zip.
fn collect(folder: &Path, name: &str, files: &mut Vec<(String, PathBuf)>) -> Result<(), ArchiveError> {
    for entry in fs::read_dir(folder).map_err(io_error("reading", folder))? {
        let entry = entry.map_err(io_error("reading", folder))?;
        let path = entry.path();
        let kind = entry.file_type().map_err(io_error("reading", &path))?;
        let Some(own) = entry.file_name().to_str().filter(|own| is_plain_name(own)).map(str::to_owned) else {
            return Err(ArchiveError::Unpackable { path });
        };
        let name = format!("{name}/{own}");
        if kind.is_dir() {
            collect(&path, &name, files)?;
        } else if kind.is_file() {
            files.push((name, path));
        } else {
            // Links are not followed: the target may be outside the folder, or change later.
            return Err(ArchiveError::Unpackable { path });
        }
    }
    Ok(())
}

fn options(path: &Path, size: u64) -> SimpleFileOptions {
    let is_stored =
        path.extension().is_some_and(|extension| STORED.iter().any(|stored| extension == *stored));
    SimpleFileOptions::default()
        .compression_method(if is_stored { CompressionMethod::Stored } else { CompressionMethod::Deflated })
        .last_modified_time(DateTime::DEFAULT)
        .unix_permissions(0o644)
        // Deflate slightly enlarges data that it can't compress, hence the margin below the
        // format's 4 GiB.
        .large_file(size >= u64::from(u32::MAX) - (1 << 24))
}

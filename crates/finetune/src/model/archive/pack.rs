//! Folder to zip. The same folder gives the same bytes, so an upload that is tried again is the same file.

use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use zip::result::ZipError;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::{ArchiveError, io_error, is_plain_name, parent, sync_folder};

/// Weights are noise to a compressor: deflating them costs minutes and saves next to nothing.
const STORED: [&str; 3] = ["safetensors", "onnx", "bin"];

/// Packs `folder` into `zip_path`, everything below one top folder `top_name`, in the order of the names and with
/// the format's first date as every entry's time. Replaces a file that is there. Empty folders are left out.
/// Memory stays small whatever the sizes.
///
/// # Errors
/// When the folder can't be read or holds links, or the zip can't be written; then `zip_path` is as it was.
pub fn pack(folder: &Path, top_name: &str, zip_path: &Path) -> Result<(), ArchiveError> {
    if !is_plain_name(top_name) {
        return Err(ArchiveError::TopName { name: top_name.to_owned() });
    }
    let mut files = Vec::new();
    collect(folder, top_name, &mut files)?;
    // The order a file system lists a folder in is its own affair.
    files.sort();

    let destination = parent(zip_path);
    let beside =
        tempfile::NamedTempFile::new_in(destination).map_err(io_error("creating a file in", destination))?;
    let written = |error| match error {
        ZipError::Io(source) => io_error("writing", zip_path)(source),
        other => ArchiveError::Write(other),
    };
    let mut zip = ZipWriter::new(BufWriter::new(beside.as_file()));
    for (name, path) in files {
        let mut file = File::open(&path).map_err(io_error("opening", &path))?;
        let size = file.metadata().map_err(io_error("reading", &path))?.len();
        zip.start_file(name, options(&path, size)).map_err(written)?;
        io::copy(&mut file, &mut zip).map_err(io_error("packing", &path))?;
    }
    let buffer = zip.finish().map_err(written)?;
    buffer.into_inner().map_err(|error| io_error("writing", zip_path)(error.into_error()))?;
    beside.as_file().sync_all().map_err(io_error("syncing", zip_path))?;
    beside.persist(zip_path).map_err(|error| io_error("renaming to", zip_path)(error.error))?;
    sync_folder(destination)
}

/// The files below `folder` with their names in the zip.
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
            // A link is not followed: what it points to may be outside, or different tomorrow.
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
        // Deflate lengthens a little what it can't shorten, hence some room below the format's 4 GiB.
        .large_file(size >= u64::from(u32::MAX) - (1 << 24))
}

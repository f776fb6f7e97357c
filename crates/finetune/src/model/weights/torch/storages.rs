//! The places of the numbers in a pickled file, in the layout of PyTorch 1.6 and in the one before.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use zip::result::ZipError;
use zip::{CompressionMethod, ZipArchive};

use super::pickle::{self, NamedTensors, PickleError};

/// Largest description in bytes. That of a model has about a hundred bytes per tensor.
const MAX_PICKLE: u64 = 16 << 20;
/// Largest number of entries of the zip: one per tensor, and a few more.
const MAX_ENTRIES: usize = 100_000;
/// First bytes of a zip.
const ZIP: &[u8] = b"PK\x03\x04";
/// First two pickles of a file from before PyTorch 1.6: its magic number and its version.
const FORMER: &[u8] = b"\x80\x02\x8a\nl\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.";

/// Tensors of a file, and the place and length of each storage's bytes, by its key.
pub(super) struct Described {
    pub(super) tensors: NamedTensors,
    pub(super) places: HashMap<String, (u64, u64)>,
}

/// Error of reading a pickled file.
pub(super) enum StorageError {
    Io(io::Error),
    Zip(ZipError),
    Pickle(PickleError),
}

impl From<io::Error> for StorageError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<PickleError> for StorageError {
    fn from(error: PickleError) -> Self {
        Self::Pickle(error)
    }
}

impl From<ZipError> for StorageError {
    fn from(error: ZipError) -> Self {
        match error {
            ZipError::Io(error) => Self::Io(error),
            other => Self::Zip(other),
        }
    }
}

fn refused(what: &str) -> StorageError {
    PickleError::Refused(what.to_owned()).into()
}

/// Reads the description of a file of this length.
pub(super) fn read(mut file: File, length: u64) -> Result<Described, StorageError> {
    let mut first = Vec::new();
    Read::by_ref(&mut file).take(FORMER.len() as u64).read_to_end(&mut first)?;
    if first.starts_with(ZIP) {
        file.rewind()?;
        zipped(ZipArchive::new(BufReader::new(file))?, length)
    } else if first == FORMER {
        former(&mut file, length)
    } else {
        Err(refused("neither of PyTorch's layouts"))
    }
}

fn zipped(mut zip: ZipArchive<BufReader<File>>, length: u64) -> Result<Described, StorageError> {
    if zip.len() > MAX_ENTRIES {
        return Err(refused("more entries than any model has"));
    }
    let names: Vec<String> = zip.file_names().filter_map(|name| Some(name.ok()?.into_owned())).collect();
    let top = names.iter().find_map(|name| name.strip_suffix("/data.pkl"));
    let top = top.ok_or(PickleError::Damaged("it is a zip without the entry data.pkl"))?;
    let description = small_entry(&mut zip, &format!("{top}/data.pkl"), MAX_PICKLE)?;
    let description = description.ok_or_else(|| refused("a description larger than that of any model"))?;
    let order = format!("{top}/byteorder");
    if names.contains(&order) && small_entry(&mut zip, &order, 16)?.as_deref() != Some(b"little") {
        return Err(refused("numbers in the byte order of another machine"));
    }
    let (tensors, _) = pickle::tensors(&description)?;
    let mut places = HashMap::new();
    for key in tensors.iter().map(|(_, tensor)| &tensor.storage).collect::<BTreeSet<_>>() {
        let entry = zip.by_name(&format!("{top}/data/{key}"))?;
        let start = entry.data_start().filter(|_| entry.compression() == CompressionMethod::Stored);
        let start = start.ok_or_else(|| refused("compressed numbers"))?;
        if start.checked_add(entry.size()).is_none_or(|end| end > length) {
            return Err(PickleError::Damaged("it is cut short").into());
        }
        places.insert(key.clone(), (start, entry.size()));
    }
    Ok(Described { tensors, places })
}

/// Reads an entry; `None` when it is longer than `limit` bytes.
fn small_entry(
    zip: &mut ZipArchive<BufReader<File>>,
    name: &str,
    limit: u64,
) -> Result<Option<Vec<u8>>, ZipError> {
    let entry = zip.by_name(name)?;
    let mut bytes = Vec::new();
    entry.take(limit + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= limit).then_some(bytes))
}

/// Reads the layout from before PyTorch 1.6: after the first two pickles, one that describes the
/// machine, one that describes the tensors, one that lists the storages' keys, and then each storage
/// with its number of elements before it.
fn former(file: &mut File, length: u64) -> Result<Described, StorageError> {
    let mut head = Vec::new();
    Read::by_ref(file).take(MAX_PICKLE).read_to_end(&mut head)?;
    let (is_little, rest) = pickle::flag(&head, "little_endian")?;
    if !is_little {
        return Err(refused("numbers in the byte order of another machine"));
    }
    let (tensors, rest) = pickle::tensors(rest)?;
    let (keys, rest) = pickle::texts(rest)?;
    let sizes: HashMap<&str, u64> = tensors
        .iter()
        .map(|(_, tensor)| (tensor.storage.as_str(), (tensor.kind.0.bitsize() / 8) as u64))
        .collect();
    let mut at = FORMER.len() as u64 + (head.len() - rest.len()) as u64;
    let mut places = HashMap::new();
    for key in keys {
        let element = sizes.get(key.as_str()).ok_or_else(|| refused("numbers that belong to no tensor"))?;
        let mut count = [0; 8];
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut count)?;
        let bytes = u64::from_le_bytes(count).checked_mul(*element);
        let end = bytes.and_then(|bytes| (at + 8).checked_add(bytes)).filter(|end| *end <= length);
        let end = end.ok_or(PickleError::Damaged("it is cut short"))?;
        places.insert(key, (at + 8, end - at - 8));
        at = end;
    }
    Ok(Described { tensors, places })
}

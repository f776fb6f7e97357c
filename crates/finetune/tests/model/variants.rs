//! Folders made from a fixture: the same model with other number formats, several files, or other
//! names.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use half::{bf16, f16};
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize_to_file};
use tempfile::TempDir;

/// Copies a folder's description, without weights.
pub(crate) fn describe(from: &Path) -> TempDir {
    let home = tempfile::tempdir().unwrap();
    copy(from, home.path());
    fs::remove_file(home.path().join("model.safetensors")).unwrap();
    home
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            fs::create_dir(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A tensor with the bytes of its file.
pub(crate) type Stored = (Dtype, Vec<usize>, Vec<u8>);

/// Reads the tensors of a safetensors file.
pub(crate) fn read(path: &Path) -> BTreeMap<String, Stored> {
    let bytes = fs::read(path).unwrap();
    SafeTensors::deserialize(&bytes)
        .unwrap()
        .tensors()
        .into_iter()
        .map(|(name, view)| (name, (view.dtype(), view.shape().to_vec(), view.data().to_vec())))
        .collect()
}

/// Writes a safetensors file.
pub(crate) fn write<'a>(path: &Path, tensors: impl IntoIterator<Item = (&'a String, &'a Stored)>) {
    let views = tensors
        .into_iter()
        .map(|(name, (dtype, shape, data))| (name, TensorView::new(*dtype, shape.clone(), data).unwrap()));
    serialize_to_file(views, None, path).unwrap();
}

/// Rounds 32-bit floats to a smaller format, or leaves them unchanged.
pub(crate) fn rounded(floats: &Stored, dtype: Dtype) -> Stored {
    let numbers = floats.2.as_chunks().0.iter().map(|four| f32::from_le_bytes(*four));
    let data = match dtype {
        Dtype::F16 => numbers.flat_map(|number| f16::from_f32(number).to_le_bytes()).collect(),
        Dtype::BF16 => numbers.flat_map(|number| bf16::from_f32(number).to_le_bytes()).collect(),
        _ => floats.2.clone(),
    };
    (dtype, floats.1.clone(), data)
}

/// Returns a folder with the same model and weights of this format.
pub(crate) fn with_type(from: &Path, dtype: Dtype) -> TempDir {
    let home = describe(from);
    let tensors: BTreeMap<_, _> = read(&from.join("model.safetensors"))
        .into_iter()
        .map(|(name, tensor)| (name, rounded(&tensor, dtype)))
        .collect();
    write(&home.path().join("model.safetensors"), &tensors);
    home
}

/// Names of the files that [`sharded`] writes.
pub(crate) const SHARDS: [&str; 2] = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];

/// Returns a folder with the same model in two files and an index.
pub(crate) fn sharded(from: &Path) -> TempDir {
    let home = describe(from);
    let tensors = read(&from.join("model.safetensors"));
    let mut map = BTreeMap::new();
    for (shard, name) in SHARDS.into_iter().enumerate() {
        let part =
            || tensors.iter().enumerate().filter(|(place, _)| place % 2 == shard).map(|(_, entry)| entry);
        map.extend(part().map(|(tensor, _)| (tensor.clone(), name)));
        write(&home.path().join(name), part());
    }
    let index = serde_json::json!({ "metadata": { "total_size": 1 }, "weight_map": map });
    fs::write(home.path().join("model.safetensors.index.json"), index.to_string()).unwrap();
    home
}

/// Returns a folder with the same model as if saved with a task head: every name has a prefix.
pub(crate) fn prefixed(from: &Path, prefix: &str) -> TempDir {
    let home = describe(from);
    let tensors: BTreeMap<_, _> = read(&from.join("model.safetensors"))
        .into_iter()
        .map(|(name, tensor)| (format!("{prefix}{name}"), tensor))
        .collect();
    write(&home.path().join("model.safetensors"), &tensors);
    home
}

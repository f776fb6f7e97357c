//! Names of weight files in a model folder.

/// Only weight file, in most folders.
pub(super) const WHOLE: &str = "model.safetensors";
/// Index that lists the shards of a large model.
pub(super) const INDEX: &str = "model.safetensors.index.json";
/// Only weight file of an older folder, in PyTorch's own format.
pub(super) const PICKLED: &str = "pytorch_model.bin";
/// Index that lists the shards of an older, large model.
pub(super) const PICKLED_INDEX: &str = "pytorch_model.bin.index.json";

/// Files that hold a folder's weights or name all that do, in the order in which transformers looks for
/// them: it reads no pickle beside safetensors.
pub(in super::super) const WEIGHT_FILES: [&str; 4] = [WHOLE, INDEX, PICKLED, PICKLED_INDEX];

/// Endings of files that hold the weights of a model, in any library's format.
const ENDINGS: [&str; 7] = [".safetensors", ".bin", ".onnx", ".h5", ".ot", ".msgpack", ".pt"];

/// Returns true for a file that holds weights in any library's format, and for an index of such files.
pub(in super::super) fn holds_weights(name: &str) -> bool {
    let name = name.strip_suffix(".index.json").unwrap_or(name);
    ENDINGS.iter().any(|ending| name.ends_with(ending))
}

/// Returns true for the name of a weight file that PyTorch has pickled: the only one or a shard.
///
/// ```
/// use autovalidate_finetune::model::is_pickled;
/// assert!(is_pickled("pytorch_model-00001-of-00002.bin"));
/// assert!(!is_pickled("training_args.bin"));
/// ```
pub fn is_pickled(name: &str) -> bool {
    name.starts_with("pytorch_model") && name.ends_with(".bin") && !name.contains('/')
}

/// Returns the name of a weight file's copy, which is in safetensors.
pub(super) fn copied_name(name: &str) -> String {
    match name.strip_suffix(".bin") {
        Some(stem) => format!("{}.safetensors", stem.replacen("pytorch_model", "model", 1)),
        None => name.to_owned(),
    }
}

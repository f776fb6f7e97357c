//! Weights in PyTorch's own format. The files are PyTorch's; see `scripts/fixtures/torch_files.py`.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use autovalidate_finetune::model::{ModelError, ModelFolder, WeightSet};
use proptest::prelude::*;
use safetensors::Dtype;
use tempfile::TempDir;

use super::variants::{describe, read};

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// Returns the folder of `tiny` with these bytes as its weights.
fn with_bytes(bytes: &[u8]) -> TempDir {
    let home = describe(&fixture("tiny"));
    fs::write(home.path().join("pytorch_model.bin"), bytes).unwrap();
    home
}

fn with_file(name: &str) -> TempDir {
    with_bytes(&fs::read(fixture("torch").join(name)).unwrap())
}

fn weights(home: &Path) -> Result<WeightSet, ModelError> {
    ModelFolder::open(home).unwrap().weights()
}

fn floats(weights: &WeightSet, name: &str, shape: &[usize]) -> Vec<f32> {
    let mut numbers = Vec::new();
    weights.read(name, shape, &mut numbers).unwrap();
    numbers
}

#[test]
fn a_models_weights_are_those_of_its_safetensors() {
    let expected = read(&fixture("tiny/model.safetensors"));
    let ours = weights(&fixture("tiny")).unwrap();
    for file in ["tiny-float32.bin", "tiny-float64.bin", "tiny-before-1.6.bin"] {
        let home = with_file(file);
        let pickled = weights(home.path()).unwrap();
        for (name, (dtype, shape, _)) in &expected {
            assert_eq!(*dtype, Dtype::F32);
            assert_eq!(floats(&pickled, name, shape), floats(&ours, name, shape), "{name} of {file}");
        }
        let rows = |weights: &WeightSet| {
            let mut numbers = Vec::new();
            let shape = &expected["embeddings.word_embeddings.weight"].1;
            let name = "embeddings.word_embeddings.weight";
            weights.read_rows(name, [shape[0], shape[1]], &[3, 0], &mut numbers).unwrap();
            numbers
        };
        assert_eq!(rows(&pickled), rows(&ours), "{file}");

        // The copy is a safetensors file with the alterations, and transformers knows its format.
        let copy = describe(&fixture("tiny"));
        let mut alterations = HashMap::new();
        let zero: autovalidate_finetune::model::Alteration<'_> = Box::new(|_, numbers| numbers.fill(0.0));
        alterations.insert("embeddings.LayerNorm.bias".to_owned(), zero);
        pickled.rewrite(copy.path(), &mut alterations).unwrap();
        let bytes = fs::read(copy.path().join("model.safetensors")).unwrap();
        let (_, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
        assert_eq!(metadata.metadata().as_ref().unwrap()["format"], "pt");
        let copied = weights(copy.path()).unwrap();
        for (name, (_, shape, _)) in &expected {
            let numbers = floats(&copied, name, shape);
            match name.as_str() {
                "embeddings.LayerNorm.bias" => assert!(numbers.iter().all(|number| *number == 0.0)),
                _ => assert_eq!(numbers, floats(&ours, name, shape), "{name} of the copy of {file}"),
            }
        }
    }
}

#[test]
fn every_type_and_shared_numbers_are_read() {
    every_type_is_read("kinds.bin");
    every_type_is_read("kinds-before-1.6.bin");
}

fn every_type_is_read(file: &str) {
    let home = with_file(file);
    let pickled = weights(home.path()).unwrap();
    let table: Vec<f32> = (0..12u8).map(|number| f32::from(number) / 8.0).collect();
    for name in ["single", "half", "bfloat", "double", "tied", "parameter"] {
        assert_eq!(floats(&pickled, name, &[4, 3]), table, "{name}");
    }
    assert_eq!(floats(&pickled, "row", &[3]), table[6..9]);
    assert_eq!(floats(&pickled, "scalar", &[]), [2.5]);
    assert!(floats(&pickled, "empty", &[0, 3]).is_empty());
    let copy = tempfile::tempdir().unwrap();
    pickled.rewrite(copy.path(), &mut HashMap::new()).unwrap();
    let copied = read(&copy.path().join("model.safetensors"));
    let numbers: Vec<u8> = (0..5i64).flat_map(i64::to_le_bytes).collect();
    assert_eq!(copied["position_ids"], (Dtype::I64, vec![1, 5], numbers));
    assert_eq!(copied["mask"], (Dtype::BOOL, vec![2], vec![1, 0]));
    assert_eq!(copied["tied"], copied["single"]);
    assert_eq!(copied.len(), 11);
}

#[test]
fn shards_are_read_and_copied_under_the_names_of_today() {
    let home = describe(&fixture("tiny"));
    let names: Vec<String> = read(&fixture("tiny/model.safetensors")).into_keys().collect();
    let shard = "pytorch_model-00001-of-00001.bin";
    fs::copy(fixture("torch/tiny-float32.bin"), home.path().join(shard)).unwrap();
    let places: HashMap<&String, &str> = names.iter().map(|name| (name, shard)).collect();
    let index = serde_json::json!({ "metadata": {}, "weight_map": places }).to_string();
    fs::write(home.path().join("pytorch_model.bin.index.json"), index).unwrap();
    let (folder, copy) = (ModelFolder::open(home.path()).unwrap(), tempfile::tempdir().unwrap());
    folder.copy_description(copy.path()).unwrap();
    weights(home.path()).unwrap().rewrite(copy.path(), &mut HashMap::new()).unwrap();
    // An index of files that aren't there would make other readers look for them.
    let left = fs::read_dir(copy.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let pickled: Vec<_> = left.filter(|name| name.to_string_lossy().starts_with("pytorch_model")).collect();
    assert!(pickled.is_empty(), "{pickled:?}");
    assert!(copy.path().join("model-00001-of-00001.safetensors").exists());
    let (copied, ours) = (weights(copy.path()).unwrap(), weights(&fixture("tiny")).unwrap());
    let name = "embeddings.LayerNorm.weight";
    assert_eq!(floats(&copied, name, &[24]), floats(&ours, name, &[24]));
}

#[test]
fn safetensors_win_over_a_pickle() {
    let home = with_bytes(b"not even read");
    fs::copy(fixture("tiny/model.safetensors"), home.path().join("model.safetensors")).unwrap();
    weights(home.path()).unwrap();
}

#[test]
fn files_with_more_than_tensors_are_refused_by_what_they_hold() {
    for (file, expected) in [
        ("module.bin", "the name torch.nn.modules.linear.Linear"),
        ("transposed.bin", "a tensor that is a transposed or sliced view"),
        ("nested.bin", "no tensor at its top level"),
    ] {
        match weights(with_file(file).path()) {
            Err(ModelError::Unsupported { what: "weight file", found, .. }) => {
                assert_eq!(found, format!("pytorch_model.bin with {expected}"), "{file}");
            }
            other => panic!("{file}: {other:?}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_changed_file_is_refused_or_read_and_never_panics(
        file in prop::sample::select(vec!["kinds.bin", "kinds-before-1.6.bin"]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = fs::read(fixture("torch").join(file)).unwrap();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let home = with_bytes(&bytes);
        if let Ok(pickled) = weights(home.path()) {
            let copy = tempfile::tempdir().unwrap();
            let _ = pickled.rewrite(copy.path(), &mut HashMap::new());
        }
    }
}

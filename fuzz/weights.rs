//! Weight files of a model.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use autovalidate_finetune::model::{ModelFolder, WeightSet};
use autovalidate_finetune::train::{ParameterBuffer, Vocabulary};

use crate::{overlay, scratch};

/// Reads the input as `model.safetensors`. A copy without alterations must be the same file.
pub(crate) fn safetensors(input: &[u8]) {
    read("model.safetensors", input, &|copy| assert_eq!(copy, input));
}

/// Reads the input as `pytorch_model.bin`.
pub(crate) fn pickle(input: &[u8]) {
    read("pytorch_model.bin", input, &|_| {});
}

fn read(name: &str, input: &[u8], check_copy: &dyn Fn(&[u8])) {
    let (home, saved) = (scratch::folder(), scratch::folder());
    overlay::base(home.path());
    fs::write(home.path().join(name), input).expect("a file");
    let folder = ModelFolder::open(home.path()).expect("the base can be read");
    let Ok(weights) = folder.weights() else { return };
    let copied = weights.rewrite(saved.path(), &mut HashMap::new());
    if copied.is_ok() {
        check_copy(&fs::read(saved.path().join("model.safetensors")).expect("a copy"));
    }
    let Ok(loaded) = load(&folder, &weights) else { return };
    copied.expect("what can be loaded can be copied");
    loaded.save(&weights, saved.path(), 1.0).expect("what can be loaded can be saved");
    overlay::base(saved.path());
    let again = load(&folder, &opened(saved.path())).expect("what was saved can be loaded");
    let same =
        |(one, other): (&f32, &f32)| one.to_bits() == other.to_bits() || (one.is_nan() && other.is_nan());
    assert!(loaded.values().iter().zip(again.values()).all(same), "other numbers");
}

fn load(
    folder: &ModelFolder,
    weights: &WeightSet,
) -> Result<ParameterBuffer, autovalidate_finetune::model::ModelError> {
    ParameterBuffer::load(&folder.config, weights, Vocabulary::of(&[vec![0, 3, 15]]))
}

fn opened(folder: &Path) -> WeightSet {
    ModelFolder::open(folder).and_then(|folder| folder.weights()).expect("what was saved can be read")
}

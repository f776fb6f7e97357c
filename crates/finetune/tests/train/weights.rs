//! Weights in other number formats and in several files: training is the same, and the saved files
//! keep the format and the layout.

use std::collections::BTreeMap;
use std::path::Path;

use autovalidate_finetune::model::ModelFolder;
use autovalidate_finetune::train::{Encoder, Fit, Progress, Recipe, embed_exported, export};
use safetensors::Dtype;
use tempfile::TempDir;

use super::reference::{Reference, Setting, TINY, fixture, runtime};
use crate::model::variants::{SHARDS, prefixed, read, rounded, sharded, with_type};

/// Trains a folder a little and exports it.
fn trained(folder: &Path, pairs: &[(String, String)]) -> (Fit, TempDir) {
    let setting = Setting::new(folder, pairs);
    let recipe = Recipe { epochs: 2, batch_size: 4, learning_rate: 1e-2, ..Recipe::default() };
    let fit = setting.fit(&recipe, &mut |_: &Progress| true).unwrap();
    let home = tempfile::tempdir().unwrap();
    export(&setting.folder, &fit.parameters, fit.decay_factor, home.path()).unwrap();
    (fit, home)
}

fn whole(folder: &Path) -> BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)> {
    read(&folder.join("model.safetensors"))
}

#[test]
fn sixteen_bit_weights_are_trained_in_thirty_two_and_written_back_as_they_were() {
    let reference = Reference::load("tiny.safetensors");
    for dtype in [Dtype::F16, Dtype::BF16] {
        let small = with_type(&fixture("tiny"), dtype);
        let (fit, after) = trained(small.path(), &reference.pairs);
        // The same numbers as 32-bit floats: training must give the same result.
        let setting = Setting::new(small.path(), &reference.pairs);
        let wide = {
            let home = with_type(&fixture("tiny"), Dtype::F32);
            setting
                .parameters
                .save(&Setting::new(home.path(), &reference.pairs).weights, home.path(), 1.0)
                .unwrap();
            home
        };
        let (fit_wide, after_wide) = trained(wide.path(), &reference.pairs);
        assert_eq!(fit.summary.losses, fit_wide.summary.losses, "{dtype:?}");
        assert_eq!(fit.parameters.values(), fit_wide.parameters.values(), "{dtype:?}");

        let (before, after_bytes, wide) =
            (whole(small.path()), whole(after.path()), whole(after_wide.path()));
        assert_eq!(before.keys().collect::<Vec<_>>(), after_bytes.keys().collect::<Vec<_>>());
        for (name, tensor) in &after_bytes {
            assert_eq!(tensor.0, dtype, "{name}");
            if name.starts_with("pooler") {
                assert_eq!(tensor, &before[name]);
            } else if !name.contains("word_embeddings") {
                // Rows that no text uses start from rounded numbers here, and from exact numbers
                // there.
                assert_eq!(tensor, &rounded(&wide[name], dtype), "{name}");
                assert_ne!(tensor, &before[name], "{name} didn't change");
            }
        }

        let exported = ModelFolder::open(after.path()).unwrap();
        let texts: Vec<&str> = reference.pairs.iter().map(|pair| pair.0.as_str()).collect();
        let ours = Encoder::embed_with(&runtime(), &exported, &texts).unwrap();
        let onnx = embed_exported(&runtime(), &exported, &texts).unwrap();
        let apart = ours.iter().zip(&onnx).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(apart < 1e-5, "{dtype:?}: the ONNX model is off by {apart}");
    }
}

#[test]
fn shards_train_as_one_file_and_come_back_as_shards() {
    let reference = Reference::load("tiny.safetensors");
    let shards = sharded(&fixture("tiny"));
    let (fit, after) = trained(shards.path(), &reference.pairs);
    let (fit_whole, after_whole) = trained(&fixture("tiny"), &reference.pairs);
    assert_eq!(fit.parameters.values(), fit_whole.parameters.values());

    assert!(!after.path().join("model.safetensors").exists());
    let index = "model.safetensors.index.json";
    assert_eq!(
        std::fs::read(after.path().join(index)).unwrap(),
        std::fs::read(shards.path().join(index)).unwrap()
    );
    let mut together = BTreeMap::new();
    for name in SHARDS {
        let (old, new) = (read(&shards.path().join(name)), read(&after.path().join(name)));
        assert_eq!(old.keys().collect::<Vec<_>>(), new.keys().collect::<Vec<_>>(), "{name}");
        together.extend(new);
    }
    assert_eq!(together, whole(after_whole.path()));
}

#[test]
fn names_with_a_task_heads_prefix_are_found_and_kept() {
    for (tiny, prefix) in TINY.into_iter().zip(["bert.", "roberta.", "distilbert.", "mpnet."]) {
        let reference = Reference::load(&format!("{tiny}.safetensors"));
        let renamed = prefixed(&fixture(tiny), prefix);
        let (_, after) = trained(renamed.path(), &reference.pairs);
        let (_, after_plain) = trained(&fixture(tiny), &reference.pairs);
        let plain: BTreeMap<_, _> = whole(after_plain.path())
            .into_iter()
            .map(|(name, tensor)| (format!("{prefix}{name}"), tensor))
            .collect();
        assert_eq!(whole(after.path()), plain);
    }
}

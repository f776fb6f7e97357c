//! Folders as people have them: the ids and embeddings of sentence-transformers, or a refusal that
//! names the reason.
//!
//! `scripts/parity` writes the fixture with two versions of the library.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use autovalidate_finetune::failure::{Failure, RetryDirective};
use autovalidate_finetune::fine_tune;
use autovalidate_finetune::model::{ModelError, ModelFolder};
use autovalidate_finetune::train::{Encoder, Progress, Recipe, embed_exported};
use ndarray::{Array2, ArrayView1};
use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;

use crate::train::runtime;

/// Lowest cosine between the library's embedding of a text and ours.
const LOWEST: f32 = 0.9999;
/// Version that the backend is pinned to. It trims texts; the other doesn't.
const PINNED: &str = "5.1";
/// Number of tests that share the cases.
const SHARES: usize = 4;

#[derive(Deserialize)]
struct Truth {
    texts: Vec<String>,
    /// Index of the result of each version, by case.
    cases: BTreeMap<String, BTreeMap<String, usize>>,
    results: Vec<Library>,
}

/// Outcome of a version of the library.
#[derive(Deserialize)]
#[serde(untagged)]
enum Library {
    Refused {
        #[allow(dead_code, reason = "the file's readers want to know")]
        refused: String,
    },
    Embedded {
        ids: Vec<Vec<u32>>,
        embeddings: Vec<Vec<f32>>,
    },
}

fn home() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/parity")
}

fn parsed<T: for<'de> Deserialize<'de>>(name: &str) -> T {
    serde_json::from_slice(&fs::read(home().join(name)).unwrap()).unwrap()
}

/// Writes the folder of a case. A text is the name of a file of the fixture, everything else is JSON.
fn folder(files: &BTreeMap<String, Value>) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match content {
            Value::String(kept) => fs::copy(home().join("files").join(kept), path).map(|_| ()).unwrap(),
            json => fs::write(path, json.to_string()).unwrap(),
        }
    }
    folder
}

fn cosine(one: ArrayView1<'_, f32>, other: &[f32]) -> f32 {
    // A version that doesn't read `truncate_dim` returns more columns.
    let other = ArrayView1::from(&other[..one.len()]);
    one.dot(&other) / (one.dot(&one).sqrt() * other.dot(&other).sqrt())
}

/// Ids and embeddings of texts, and the folder's prompt.
struct Ours {
    ids: Vec<Vec<u32>>,
    embeddings: Array2<f32>,
    prompt: String,
}

/// Embeds texts with a folder's model.
fn embed(folder: &Path, texts: &[String]) -> Result<Ours, ModelError> {
    let model = ModelFolder::open(folder)?;
    let ids = model.tokenizer()?.encode(texts)?.texts;
    match Encoder::embed_with(&runtime(), &model, texts) {
        Ok(embeddings) => Ok(Ours { ids, embeddings, prompt: model.prompt }),
        Err(autovalidate_finetune::train::TrainError::Model(error)) => Err(error),
        Err(error) => panic!("{error}"),
    }
}

/// Compares a share of the cases.
fn compare(share: usize) {
    let truth: Truth = parsed("truth.json");
    let folders: BTreeMap<String, BTreeMap<String, Value>> = parsed("folders.json");
    let refusals: BTreeMap<&str, &str> = REFUSED.into_iter().collect();
    assert_eq!(folders.len(), truth.cases.len());
    let mut problems = Vec::new();
    for (name, files) in folders.iter().skip(share).step_by(SHARES) {
        let home = folder(files);
        let mut say = |problem: String| problems.push(format!("{name}: {problem}"));
        match (embed(home.path(), &truth.texts), refusals.get(name.as_str())) {
            (Err(error), expected) => {
                let sentence = error.to_string();
                if !expected.is_some_and(|words| sentence.contains(*words)) {
                    say(format!("unexpected refusal: {sentence}"));
                }
                if error.directive() == RetryDirective::Retry || error.advice().is_empty() {
                    say("a refusal without advice".to_owned());
                }
            }
            (Ok(_), Some(words)) => say(format!("should be refused for {words:?}")),
            (Ok(Ours { ids, embeddings, prompt }), None) => {
                let mut compared = 0;
                for (version, result) in &truth.cases[name] {
                    let Library::Embedded { ids: expected, embeddings: theirs } = &truth.results[*result]
                    else {
                        continue;
                    };
                    compared += 1;
                    for (place, text) in truth.texts.iter().enumerate() {
                        let text = format!("{prompt}{text}");
                        if version != PINNED && text.trim() != text {
                            continue;
                        }
                        if ids[place] != expected[place] {
                            say(format!(
                                "{version}: ids of text {place}: {:?} for {:?}",
                                ids[place], expected[place]
                            ));
                            break;
                        }
                        let cosine = cosine(embeddings.row(place), &theirs[place]);
                        if cosine.is_nan() || cosine < LOWEST {
                            say(format!("{version}: cosine of text {place}: {cosine}"));
                            break;
                        }
                    }
                }
                if compared == 0 && !FAILS_ON_LONG_TEXTS.contains(&name.as_str()) {
                    say("no version of the library loads it".to_owned());
                }
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// Folders that are refused, and words of the sentence that says so.
const REFUSED: [(&str, &str); 52] = [
    ("activation-tanh", "hidden_act is gelu_new"),
    ("adapter-beside", "adapter_config.json"),
    ("added-tokens", "added token is toyota, which tokenizer_config.json lacks"),
    ("architecture-unknown", "model_type is deberta-v2"),
    ("causal", "is_causal is true"),
    ("chinese-characters-off-mpnet", "tokenizer is read differently by transformers 4 and 5"),
    ("class-unknown", "tokenizer_class is OurTokenizer"),
    ("class-wrong-kind", "tokenizer_class is Bert for a Unigram vocabulary"),
    ("custom-module", "module list is custom_pooling.Pooling"),
    ("decoder", "is_decoder is true"),
    ("dense", "module list is sentence_transformers.models.Dense"),
    ("dropout", "module list is sentence_transformers.models.Dropout"),
    ("electra", "model_type is electra"),
    ("extra-special-tokens", "extra special token is brand:"),
    ("feed-forward-in-chunks", "chunk_size_feed_forward is 4"),
    ("length-of-one", "longest text is 1 tokens"),
    ("no-pooling", "module list is without Transformer and Pooling"),
    ("normalize-first", "module list is sentence_transformers.models.Normalize"),
    ("normalizer-replaces", "tokenizer is read differently by transformers 4 and 5"),
    ("other-separator", "tokenizer is read differently by transformers 4 and 5"),
    ("padding-left", "padding side is left"),
    ("padding-left-cls", "padding side is left"),
    ("pooling-last", "pooling is lasttoken"),
    ("pooling-list-two", "pooling is mean+max"),
    ("pooling-mean-missing-flag", "pooling is cls+mean"),
    ("pooling-no-flag-set", "pooling is nothing"),
    ("pooling-string-capitals", "pooling is CLS"),
    ("pooling-twice", "module list is sentence_transformers.models.Pooling"),
    ("pooling-two-flags", "pooling is cls+mean"),
    ("pooling-unknown-key", "pooling setting is temperature"),
    ("pooling-weighted", "pooling is weightedmean"),
    ("position-embeddings-relative", "position_embedding_type is relative_key"),
    ("pre-tokenizer-metaspace-alone", "tokenizer is read differently by transformers 4 and 5"),
    ("pre-tokenizer-spaces", "tokenizer is read differently by transformers 4 and 5"),
    ("prompt-default-missing", "default prompt is other"),
    ("prompt-left-out-of-pooling", "pooling is without the tokens of the default prompt"),
    ("pruned-heads", "pruned_heads is set"),
    ("quantized", "quantization_config is set"),
    ("sentence-config-args", "config argument is num_hidden_layers=1"),
    ("sentence-model-args", "model argument is torch_dtype=float16"),
    ("sentence-output-name", "sentence_bert_config.json setting is modality_config"),
    ("sentence-processing-kwargs", "sentence_bert_config.json setting is processing_kwargs"),
    ("sentence-query-length", "sentence_bert_config.json setting is query_length"),
    (
        "sentence-tokenizer-args-both-lengths",
        "longest text is 24 tokens by max_seq_length and 8 by tokenizer_args",
    ),
    ("sentence-tokenizer-args-unknown", "tokenizer argument is use_fast=false"),
    ("sentence-unknown-key", "sentence_bert_config.json setting is surprise"),
    ("similarity-dot", "similarity function is dot"),
    ("similarity-manhattan", "similarity function is manhattan"),
    ("slow-tokenizer-only", "tokenizer.json is absent"),
    ("sparse-encoder", "model_type in config_sentence_transformers.json is SparseEncoder"),
    ("split-special-tokens", "tokenizer setting is split_special_tokens=true"),
    (
        "weights-missing-a-layer",
        "tensor encoder.layer.2.attention.self.query.weight of the weight file: is missing",
    ),
];

/// Folders whose limit on texts is above the position table. The library fails on a long text; ours
/// has the limit of the table.
const FAILS_ON_LONG_TEXTS: [&str; 2] = ["length-above-positions", "length-unlimited-roberta"];

#[test]
fn each_folder_is_embedded_as_the_library_does_or_refused_by_name_1() {
    compare(0);
}

#[test]
fn each_folder_is_embedded_as_the_library_does_or_refused_by_name_2() {
    compare(1);
}

#[test]
fn each_folder_is_embedded_as_the_library_does_or_refused_by_name_3() {
    compare(2);
}

#[test]
fn each_folder_is_embedded_as_the_library_does_or_refused_by_name_4() {
    compare(3);
}

/// `scripts/parity` compares the saved folders with what the library makes of them.
#[test]
fn each_folder_can_be_tokenized_by_characters_and_is_saved_so() {
    let truth: Truth = parsed("truth.json");
    let folders: BTreeMap<String, BTreeMap<String, Value>> = parsed("folders.json");
    let mut changed = 0;
    for (name, files) in &folders {
        let home = folder(files);
        let Ok(Ok(model)) = ModelFolder::open(home.path()).map(|model| model.tokenizer().map(|_| model))
        else {
            continue;
        };
        let model = model.in_characters(vec![" car brand: ".to_owned()]);
        let Ok(tokenizer) = model.tokenizer() else { panic!("{name}") };
        // A letter more is a token more, or two where a space goes in front of each. Few tokens fit into
        // some models.
        let length = |text: &str| tokenizer.encode(&[text]).unwrap().texts[0].len();
        let (shorter, longer) = (length("car brand: aba"), length("car brand: abca"));
        assert!(
            (1..=2).contains(&(longer - shorter)) || longer == model.max_tokens,
            "{name}: {longer} tokens"
        );

        let saved = tempfile::tempdir().unwrap();
        model.copy_description(saved.path()).unwrap();
        let written = ModelFolder::open(saved.path()).unwrap();
        let texts = |folder: &ModelFolder| folder.tokenizer().unwrap().encode(&truth.texts).unwrap();
        assert_eq!(texts(&written), texts(&model), "{name}");
        let settings = fs::read(written.encoder_path().join("tokenizer_config.json")).unwrap();
        let settings: Value = serde_json::from_slice(&settings).unwrap();
        assert!(!settings["pad_token"].is_null(), "{name}: the plain class can't pad without a token");
        changed += 1;
    }
    assert!(changed > 100, "{changed} folders");
}

#[test]
fn a_folder_trained_for_a_step_keeps_its_ids_and_its_onnx_model_embeds_alike() {
    let truth: Truth = parsed("truth.json");
    let folders: BTreeMap<String, BTreeMap<String, Value>> = parsed("folders.json");
    let pairs = [("toyta", "toyota"), ("bmv x5", "bmw x5")];
    let recipe = Recipe { epochs: 3, batch_size: 2, learning_rate: 1e-2, ..Recipe::default() };
    for name in TRAINED {
        let home = folder(&folders[name]);
        let base = ModelFolder::open(home.path()).unwrap();
        let tuned = fine_tune(&runtime(), &base, &pairs, &recipe, &mut |_: &Progress| true).unwrap();
        let saved = tempfile::tempdir().unwrap();
        tuned.save(saved.path()).unwrap();

        let before = embed(home.path(), &truth.texts).unwrap();
        let after = embed(saved.path(), &truth.texts).unwrap();
        assert_eq!((after.ids, after.prompt), (before.ids, before.prompt), "{name}");
        assert!(after.embeddings != before.embeddings, "{name}: training changed nothing");
        let written = ModelFolder::open(saved.path()).unwrap();
        let exported = embed_exported(&runtime(), &written, &truth.texts).unwrap();
        assert_eq!(exported.dim(), after.embeddings.dim(), "{name}");
        for (place, row) in exported.outer_iter().enumerate() {
            let cosine = cosine(row, after.embeddings.row(place).as_slice().unwrap());
            assert!(cosine >= LOWEST, "{name}: cosine of text {place}: {cosine}");
        }
        // The oldest version that reads a folder knows these names only.
        let modules = fs::read_to_string(saved.path().join("modules.json")).unwrap();
        assert_eq!(
            modules.matches("sentence_transformers.models.").count(),
            modules.matches("\"type\"").count()
        );
        assert!(saved.path().join("config.json").exists() && saved.path().join("model.safetensors").exists());
    }
}

/// Folders that the trainer writes in another form than it reads them in.
const TRAINED: [&str; 14] = [
    "bert-saved-by-5",
    "bert-plain-saved-by-5",
    "roberta-saved-by-5",
    "xlm-roberta-saved-by-5",
    "mpnet-saved-by-5",
    "distilbert-saved-by-5",
    "folder-0-transformer",
    "plain-transformers",
    "pooling-elsewhere",
    "sentence-tokenizer-args",
    "sentence-lower-case",
    "truncate-dimension",
    "weights-gamma-beta",
    "weights-float64",
];

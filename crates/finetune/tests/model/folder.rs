//! Descriptions of model folders, and folders that are refused.

use std::fs;
use std::path::{Path, PathBuf};

use autovalidate_finetune::model::{
    Architecture, DropoutRates, EncoderConfig, ModelError, ModelFolder, Pooling,
};
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::variants::{SHARDS, describe, sharded, with_type};

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn json_of(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Returns a copy of a fixture with another value in one field of a JSON file.
fn altered(tiny: &str, file: &str, field: &str, value: Value) -> TempDir {
    let home = with_type(&fixture(tiny), safetensors::Dtype::F32);
    let path = home.path().join(file);
    let mut json = json_of(&path);
    json[field] = value;
    fs::write(path, json.to_string()).unwrap();
    home
}

fn refused(folder: &Path) -> (&'static str, String, &'static str) {
    match ModelFolder::open(folder) {
        Err(ModelError::Unsupported { what, found, supported }) => (what, found, supported),
        other => panic!("it should be unsupported: {other:?}"),
    }
}

#[test]
fn each_architecture_is_told_by_its_config() {
    let open = |tiny| ModelFolder::open(&fixture(tiny)).unwrap();
    let shape = |folder: &ModelFolder| {
        let config = &folder.config;
        (config.architecture, config.token_types, config.relative_buckets, config.first_position())
    };
    assert_eq!(shape(&open("tiny")), (Architecture::Bert, 2, 0, 0));
    assert_eq!(shape(&open("tiny-roberta")), (Architecture::Roberta, 1, 0, 2));
    assert_eq!(shape(&open("tiny-distilbert")), (Architecture::DistilBert, 0, 0, 0));
    assert_eq!(shape(&open("tiny-mpnet")), (Architecture::Mpnet, 0, 32, 2));
    let pooling = ["tiny", "tiny-roberta", "tiny-distilbert"].map(|tiny| open(tiny).head.pooling);
    assert_eq!(pooling, [Pooling::Mean, Pooling::Cls, Pooling::Max]);
    let normalize =
        ["tiny", "tiny-roberta", "tiny-distilbert", "tiny-mpnet"].map(|tiny| open(tiny).head.normalize);
    assert_eq!(normalize, [true, true, false, false]);
}

#[test]
fn dropout_is_what_the_config_says() {
    let rates = |folder: &Path| {
        let DropoutRates { hidden, attention } = ModelFolder::open(folder).unwrap().config.dropout;
        (hidden, attention)
    };
    for (tiny, hidden, attention) in [
        ("tiny", "hidden_dropout_prob", "attention_probs_dropout_prob"),
        ("tiny-mpnet", "hidden_dropout_prob", "attention_probs_dropout_prob"),
        ("tiny-distilbert", "dropout", "attention_dropout"),
    ] {
        assert_eq!(rates(&fixture(tiny)), (0.1, 0.1));
        assert_eq!(rates(altered(tiny, "config.json", hidden, json!(0.25)).path()), (0.25, 0.1));
        assert_eq!(rates(altered(tiny, "config.json", attention, json!(0)).path()), (0.1, 0.0));
        let absurd = altered(tiny, "config.json", hidden, json!(1.0));
        assert_eq!(refused(absurd.path()).0, hidden);
    }
}

#[test]
fn xlm_roberta_is_roberta_by_another_name() {
    let home = altered("tiny-roberta", "config.json", "model_type", json!("xlm-roberta"));
    let config = ModelFolder::open(home.path()).unwrap().config;
    let roberta = ModelFolder::open(&fixture("tiny-roberta")).unwrap().config;
    assert_eq!(config, EncoderConfig { architecture: Architecture::XlmRoberta, ..roberta });
}

#[test]
fn the_paddings_row_moves_the_positions() {
    let home = altered("tiny-roberta", "config.json", "pad_token_id", json!(4));
    let folder = ModelFolder::open(home.path()).unwrap();
    assert_eq!((folder.config.first_position(), folder.config.longest()), (5, 37));
    // MPNet's code doesn't read the field.
    let home = altered("tiny-mpnet", "config.json", "pad_token_id", json!(4));
    assert_eq!(ModelFolder::open(home.path()).unwrap().config.first_position(), 2);
    let home = altered("tiny-roberta", "config.json", "pad_token_id", json!(40));
    assert_eq!(refused(home.path()).0, "max_position_embeddings");
}

#[test]
fn another_architecture_is_refused_by_name() {
    for name in ["deberta-v2", "t5", "modernbert"] {
        let home = altered("tiny", "config.json", "model_type", json!(name));
        assert_eq!(refused(home.path()), ("model_type", name.to_owned(), Architecture::SUPPORTED));
    }
}

#[test]
fn what_the_graphs_dont_compute_is_refused() {
    let cases = [
        ("tiny", "hidden_act", json!("relu")),
        ("tiny-distilbert", "activation", json!("relu")),
        ("tiny-distilbert", "sinusoidal_pos_embds", json!(true)),
        ("tiny", "position_embedding_type", json!("relative_key")),
        ("tiny", "is_decoder", json!(true)),
        ("tiny", "num_attention_heads", json!(5)),
        ("tiny-mpnet", "relative_attention_num_buckets", json!(64)),
    ];
    for (tiny, field, value) in cases {
        let home = altered(tiny, "config.json", field, value);
        let what = refused(home.path()).0;
        assert!(what == field || field == "activation" || what == "hidden_size", "{field}: {what}");
    }
    let home = altered("tiny", "1_Pooling/config.json", "pooling_mode", json!("lasttoken"));
    assert_eq!(refused(home.path()), ("pooling", "lasttoken".to_owned(), "mean, cls or max"));
}

#[test]
fn a_folder_without_weights_names_the_file() {
    let home = describe(&fixture("tiny"));
    let missing = ModelFolder::open(home.path()).unwrap().weights();
    assert!(matches!(missing, Err(ModelError::File { action: "read", .. })));
}

#[test]
fn integers_are_no_weights() {
    let home = describe(&fixture("tiny"));
    let mut tensors = super::variants::read(&fixture("tiny/model.safetensors"));
    tensors.get_mut("embeddings.LayerNorm.bias").unwrap().0 = safetensors::Dtype::I32;
    super::variants::write(&home.path().join("model.safetensors"), &tensors);
    let weights = ModelFolder::open(home.path()).unwrap().weights().unwrap();
    let read = weights.read("embeddings.LayerNorm.bias", &[24], &mut Vec::new());
    assert!(matches!(read, Err(ModelError::Tensor { .. })));
    assert!(weights.read("embeddings.LayerNorm.weight", &[24], &mut Vec::new()).is_ok());
    let wrong = weights.read("embeddings.LayerNorm.weight", &[23], &mut Vec::new());
    assert!(matches!(wrong, Err(ModelError::Tensor { .. })));
}

#[test]
fn the_longest_text_is_the_folders_and_cuts_are_counted() {
    let long = "abc ".repeat(40);
    for (tiny, edges) in [("tiny", [2, 3]), ("tiny-roberta", [0, 2])] {
        let folder = ModelFolder::open(&fixture(tiny)).unwrap();
        assert_eq!(folder.max_tokens, 32, "sentence_bert_config.json or the tokenizer says so");
        let tokenized = folder.tokenizer().unwrap().encode(&[long.as_str(), "abc", long.as_str()]).unwrap();
        assert_eq!(tokenized.cut, 2);
        let ids = &tokenized.texts[0];
        assert_eq!(ids.len(), 32);
        assert_eq!([ids[0], ids[31]], edges, "the special tokens stay");
        assert_eq!(tokenized.texts[1].len(), 5);
    }
    // A folder can't ask for more than the position table has rows for.
    let home = altered("tiny-roberta", "sentence_bert_config.json", "max_seq_length", json!(4_000));
    assert_eq!(ModelFolder::open(home.path()).unwrap().max_tokens, 40);
    let home = altered("tiny", "sentence_bert_config.json", "max_seq_length", json!(7));
    let folder = ModelFolder::open(home.path()).unwrap();
    assert_eq!(folder.tokenizer().unwrap().encode(&["abcdefghij"]).unwrap().texts[0].len(), 7);
}

#[test]
fn an_index_that_leads_astray_is_refused() {
    let index = "model.safetensors.index.json";
    let open = |home: &TempDir, name: &str| {
        let path = home.path().join(index);
        let mut json = json_of(&path);
        json["weight_map"]["embeddings.LayerNorm.bias"] = json!(name);
        fs::write(path, json.to_string()).unwrap();
        ModelFolder::open(home.path()).unwrap().weights()
    };
    for name in ["../model.safetensors", "/etc/model.safetensors", "..", "", "a/b.safetensors", "config.json"]
    {
        let home = sharded(&fixture("tiny"));
        assert!(matches!(open(&home, name), Err(ModelError::Weights { .. })), "{name}");
    }
    let home = sharded(&fixture("tiny"));
    let absent = open(&home, "model-00003-of-00002.safetensors");
    assert!(matches!(absent, Err(ModelError::File { action: "read", .. })));
    // The index places the tensor in the shard that lacks it.
    let found = SHARDS.map(|name| open(&sharded(&fixture("tiny")), name).is_ok());
    assert_eq!(found.iter().filter(|ok| **ok).count(), 1);
}

proptest! {
    #[test]
    fn a_config_of_any_bytes_is_an_error_or_a_shape(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(EncoderConfig::parse(&bytes).is_err());
    }

    #[test]
    fn a_config_of_any_numbers_never_panics(
        tiny in prop::sample::select(vec!["tiny", "tiny-roberta", "tiny-distilbert", "tiny-mpnet"]),
        field: prop::sample::Index,
        number in prop_oneof![any::<i64>().prop_map(Value::from), any::<f64>().prop_map(Value::from), Just(Value::Null)],
    ) {
        let mut json = json_of(&fixture(tiny).join("config.json"));
        let keys: Vec<String> = json.as_object().unwrap().keys().cloned().collect();
        json[&keys[field.index(keys.len())]] = number;
        if let Ok(config) = EncoderConfig::parse(json.to_string().as_bytes()) {
            prop_assert!(config.longest() >= 2 && config.hidden % config.heads == 0);
        }
    }
}

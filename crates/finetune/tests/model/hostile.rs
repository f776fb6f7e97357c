//! Folders made to hang, panic, abort or take all memory. Each is refused by an error, before anything
//! of the size that it claims is allocated.

use std::fs;
use std::path::{Path, PathBuf};

use autovalidate_finetune::model::{ModelError, ModelFolder, Tokenized};
use autovalidate_finetune::train::{ParameterBuffer, Vocabulary};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::variants::{describe, read, with_type, write};

fn tiny() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny")
}

/// Returns a copy of the tiny model with a change in one of its JSON files.
fn altered(file: &str, change: impl FnOnce(&mut Value)) -> TempDir {
    let home = with_type(&tiny(), safetensors::Dtype::F32);
    let path = home.path().join(file);
    let mut json = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut json);
    fs::write(path, json.to_string()).unwrap();
    home
}

/// Reads everything that training reads of a folder.
fn load(folder: &Path) -> Result<Tokenized, ModelError> {
    let folder = ModelFolder::open(folder)?;
    let tokenized = folder.tokenizer()?.encode(&["car brand: toyota", "", "\u{e9}\u{1f980} zx!"])?;
    let vocabulary = Vocabulary::of(&tokenized.texts);
    ParameterBuffer::load(&folder.config, &folder.weights()?, vocabulary)?;
    folder.in_characters(vec![" car brand: ".to_owned()]).tokenizer()?.encode(&["car brand: toyota"])?;
    Ok(tokenized)
}

#[test]
fn sizes_of_the_configuration_are_confirmed_by_the_weights_first() {
    load(&tiny()).unwrap();
    for (field, size) in [
        ("num_hidden_layers", json!(1 << 24)),
        ("num_hidden_layers", json!(1_000)),
        ("hidden_size", json!(65_536)),
        ("intermediate_size", json!(1 << 20)),
        ("vocab_size", json!(1 << 24)),
        ("max_position_embeddings", json!(1 << 20)),
        ("max_position_embeddings", json!(1 << 24)),
        ("type_vocab_size", json!(1 << 16)),
        ("num_attention_heads", json!(1 << 24)),
    ] {
        let home = altered("config.json", |config| config[field] = size.clone());
        let loaded = load(home.path());
        assert!(
            matches!(loaded, Err(ModelError::Unsupported { .. } | ModelError::Tensor { .. })),
            "{field} {size}: {loaded:?}"
        );
    }
}

#[test]
fn a_tensor_under_two_names_is_refused() {
    let normalized = "embeddings.LayerNorm.weight";
    for other in
        ["bert.embeddings.LayerNorm.weight", "embeddings.LayerNorm.gamma", "bert.embeddings.LayerNorm.gamma"]
    {
        let home = describe(&tiny());
        let mut tensors = read(&tiny().join("model.safetensors"));
        let (dtype, _, bytes) = tensors[normalized].clone();
        tensors.insert(other.to_owned(), (dtype, vec![3, 8], bytes));
        write(&home.path().join("model.safetensors"), &tensors);
        match load(home.path()) {
            Err(ModelError::Weights { problem, .. }) => assert!(problem.contains("twice"), "{problem}"),
            loaded => panic!("{other}: {loaded:?}"),
        }
    }
}

#[test]
fn a_pipe_or_a_device_in_place_of_a_file_is_an_error() {
    for name in [
        "config.json",
        "modules.json",
        "1_Pooling/config.json",
        "sentence_bert_config.json",
        "tokenizer_config.json",
        "tokenizer.json",
        "model.safetensors",
    ] {
        let home = with_type(&tiny(), safetensors::Dtype::F32);
        let path = home.path().join(name);
        fs::remove_file(&path).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let loaded = load(home.path());
        assert!(matches!(loaded, Err(ModelError::File { .. })), "{name}: {loaded:?}");

        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        let loaded = load(home.path());
        assert!(matches!(loaded, Err(ModelError::File { .. })), "{name}: {loaded:?}");
    }
}

/// Returns the template of the tiny model with these tokens in front of the text.
fn template(ids: &[u32], tokens: &str) -> Value {
    json!({
        "type": "TemplateProcessing",
        "single": [{ "SpecialToken": { "id": tokens, "type_id": 0 } }, { "Sequence": { "id": "A", "type_id": 0 } }],
        "pair": [{ "Sequence": { "id": "A", "type_id": 0 } }, { "Sequence": { "id": "B", "type_id": 1 } }],
        "special_tokens": { tokens: { "id": tokens, "ids": ids, "tokens": vec![tokens; ids.len()] } },
    })
}

#[test]
fn a_tokenizer_that_panics_or_takes_all_is_an_error() {
    let split = |pattern: &str| json!({ "type": "Split", "pattern": { "Regex": pattern }, "behavior": "Isolated", "invert": false });
    let replace =
        |content: &str| json!({ "type": "Replace", "pattern": { "String": "a" }, "content": content });
    let cases: [(&str, Value); 14] = [
        (
            "padding",
            json!({ "strategy": { "Fixed": 4_000_000_000_u64 }, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]" }),
        ),
        (
            "truncation",
            json!({ "direction": "Right", "max_length": 0, "strategy": "LongestFirst", "stride": 9 }),
        ),
        ("pre_tokenizer", split("(?=.)(a+)+$")),
        ("pre_tokenizer", split("(x|x)*y")),
        ("normalizer", json!({ "type": "Sequence", "normalizers": vec![replace("aaaaaaaa"); 20] })),
        ("normalizer", json!({ "type": "Precompiled", "precompiled_charsmap": "AAAAAA==" })),
        ("normalizer", json!({ "type": "Precompiled", "precompiled_charsmap": "/////////////w==" })),
        ("post_processor", template(&[2; 40], "[CLS]")),
        ("post_processor", json!({ "type": "Sequence", "processors": vec![template(&[2; 9], "[CLS]"); 3] })),
        (
            "post_processor",
            json!({ "type": "TemplateProcessing", "single": [{ "SpecialToken": { "id": "[X]", "type_id": 0 } }], "pair": [], "special_tokens": {} }),
        ),
        (
            "post_processor",
            json!({ "type": "BertProcessing", "sep": ["[SEP]", 4_294_967_295_u32], "cls": ["[CLS]", 2] }),
        ),
        ("decoder", json!({ "type": "Strip", "content": "", "start": 0 })),
        ("decoder", json!({ "type": "CTC" })),
        (
            "model",
            json!({ "type": "BPE", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "vocab": { "[UNK]": 0, "a": 1, "b": 2, "ab": 3 }, "merges": [["a", "b"]] }),
        ),
    ];
    for class in ["TokenizersBackend", "BertTokenizer"] {
        for (part, value) in &cases {
            let home = altered("tokenizer.json", |tokenizer| tokenizer[*part] = value.clone());
            let path = home.path().join("tokenizer_config.json");
            let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            config["tokenizer_class"] = class.into();
            fs::write(path, config.to_string()).unwrap();
            // Padding and truncation of the file are never applied.
            match load(home.path()) {
                Err(_) => {}
                Ok(tokenized) => {
                    assert!(tokenized.texts.iter().all(|text| text.len() <= 32), "{part} {value}");
                    assert!(["padding", "decoder"].contains(part), "{class}: {part} {value} was accepted");
                }
            }
        }
    }
    // A file that is cut anywhere, also where the library's own parsers begin.
    let whole = fs::read(tiny().join("tokenizer.json")).unwrap();
    for length in (0..whole.len()).step_by(whole.len() / 60) {
        let home = with_type(&tiny(), safetensors::Dtype::F32);
        fs::write(home.path().join("tokenizer.json"), &whole[..length]).unwrap();
        assert!(load(home.path()).is_err(), "cut after {length} bytes");
    }
}

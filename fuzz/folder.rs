//! Descriptions of models, and tokenizers.

use std::fs;

use autovalidate_finetune::model::ModelFolder;

use crate::{overlay, scratch};

const DESCRIPTION: [&str; 9] = [
    "1_Pooling/config.json",
    "config.json",
    "config_sentence_transformers.json",
    "model.safetensors.index.json",
    "modules.json",
    "pytorch_model.bin.index.json",
    "sentence_bert_config.json",
    "special_tokens_map.json",
    "tokenizer_config.json",
];

const TOKENIZER: [&str; 4] =
    ["config.json", "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json"];

/// Reads a model folder with these files of the input. A copy must be read as the same model.
pub(crate) fn description(input: &[u8]) {
    let (home, saved) = (scratch::folder(), scratch::folder());
    overlay::base(home.path());
    overlay::apply(home.path(), input, &DESCRIPTION);
    let Ok(folder) = ModelFolder::open(home.path()) else { return };
    for remark in folder.remarks() {
        assert!(!remark.contains(char::is_control), "{remark:?}");
    }
    if let Err(error) = folder.weights() {
        assert!(!error.to_string().is_empty());
    }
    folder.copy_description(saved.path()).expect("what can be read can be copied");
    let copy = ModelFolder::open(saved.path()).expect("what was copied can be read");
    let read = |folder: &ModelFolder| {
        let ModelFolder { config, head, max_tokens, lower_case, prompt, dimension, .. } = folder.clone();
        (config, head, max_tokens, lower_case, prompt, dimension)
    };
    assert_eq!(read(&copy), read(&folder));
    assert_eq!(copy.encoder_path(), saved.path(), "a copy has the encoder at its top");
    assert!(
        !fs::read_dir(saved.path()).expect("a folder").any(|entry| {
            entry.expect("an entry").path().extension().is_some_and(|ending| ending == "py")
        })
    );
}

/// Reads a tokenizer with these files of the input, as it is and by characters, and tokenizes texts.
pub(crate) fn tokenizer(input: &[u8]) {
    let home = scratch::folder();
    overlay::base(home.path());
    overlay::apply(home.path(), input, &TOKENIZER);
    let Ok(folder) = ModelFolder::open(home.path()) else { return };
    let texts = ["car brand: Toyota", "", "\u{e9}\u{1f980} zx!", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!"];
    let longest = folder.max_tokens;
    let characters = folder.clone().in_characters(vec![" car brand: ".to_owned()]);
    let _ = folder.is_in_characters();
    for tokenizer in [folder.tokenizer(), characters.tokenizer()].into_iter().flatten() {
        if let Ok(tokenized) = tokenizer.encode(&texts) {
            assert_eq!(tokenized.texts.len(), texts.len());
            assert!(tokenized.texts.iter().all(|ids| ids.len() <= longest), "longer than the longest");
        }
    }
}

//! Several files of a model folder in one input: a line `=== <name>` goes before the content of each.

use std::fs;
use std::path::Path;

/// Files of a model that a trainer can read. Those of an input replace them.
const BASE: [(&str, &[u8]); 5] = [
    (
        "modules.json",
        br#"[{"idx":0,"name":"0","path":"","type":"sentence_transformers.models.Transformer"},
            {"idx":1,"name":"1","path":"1_Pooling","type":"sentence_transformers.models.Pooling"}]"#,
    ),
    ("1_Pooling/config.json", br#"{"word_embedding_dimension":4,"pooling_mode_mean_tokens":true}"#),
    (
        "config.json",
        br#"{"model_type":"bert","hidden_act":"gelu","hidden_size":4,"num_attention_heads":2,"num_hidden_layers":1,
            "intermediate_size":4,"vocab_size":16,"max_position_embeddings":8,"type_vocab_size":2}"#,
    ),
    ("tokenizer_config.json", br#"{"tokenizer_class":"BertTokenizer","do_lower_case":true}"#),
    ("tokenizer.json", include_bytes!("tokenizer.json")),
];

/// Writes the files of the base model into an empty folder.
pub(crate) fn base(folder: &Path) {
    for (name, content) in BASE {
        write(folder, name, content);
    }
}

/// Writes the files of an input into a folder: those of these names. A file without content is removed.
pub(crate) fn apply(folder: &Path, input: &[u8], names: &[&str]) {
    let text = String::from_utf8_lossy(input);
    for part in text.split("=== ").skip(1) {
        let (name, content) = part.split_once('\n').unwrap_or((part, ""));
        if !names.contains(&name) {
            continue;
        }
        match content.trim_end() {
            "" => drop(fs::remove_file(folder.join(name))),
            content => write(folder, name, content.as_bytes()),
        }
    }
}

fn write(folder: &Path, name: &str, content: &[u8]) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, content).expect("a file");
}

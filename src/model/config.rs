//! The encoder's shape, read from a model folder's `config.json`.

use serde::Deserialize;

use super::ModelError;

/// Shape of a BERT-like encoder.
#[derive(Debug, Clone, PartialEq)]
pub struct EncoderConfig {
    /// Number of transformer layers.
    pub layers: usize,
    /// Width `H` of a token's row.
    pub hidden: usize,
    /// Attention heads; `hidden` is a multiple of it.
    pub heads: usize,
    /// Width of the feed-forward layer.
    pub intermediate: usize,
    /// Rows of the token table.
    pub vocabulary: usize,
    /// Rows of the position table.
    pub positions: usize,
    /// Rows of the token-type table.
    pub token_types: usize,
    /// Layer normalisation's epsilon.
    pub epsilon: f32,
}

#[derive(Deserialize)]
struct Raw {
    model_type: Option<String>,
    #[serde(default)]
    hidden_act: Option<String>,
    #[serde(default)]
    position_embedding_type: Option<String>,
    #[serde(default)]
    is_decoder: bool,
    num_hidden_layers: usize,
    hidden_size: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    vocab_size: usize,
    max_position_embeddings: usize,
    type_vocab_size: usize,
    #[serde(default = "default_epsilon")]
    layer_norm_eps: f32,
}

fn default_epsilon() -> f32 {
    1e-12
}

impl EncoderConfig {
    /// Parses `config.json`.
    ///
    /// # Errors
    /// [`ModelError::Config`] when it isn't such a file, [`ModelError::Unsupported`] when it describes an encoder
    /// whose gradients this program can't compute.
    pub fn parse(json: &[u8]) -> Result<Self, ModelError> {
        #[derive(Deserialize)]
        struct Kind {
            model_type: Option<String>,
        }
        let config = |source| ModelError::Config { file: "config.json", source };
        // The kind first: another architecture's file need not have the fields below.
        let kind: Kind = serde_json::from_slice(json).map_err(config)?;
        match kind.model_type.as_deref() {
            Some("bert") => {}
            other => {
                return Err(ModelError::Unsupported {
                    what: "model_type",
                    found: other.unwrap_or("nothing").to_owned(),
                    supported: "bert",
                });
            }
        }
        let raw: Raw = serde_json::from_slice(json).map_err(config)?;
        let unsupported = |what, found: &str, supported| {
            Err(ModelError::Unsupported { what, found: found.to_owned(), supported })
        };
        match raw.hidden_act.as_deref() {
            None | Some("gelu") => {}
            Some(other) => return unsupported("hidden_act", other, "gelu"),
        }
        match raw.position_embedding_type.as_deref() {
            None | Some("absolute") => {}
            Some(other) => return unsupported("position_embedding_type", other, "absolute"),
        }
        if raw.is_decoder {
            return unsupported("is_decoder", "true", "false");
        }
        debug_assert_eq!(raw.model_type.as_deref(), Some("bert"));
        let sizes = [
            ("num_hidden_layers", raw.num_hidden_layers),
            ("hidden_size", raw.hidden_size),
            ("num_attention_heads", raw.num_attention_heads),
            ("intermediate_size", raw.intermediate_size),
            ("vocab_size", raw.vocab_size),
            ("max_position_embeddings", raw.max_position_embeddings),
            ("type_vocab_size", raw.type_vocab_size),
        ];
        for (what, size) in sizes {
            if size == 0 || size > 1 << 24 {
                return unsupported(what, &size.to_string(), "a positive number below 2^24");
            }
        }
        if raw.hidden_size % raw.num_attention_heads != 0 {
            return unsupported(
                "hidden_size",
                &raw.hidden_size.to_string(),
                "a multiple of num_attention_heads",
            );
        }
        Ok(Self {
            layers: raw.num_hidden_layers,
            hidden: raw.hidden_size,
            heads: raw.num_attention_heads,
            intermediate: raw.intermediate_size,
            vocabulary: raw.vocab_size,
            positions: raw.max_position_embeddings,
            token_types: raw.type_vocab_size,
            epsilon: raw.layer_norm_eps,
        })
    }
}

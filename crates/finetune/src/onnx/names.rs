//! Full names of an encoder's tensors, without `.weight` and `.bias` where both exist.

use crate::model::EncoderConfig;

/// The token table.
pub(super) const WORD: &str = "embeddings.word_embeddings.weight";
/// The position table.
pub(super) const POSITION: &str = "embeddings.position_embeddings.weight";
/// The token-type table, where there is one.
pub(super) const TOKEN_TYPE: &str = "embeddings.token_type_embeddings.weight";
/// The normalization of the sum of the embeddings.
pub(super) const EMBEDDING_NORM: &str = "embeddings.LayerNorm";

/// Names of one layer's tensors.
pub(super) struct LayerTensors {
    /// Of the layer itself.
    pub(super) base: String,
    /// Query, key and value in the weight file.
    pub(super) attention: [String; 3],
    /// The three stacked, in the graph.
    pub(super) stacked: String,
    pub(super) attention_output: String,
    pub(super) attention_norm: String,
    pub(super) intermediate: String,
    pub(super) output: String,
    pub(super) output_norm: String,
}

impl LayerTensors {
    pub(super) fn of(config: &EncoderConfig, layer: usize) -> Self {
        let names = &config.architecture.description().layer;
        let base = format!("{}.{layer}", names.layers);
        let full = |name: &str| format!("{base}.{name}");
        Self {
            attention: names.attention.map(full),
            stacked: full(names.stacked),
            attention_output: full(names.attention_output[0]),
            attention_norm: full(names.attention_output[1]),
            intermediate: full(names.intermediate),
            output: full(names.output[0]),
            output_norm: full(names.output[1]),
            base,
        }
    }
}

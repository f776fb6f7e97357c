//! Full names of an encoder's tensors. Where `.weight` and `.bias` both exist, the name omits the
//! suffix.

use crate::model::EncoderConfig;

/// Token embedding table.
pub(super) const WORD: &str = "embeddings.word_embeddings.weight";
/// Position embedding table.
pub(super) const POSITION: &str = "embeddings.position_embeddings.weight";
/// Token-type embedding table, in architectures that have one.
pub(super) const TOKEN_TYPE: &str = "embeddings.token_type_embeddings.weight";
/// Layer normalization of the sum of the embeddings.
pub(super) const EMBEDDING_NORM: &str = "embeddings.LayerNorm";

/// Names of one layer's tensors.
pub(super) struct LayerTensors {
    /// Prefix of all names of the layer.
    pub(super) base: String,
    /// Query, key and value, as named in the weight file.
    pub(super) attention: [String; 3],
    /// Query, key and value stacked, as named in the graph.
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

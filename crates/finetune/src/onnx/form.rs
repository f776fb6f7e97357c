//! How a graph of an encoder is written, and how its gradients come out.

/// How a graph of an encoder is written, and how its gradients come out. Tests hold all forms to the same gradients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GraphForm {
    /// Standard operators, for any device; gradients as [`GradientForm`](super::GradientForm) says.
    #[default]
    Standard,
    /// Whole layers as single nodes, for the CPU. It takes `starts` `[T + 1]`, the first row of each text and the number of
    /// rows, in place of the packed layout, unless distances have a bias (MPNet) or attention has dropout. And unless rows
    /// have dropout, tokens of one place and kind share a row up to the first layer's attention: `row_ids` and `row_positions`
    /// `[U]` stand in for `ids` and `positions`, `token_rows` `[N]` says which row each token uses, and
    /// `gradient.embeddings` is `[U, H]`.
    Fused,
    /// The same for few rows: the gradient of a linear layer's weight `[out, in]` comes out as two factors,
    /// `upstream.<name>` `[N, out]` and `input.<name>` `[N, in]` (the first layer's query, key and value `[U, ..]`), whose product
    /// `upstream^T input` it is. With fewer rows than either side has numbers, the factors are the smaller, and the optimizer
    /// can make the gradient where it uses it.
    Factored,
    /// Standard operators, for parameters that stay on a device: every gradient, look-up tables' too, comes out in its
    /// parameter's shape as `gradient.<name>`.
    Resident,
}

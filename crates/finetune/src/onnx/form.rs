//! Forms of an encoder's graph and of its gradients.

/// Form of an encoder's graph and of its gradients. Tests verify that all forms have the same
/// gradients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GraphForm {
    /// Standard operators, for any device. Gradients have the form that
    /// [`GradientForm`](super::GradientForm) describes.
    #[default]
    Standard,
    /// Whole layers as single nodes, for the CPU.
    ///
    /// Instead of the packed layout the graph takes `starts` `[T + 1]`, the first row of each text
    /// followed by the number of rows. It keeps the packed layout if attention has a relative
    /// position bias (MPNet) or dropout.
    ///
    /// With `starts`, and unless rows have dropout, tokens with the same id and position share a
    /// row up to the first layer's attention: `row_ids` and `row_positions` `[U]` replace `ids` and
    /// `positions`, `token_rows` `[N]` holds the row that each token uses, and
    /// `gradient.embeddings` is `[U, H]`.
    Fused,
    /// The fused form for few rows. The gradient of a linear layer's weight `[out, in]` is returned
    /// as two factors, `upstream.<name>` `[N, out]` and `input.<name>` `[N, in]`, whose product
    /// `upstream^T input` is the gradient. For the first layer's query, key and value the factors
    /// are `[U, ..]`.
    ///
    /// With fewer rows than either side of the weight the factors are smaller than the gradient,
    /// and the optimizer can compute the gradient where it uses it.
    Factored,
    /// Standard operators, for parameters that stay on a device. Every gradient is returned in its
    /// parameter's shape as `gradient.<name>`, including those of look-up tables.
    Resident,
}

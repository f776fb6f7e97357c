//! Batches as inputs of the graphs that encode them, at once or in parts.
//!
//! Owns the matrices that are built for one call of a graph and borrowed by its inputs. The
//! parameters are not among these inputs: they come from the host or stay on a device.

use ndarray::Array2;
use ort::session::{Session, SessionInputValue};

use crate::onnx::RuntimeError;

use super::Batch;
use super::dropout::Masks;
use super::gradients::feed_matrix;
use super::packed::PackedTexts;

/// Named inputs for one call of a graph.
pub(super) type Inputs<'i> = Vec<(String, SessionInputValue<'i>)>;

/// Inputs of a training graph, for a batch that is encoded at once.
pub(super) struct FullBatchFeed<'b> {
    batch: &'b Batch,
    masks: Masks,
    anchors: Array2<f32>,
    candidates: Array2<f32>,
}

impl<'b> FullBatchFeed<'b> {
    pub(super) fn new(batch: &'b Batch, masks: Masks) -> Self {
        let texts = &batch.parts[0];
        let (anchors, candidates) = (texts.pooling(&batch.anchors), texts.pooling(&batch.candidates));
        Self { batch, masks, anchors, candidates }
    }

    /// Returns all inputs of the session's graph but the parameters.
    pub(super) fn inputs(&self, session: &Session) -> Result<Inputs<'_>, RuntimeError> {
        let mut inputs = Vec::new();
        self.batch.parts[0].feed(session, &mut inputs)?;
        self.masks.feed(&mut inputs)?;
        let matrices = [
            ("anchor_pooling", &self.anchors),
            ("positive_pooling", &self.candidates),
            ("score_mask", &self.batch.score_mask),
            ("targets", &self.batch.targets),
        ];
        for (name, matrix) in matrices {
            inputs.push((name.to_owned(), feed_matrix(matrix)?));
        }
        Ok(inputs)
    }
}

/// Inputs of the forward and the backward graph, for one part of a batch.
pub(super) struct PartFeed<'p> {
    pub(super) part: &'p PackedTexts,
    masks: Masks,
    pooling: Array2<f32>,
}

impl<'p> PartFeed<'p> {
    pub(super) fn new(part: &'p PackedTexts, masks: Masks) -> Self {
        let pooling = part.pooling(&(0..part.texts()).collect::<Vec<_>>());
        Self { part, masks, pooling }
    }

    /// Returns all inputs of the session's graph but the parameters and, in the backward pass,
    /// `seeds`.
    pub(super) fn inputs(&self, session: &Session) -> Result<Inputs<'_>, RuntimeError> {
        let mut inputs = Vec::new();
        self.part.feed(session, &mut inputs)?;
        self.masks.feed(&mut inputs)?;
        inputs.push(("pooling".to_owned(), feed_matrix(&self.pooling)?));
        Ok(inputs)
    }
}

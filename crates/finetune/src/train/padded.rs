//! Indices with which standard operators pad packed rows for attention, and pack them again. The
//! attention module of `onnx` documents their shapes. Fused attention needs none of them.

use ndarray::{Array2, Array3, Array4};
use ort::session::SessionInputValue;
use ort::value::TensorRef;

use crate::onnx::{MASKED, RuntimeError};

/// Indices and masks for padding packed rows and packing them again.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PaddedLayout {
    unpack: Array4<i64>,
    pack: Array2<i64>,
    unpack_context: Array3<i64>,
    pack_stacked: Array2<i64>,
    key_mask: Array4<f32>,
    query_mask: Array4<f32>,
}

impl PaddedLayout {
    /// Names of the parts in the graphs.
    pub(super) const INPUTS: [&'static str; 6] =
        ["unpack", "pack", "unpack_context", "pack_stacked", "key_mask", "query_mask"];

    /// Returns the layout of texts whose first rows are `starts` `[T + 1]`; its last element is the
    /// number of rows.
    pub(super) fn new(starts: &[i64], heads: usize) -> Self {
        let starts: Vec<usize> = starts.iter().map(|start| *start as usize).collect();
        let (count, tokens) = (starts.len() - 1, starts[starts.len() - 1]);
        let longest = starts.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
        // Padding points at the very first token. The values fetched there are masked.
        let token = |text: usize, place: usize| {
            let at = starts[text] + place;
            if at < starts[text + 1] { Some(at) } else { None }
        };
        let unpack = Array4::from_shape_fn((3, count, heads, longest), |(side, text, head, place)| {
            (token(text, place).unwrap_or(0) * 3 * heads + side * heads + head) as i64
        });
        let unpack_context = Array3::from_shape_fn((count, heads, longest), |(text, head, place)| {
            (token(text, place).unwrap_or(0) * heads + head) as i64
        });
        let text_of: Vec<usize> =
            (0..count).flat_map(|text| vec![text; starts[text + 1] - starts[text]]).collect();
        let padded = |token: usize, head: usize| {
            let text = text_of[token];
            ((text * heads + head) * longest + (token - starts[text])) as i64
        };
        let pack = Array2::from_shape_fn((tokens, heads), |(token, head)| padded(token, head));
        let part = (count * heads * longest) as i64;
        let pack_stacked = Array2::from_shape_fn((tokens, 3 * heads), |(token, side_and_head)| {
            (side_and_head / heads) as i64 * part + padded(token, side_and_head % heads)
        });
        let key_mask = Array4::from_shape_fn((count, 1, 1, longest), |(text, _, _, place)| {
            if token(text, place).is_some() { 0.0 } else { MASKED }
        });
        let query_mask = Array4::from_shape_fn((count, 1, longest, 1), |(text, _, place, _)| {
            if token(text, place).is_some() { 1.0 } else { 0.0 }
        });
        Self { unpack, pack, unpack_context, pack_stacked, key_mask, query_mask }
    }

    /// Returns the tensor that the graphs call `name`.
    pub(super) fn tensor(&self, name: &str) -> Result<Option<SessionInputValue<'_>>, RuntimeError> {
        let failed = RuntimeError::call("take a batch");
        let tensor: ort::Result<SessionInputValue<'_>> = match name {
            "unpack" => TensorRef::from_array_view(self.unpack.view()).map(Into::into),
            "pack" => TensorRef::from_array_view(self.pack.view()).map(Into::into),
            "unpack_context" => TensorRef::from_array_view(self.unpack_context.view()).map(Into::into),
            "pack_stacked" => TensorRef::from_array_view(self.pack_stacked.view()).map(Into::into),
            "key_mask" => TensorRef::from_array_view(self.key_mask.view()).map(Into::into),
            "query_mask" => TensorRef::from_array_view(self.query_mask.view()).map(Into::into),
            _ => return Ok(None),
        };
        tensor.map(Some).map_err(failed)
    }
}

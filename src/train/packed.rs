//! Texts as the arrays the graphs are fed with: token rows one after the other, no padding, and the indices that
//! let attention work within each text (shapes in `onnx`'s attention module).

use ndarray::{Array2, Array3, Array4};
use ort::session::SessionInputValue;
use ort::value::TensorRef;

use crate::model::{EncoderConfig, Pooling};
use crate::onnx::{MASKED, RuntimeError};

/// Several texts, packed.
#[derive(Debug, Clone, PartialEq)]
pub struct PackedTexts {
    /// Compact vocabulary row of each token, `[N]`.
    pub(super) ids: Vec<i64>,
    /// Row of the position table of each token, `[N]`.
    pub(super) positions: Vec<i64>,
    /// First token of each text, and the end, `[T + 1]`.
    starts: Vec<usize>,
    /// See `PackedLayout` in `onnx`.
    pub(super) unpack: Array4<i64>,
    pub(super) pack: Array2<i64>,
    pub(super) unpack_context: Array3<i64>,
    pub(super) pack_stacked: Array2<i64>,
    pub(super) key_mask: Array4<f32>,
    pub(super) query_mask: Array4<f32>,
    /// For max pooling: the rows of each text, shorter ones filled up with their first, `[T, S]`.
    text_tokens: Option<Array2<i64>>,
    pooling: Pooling,
}

impl PackedTexts {
    /// Packs texts (compact vocabulary rows) for an encoder. Texts must not be empty; a tokenizer's special tokens
    /// see to that.
    pub fn new(texts: &[&[u32]], config: &EncoderConfig, pooling: Pooling) -> Self {
        let (heads, first_position) = (config.heads, config.first_position());
        let mut starts = vec![0];
        let (mut ids, mut positions) = (Vec::new(), Vec::new());
        for text in texts {
            ids.extend(text.iter().map(|id| i64::from(*id)));
            positions.extend((0..text.len()).map(|place| (first_position + place) as i64));
            starts.push(ids.len());
        }
        let (count, tokens) = (texts.len(), ids.len());
        let longest = texts.iter().map(|text| text.len()).max().unwrap_or(0);

        // Padding points at the first token of all: what is fetched there is masked.
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
        let text_tokens = (pooling == Pooling::Max).then(|| {
            Array2::from_shape_fn((count, longest), |(text, place)| {
                token(text, place).unwrap_or(starts[text]) as i64
            })
        });
        Self {
            ids,
            positions,
            starts,
            unpack,
            pack,
            unpack_context,
            pack_stacked,
            key_mask,
            query_mask,
            text_tokens,
            pooling,
        }
    }

    /// Number of tokens `N`.
    pub fn tokens(&self) -> usize {
        self.ids.len()
    }

    /// Tokens of the longest text `S`.
    pub(super) fn longest(&self) -> usize {
        self.key_mask.dim().3
    }

    /// Number of texts `T`.
    pub fn texts(&self) -> usize {
        self.starts.len() - 1
    }

    /// The matrix whose row `i` pools text `of[i]`: `[rows, N]`, to be multiplied with token rows, or for max
    /// pooling `[rows, T]`, to be multiplied with the largest of each text.
    pub(super) fn pooling(&self, of: &[usize]) -> Array2<f32> {
        let columns = if self.pooling == Pooling::Max { self.texts() } else { self.tokens() };
        let mut matrix = Array2::zeros((of.len(), columns));
        for (row, text) in of.iter().enumerate() {
            let (start, end) = (self.starts[*text], self.starts[*text + 1]);
            match self.pooling {
                Pooling::Mean => {
                    let share = 1.0 / (end - start) as f32;
                    (start..end).for_each(|token| matrix[[row, token]] = share);
                }
                Pooling::Cls => matrix[[row, start]] = 1.0,
                Pooling::Max => matrix[[row, *text]] = 1.0,
            }
        }
        matrix
    }
}

impl PackedTexts {
    /// Appends the graph inputs of this batch; `backward` adds those only a training graph has.
    pub(super) fn feed<'a>(
        &'a self,
        backward: bool,
        inputs: &mut Vec<(String, SessionInputValue<'a>)>,
    ) -> Result<(), RuntimeError> {
        let failed = || RuntimeError::call("take a batch");
        let mut push = |name: &str, tensor: SessionInputValue<'a>| inputs.push((name.to_owned(), tensor));
        for (name, vector) in [("ids", &self.ids), ("positions", &self.positions)] {
            let shape = [vector.len()];
            push(name, TensorRef::from_array_view((shape, vector.as_slice())).map_err(failed())?.into());
        }
        push("unpack", TensorRef::from_array_view(self.unpack.view()).map_err(failed())?.into());
        push("pack", TensorRef::from_array_view(self.pack.view()).map_err(failed())?.into());
        push("key_mask", TensorRef::from_array_view(self.key_mask.view()).map_err(failed())?.into());
        push("query_mask", TensorRef::from_array_view(self.query_mask.view()).map_err(failed())?.into());
        if let Some(tokens) = &self.text_tokens {
            push("text_tokens", TensorRef::from_array_view(tokens.view()).map_err(failed())?.into());
        }
        if backward {
            let context = TensorRef::from_array_view(self.unpack_context.view()).map_err(failed())?;
            push("unpack_context", context.into());
            let stacked = TensorRef::from_array_view(self.pack_stacked.view()).map_err(failed())?;
            push("pack_stacked", stacked.into());
        }
        Ok(())
    }
}

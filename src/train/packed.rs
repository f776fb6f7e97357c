//! Texts as the arrays the graphs are fed with: token rows one after the other, no padding.

use std::sync::OnceLock;

use ndarray::Array2;
use ort::session::{Session, SessionInputValue};
use ort::value::TensorRef;

use crate::model::{EncoderConfig, Pooling};
use crate::onnx::RuntimeError;

use super::padded::PaddedLayout;

/// Several texts, packed.
#[derive(Debug, Clone, PartialEq)]
pub struct PackedTexts {
    /// Compact vocabulary row of each token, `[N]`.
    pub(super) ids: Vec<i64>,
    /// Row of the position table of each token, `[N]`.
    pub(super) positions: Vec<i64>,
    /// First token of each text, and the end, `[T + 1]`.
    starts: Vec<i64>,
    heads: usize,
    /// Made when the first graph asks for a part of it.
    padded: OnceLock<PaddedLayout>,
    /// For max pooling: the rows of each text, shorter ones filled up with their first, `[T, S]`.
    text_tokens: Option<Array2<i64>>,
    pooling: Pooling,
}

impl PackedTexts {
    /// Packs texts (compact vocabulary rows) for an encoder. Texts must not be empty; a tokenizer's special tokens
    /// see to that.
    pub fn new(texts: &[&[u32]], config: &EncoderConfig, pooling: Pooling) -> Self {
        let first_position = config.first_position();
        let mut starts = vec![0];
        let (mut ids, mut positions) = (Vec::new(), Vec::new());
        for text in texts {
            ids.extend(text.iter().map(|id| i64::from(*id)));
            positions.extend((0..text.len()).map(|place| (first_position + place) as i64));
            starts.push(ids.len() as i64);
        }
        let longest = texts.iter().map(|text| text.len()).max().unwrap_or(0);
        let text_tokens = (pooling == Pooling::Max).then(|| {
            Array2::from_shape_fn((texts.len(), longest), |(text, place)| {
                starts[text] + if place < texts[text].len() { place as i64 } else { 0 }
            })
        });
        Self { ids, positions, starts, heads: config.heads, padded: OnceLock::new(), text_tokens, pooling }
    }

    /// Number of tokens `N`.
    pub fn tokens(&self) -> usize {
        self.ids.len()
    }

    /// Tokens of the longest text `S`.
    pub(super) fn longest(&self) -> usize {
        self.starts.windows(2).map(|pair| (pair[1] - pair[0]) as usize).max().unwrap_or(0)
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
            let (start, end) = (self.starts[*text] as usize, self.starts[*text + 1] as usize);
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

    /// Appends those inputs that the session's graph asks for: fused and standard graphs take different ones.
    pub(super) fn feed<'a>(
        &'a self,
        session: &Session,
        inputs: &mut Vec<(String, SessionInputValue<'a>)>,
    ) -> Result<(), RuntimeError> {
        let vector = |numbers: &'a [i64]| {
            let tensor = TensorRef::from_array_view(([numbers.len()], numbers));
            tensor.map(SessionInputValue::from).map_err(RuntimeError::call("take a batch"))
        };
        for input in session.inputs() {
            let tensor = match (input.name(), &self.text_tokens) {
                ("ids", _) => vector(&self.ids)?,
                ("positions", _) => vector(&self.positions)?,
                ("starts", _) => vector(&self.starts)?,
                ("text_tokens", Some(tokens)) => TensorRef::from_array_view(tokens.view())
                    .map_err(RuntimeError::call("take a batch"))?
                    .into(),
                (name, _) if PaddedLayout::INPUTS.contains(&name) => {
                    let padded = self.padded.get_or_init(|| PaddedLayout::new(&self.starts, self.heads));
                    match padded.tensor(name)? {
                        Some(tensor) => tensor,
                        None => continue,
                    }
                }
                _ => continue,
            };
            inputs.push((input.name().to_owned(), tensor));
        }
        Ok(())
    }
}

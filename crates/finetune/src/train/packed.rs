//! Texts as the arrays that the graphs take: token rows one after the other, without padding.

use std::collections::HashMap;
use std::sync::OnceLock;

use ndarray::Array2;
use ort::session::{Session, SessionInputValue};
use ort::value::TensorRef;

use crate::model::{EncoderConfig, Pooling};
use crate::onnx::RuntimeError;

use super::padded::PaddedLayout;

/// Name of the input that only graphs with shared rows have.
const TOKEN_ROWS: &str = "token_rows";

/// Returns true when tokens share rows in a session's graph.
pub(super) fn shares_rows(session: &Session) -> bool {
    session.inputs().iter().any(|input| input.name() == TOKEN_ROWS)
}

/// Rows to look up. Each row of a graph's summed embeddings uses one row of every table.
#[derive(Clone, Copy)]
pub(super) struct LookUps<'t> {
    /// Rows of the compact vocabulary.
    pub(super) ids: &'t [i64],
    /// Rows of the position table.
    pub(super) positions: &'t [i64],
}

/// Rows that all tokens with the same id and position share, in the order of their first tokens.
#[derive(Debug, Clone, PartialEq)]
struct SharedRows {
    ids: Vec<i64>,
    positions: Vec<i64>,
    of_tokens: Vec<i64>,
}

impl SharedRows {
    fn new(ids: &[i64], positions: &[i64]) -> Self {
        let mut shared = Self { ids: Vec::new(), positions: Vec::new(), of_tokens: Vec::new() };
        let mut known = HashMap::new();
        for (id, position) in ids.iter().zip(positions) {
            let row = *known.entry((*id, *position)).or_insert_with(|| {
                shared.ids.push(*id);
                shared.positions.push(*position);
                shared.ids.len() as i64 - 1
            });
            shared.of_tokens.push(row);
        }
        shared
    }
}

/// Several texts, packed.
#[derive(Debug, Clone, PartialEq)]
pub struct PackedTexts {
    /// Compact vocabulary row of each token, `[N]`.
    ids: Vec<i64>,
    /// Row of the position table of each token, `[N]`.
    positions: Vec<i64>,
    /// Built when the first graph needs it.
    shared: OnceLock<SharedRows>,
    /// First token of each text, followed by the number of tokens, `[T + 1]`.
    starts: Vec<i64>,
    heads: usize,
    /// Built when the first graph needs a part of it.
    padded: OnceLock<PaddedLayout>,
    /// Rows of each text for max pooling, `[T, S]`. Shorter texts repeat their first row.
    text_tokens: Option<Array2<i64>>,
    pooling: Pooling,
}

impl PackedTexts {
    /// Packs texts (compact vocabulary rows) for an encoder. Texts must not be empty; the special
    /// tokens of a tokenizer ensure that.
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
        let (shared, padded, heads) = (OnceLock::new(), OnceLock::new(), config.heads);
        Self { ids, positions, shared, starts, heads, padded, text_tokens, pooling }
    }

    /// Returns the number of tokens `N`.
    pub fn tokens(&self) -> usize {
        self.ids.len()
    }

    /// Returns the number of tokens of the longest text, `S`.
    pub(super) fn longest(&self) -> usize {
        self.starts.windows(2).map(|pair| (pair[1] - pair[0]) as usize).max().unwrap_or(0)
    }

    /// Returns the number of texts `T`.
    pub fn texts(&self) -> usize {
        self.starts.len() - 1
    }

    /// Returns the matrix whose row `i` pools text `of[i]`. It is `[rows, N]`, to be multiplied
    /// with token rows; for max pooling it is `[rows, T]`, to be multiplied with the maxima of each
    /// text.
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

    /// Returns the rows that tokens with the same id and position share.
    fn shared(&self) -> &SharedRows {
        self.shared.get_or_init(|| SharedRows::new(&self.ids, &self.positions))
    }

    /// Returns the rows that a graph looks up; `shares` says whether tokens share rows in that
    /// graph.
    pub(super) fn look_ups(&self, shares: bool) -> LookUps<'_> {
        match shares {
            true => LookUps { ids: &self.shared().ids, positions: &self.shared().positions },
            false => LookUps { ids: &self.ids, positions: &self.positions },
        }
    }

    /// Appends the inputs that the session's graph declares. Fused and standard graphs take
    /// different ones.
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
                ("row_ids", _) => vector(&self.shared().ids)?,
                ("row_positions", _) => vector(&self.shared().positions)?,
                (TOKEN_ROWS, _) => vector(&self.shared().of_tokens)?,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_of_one_place_and_kind_share_a_row() {
        let (ids, positions) = ([7, 8, 9, 7, 9, 8, 7], [0, 1, 2, 0, 1, 2, 1]);
        let shared = SharedRows::new(&ids, &positions);
        assert_eq!(shared.of_tokens, [0, 1, 2, 0, 3, 4, 5]);
        for (token, row) in shared.of_tokens.iter().enumerate() {
            let row = *row as usize;
            assert_eq!((shared.ids[row], shared.positions[row]), (ids[token], positions[token]));
        }
    }
}

//! The trainable numbers of an encoder in one flat buffer: loading, feeding, saving.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

use ort::session::SessionInputValue;
use ort::value::TensorRef;

use crate::model::{Alteration, EncoderConfig, ModelError, WeightFile};
use crate::onnx::{GradientForm, Parameter, RowIndex, RuntimeError, parameters};

use super::Vocabulary;

/// Every trainable tensor, one after the other, decayed ones first. The token table holds only the rows of a
/// [`Vocabulary`].
#[derive(Debug, Clone)]
pub struct ParameterBuffer {
    parameters: Vec<Parameter>,
    ranges: Vec<Range<usize>>,
    values: Vec<f32>,
    vocabulary: Vocabulary,
    full_rows: usize,
}

impl ParameterBuffer {
    /// Reads an encoder's parameters from a weight file, of the token table only the vocabulary's rows.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] when a tensor is missing or doesn't fit the configuration.
    pub fn load(
        config: &EncoderConfig,
        weights: &WeightFile,
        vocabulary: Vocabulary,
    ) -> Result<Self, ModelError> {
        let mut parameters = parameters(config);
        for parameter in &mut parameters {
            if is_token_table(parameter) {
                parameter.shape[0] = vocabulary.ids().len();
            }
        }
        let mut values = Vec::with_capacity(parameters.iter().map(Parameter::elements).sum());
        let mut ranges = Vec::with_capacity(parameters.len());
        for parameter in &parameters {
            let start = values.len();
            if is_token_table(parameter) {
                let shape = [config.vocabulary, config.hidden];
                weights.read_rows(&parameter.name, shape, vocabulary.ids(), &mut values)?;
            } else {
                let mut shape = parameter.shape.clone();
                shape[0] /= parameter.sources.len();
                for source in &parameter.sources {
                    weights.read(source, &shape, &mut values)?;
                }
            }
            ranges.push(start..values.len());
        }
        Ok(Self { parameters, ranges, values, vocabulary, full_rows: config.vocabulary })
    }

    /// The parameters, with the token table's shape as it is here.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// All numbers.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// All numbers, to be updated.
    pub fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }

    /// Where each parameter's numbers are, in the order of [`parameters`](Self::parameters).
    pub fn ranges(&self) -> &[Range<usize>] {
        &self.ranges
    }

    /// Number of elements, from the first, that weight decay applies to.
    pub fn decayed(&self) -> usize {
        self.parameters
            .iter()
            .zip(&self.ranges)
            .filter(|(parameter, _)| parameter.decays)
            .map(|(_, range)| range.end)
            .max()
            .unwrap_or(0)
    }

    /// The rows the token table holds.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// Appends every parameter as a graph input, borrowed from this buffer.
    pub(super) fn feed<'a>(
        &'a self,
        inputs: &mut Vec<(String, SessionInputValue<'a>)>,
    ) -> Result<(), RuntimeError> {
        for (parameter, range) in self.parameters.iter().zip(&self.ranges) {
            let tensor = TensorRef::from_array_view((parameter.shape.clone(), &self.values[range.clone()]))
                .map_err(RuntimeError::call("take a parameter"))?;
            inputs.push((parameter.name.clone(), tensor.into()));
        }
        Ok(())
    }

    /// Writes a weight file like `original` with these numbers in it.
    ///
    /// `kept` is what weight decay left of every token row that this buffer doesn't hold.
    ///
    /// # Errors
    /// [`ModelError::File`] when it can't be written; `path` is then untouched.
    pub fn save(&self, original: &WeightFile, path: &Path, kept: f64) -> Result<(), ModelError> {
        let mut alterations: HashMap<String, Alteration<'_>> = HashMap::new();
        for (parameter, range) in self.parameters.iter().zip(&self.ranges) {
            if is_token_table(parameter) {
                alterations.insert(parameter.name.clone(), self.scatter(range.clone(), kept));
                continue;
            }
            let size = range.len() / parameter.sources.len();
            for (place, source) in parameter.sources.iter().enumerate() {
                let values = &self.values[range.start + place * size..][..size];
                let copy = move |first: usize, chunk: &mut [f32]| {
                    chunk.copy_from_slice(&values[first..first + chunk.len()]);
                };
                alterations.insert(source.clone(), Box::new(copy));
            }
        }
        original.rewrite(path, &mut alterations)
    }

    /// Puts the compact rows of the token table back among the full ones, and decays the others.
    fn scatter(&self, range: Range<usize>, kept: f64) -> Alteration<'_> {
        let table = &self.values[range];
        let width = table.len() / self.vocabulary.ids().len().max(1);
        Box::new(move |first, chunk| {
            // Chunks need not end with a row.
            for (element, value) in (first..).zip(chunk.iter_mut()) {
                *value = match self.vocabulary.row((element / width) as u32) {
                    Some(row) => table[row as usize * width + element % width],
                    None => (f64::from(*value) * kept) as f32,
                };
            }
        })
    }

    /// A parameter's full elements, for an exported model: the token table with every row.
    ///
    /// # Errors
    /// [`ModelError`] when the original's rows can't be read.
    pub fn full(&self, index: usize, original: &WeightFile, kept: f64) -> Result<Vec<f32>, ModelError> {
        let (parameter, range) = (&self.parameters[index], self.ranges[index].clone());
        if !is_token_table(parameter) {
            return Ok(self.values[range].to_vec());
        }
        let mut full = Vec::new();
        original.read(&parameter.name, &[self.full_rows, parameter.shape[1]], &mut full)?;
        self.scatter(range, kept)(0, &mut full);
        Ok(full)
    }
}

fn is_token_table(parameter: &Parameter) -> bool {
    parameter.gradient == GradientForm::Rows(RowIndex::Ids)
}

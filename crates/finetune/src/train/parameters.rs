//! The trainable numbers of an encoder in one flat buffer: loading, feeding, saving.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

use ort::session::SessionInputValue;
use ort::value::TensorRef;

use crate::model::{Alteration, EncoderConfig, ModelError, WeightSet};
use crate::onnx::{GradientForm, Parameter, RowIndex, RuntimeError, parameters};

use super::Vocabulary;

/// Values of every trainable tensor, one after the other, decayed tensors first. The token table
/// has only the rows of a [`Vocabulary`].
#[derive(Debug, Clone)]
pub struct ParameterBuffer {
    parameters: Vec<Parameter>,
    ranges: Vec<Range<usize>>,
    values: Vec<f32>,
    vocabulary: Vocabulary,
}

impl ParameterBuffer {
    /// Reads an encoder's parameters from its weights. Of the token table, only the vocabulary's
    /// rows are read.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] when a tensor is missing or doesn't fit the configuration.
    pub fn load(
        config: &EncoderConfig,
        weights: &WeightSet,
        vocabulary: Vocabulary,
    ) -> Result<Self, ModelError> {
        let mut parameters = parameters(config);
        for parameter in &mut parameters {
            if is_token_table(parameter) {
                parameter.shape[0] = vocabulary.ids().len();
            }
        }
        // The configuration may claim any size, so nothing is allocated before the files confirm it.
        for parameter in &parameters {
            let shape = match is_token_table(parameter) {
                true => vec![config.vocabulary, config.hidden],
                false => parameter.source_shape(),
            };
            parameter.sources.iter().try_for_each(|source| weights.check(source, &shape))?;
        }
        let mut values = Vec::with_capacity(parameters.iter().map(Parameter::elements).sum());
        let mut ranges = Vec::with_capacity(parameters.len());
        for parameter in &parameters {
            let start = values.len();
            if is_token_table(parameter) {
                let shape = [config.vocabulary, config.hidden];
                weights.read_rows(&parameter.name, shape, vocabulary.ids(), &mut values)?;
            } else {
                let shape = parameter.source_shape();
                for source in &parameter.sources {
                    weights.read(source, &shape, &mut values)?;
                }
            }
            ranges.push(start..values.len());
        }
        Ok(Self { parameters, ranges, values, vocabulary })
    }

    /// Returns the parameters. The token table has the compact shape of this buffer.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// Returns all values.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Returns all values, to be updated.
    pub fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }

    /// Returns the range of each parameter's values, in the order of
    /// [`parameters`](Self::parameters).
    pub fn ranges(&self) -> &[Range<usize>] {
        &self.ranges
    }

    /// Returns the number of elements, from the first, that weight decay applies to.
    pub fn decayed(&self) -> usize {
        self.parameters
            .iter()
            .zip(&self.ranges)
            .filter(|(parameter, _)| parameter.decays)
            .map(|(_, range)| range.end)
            .max()
            .unwrap_or(0)
    }

    /// Returns the rows that the token table holds.
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

    /// Writes copies of the `original` weight files, with these values in them, into `folder`.
    ///
    /// `decay_factor` is the factor by which weight decay shrank every token row outside this
    /// buffer.
    ///
    /// # Errors
    /// [`ModelError::File`] when a file can't be read or written.
    pub fn save(&self, original: &WeightSet, folder: &Path, decay_factor: f64) -> Result<(), ModelError> {
        let mut alterations: HashMap<String, Alteration<'_>> = HashMap::new();
        for (parameter, range) in self.parameters.iter().zip(&self.ranges) {
            if is_token_table(parameter) {
                alterations.insert(parameter.name.clone(), self.scatter(range.clone(), decay_factor));
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
        original.rewrite(folder, &mut alterations)
    }

    /// Returns an alteration that puts the compact rows of the token table back in their places,
    /// and decays all other rows.
    fn scatter(&self, range: Range<usize>, decay_factor: f64) -> Alteration<'_> {
        let table = &self.values[range];
        let width = table.len() / self.vocabulary.ids().len().max(1);
        Box::new(move |first, chunk| {
            // Chunks need not end with a row.
            for (element, value) in (first..).zip(chunk.iter_mut()) {
                *value = match self.vocabulary.row((element / width) as u32) {
                    Some(row) => table[row as usize * width + element % width],
                    None => (f64::from(*value) * decay_factor) as f32,
                };
            }
        })
    }
}

fn is_token_table(parameter: &Parameter) -> bool {
    parameter.gradient == GradientForm::Rows(RowIndex::Ids)
}

//! Parameters and moments in a device's memory, and the copies between it and the host.

use std::ops::Range;

use ort::value::Tensor;

use crate::onnx::{Device, Parameter, ResidentNames, RuntimeError};
use crate::train::{Moments, ParameterBuffer};

use super::bound::{Tensors, fetched, to_device};

/// Every parameter with its moments, in the order of the parameters.
pub(super) struct State(Vec<ResidentParameter>);

struct ResidentParameter {
    names: ResidentNames,
    parameter: Tensor<f32>,
    first: Tensor<f32>,
    second: Tensor<f32>,
}

impl State {
    /// Copies parameters and moments to the device.
    pub(super) fn bring(
        device: Device,
        parameters: &ParameterBuffer,
        moments: &Moments,
    ) -> Result<Self, RuntimeError> {
        let bring = |(parameter, range): (&Parameter, &Range<usize>)| {
            let there = |numbers: &[f32]| to_device(device, &parameter.shape, &numbers[range.clone()]);
            Ok(ResidentParameter {
                names: ResidentNames::of(parameter),
                parameter: there(parameters.values())?,
                first: there(&moments.first)?,
                second: there(&moments.second)?,
            })
        };
        parameters.parameters().iter().zip(parameters.ranges()).map(bring).collect::<Result<_, _>>().map(Self)
    }

    /// Copies parameters and moments back to the host. Nothing changes unless every copy succeeds.
    pub(super) fn fetch(
        &self,
        parameters: &mut ParameterBuffer,
        moments: &mut Moments,
    ) -> Result<(), RuntimeError> {
        let all = |tensor: fn(&ResidentParameter) -> &Tensor<f32>| -> Result<Vec<f32>, RuntimeError> {
            let mut numbers = Vec::new();
            for resident in &self.0 {
                numbers.extend(fetched(tensor(resident))?);
            }
            Ok(numbers)
        };
        let values = all(|resident| &resident.parameter)?;
        let (first, second) = (all(|resident| &resident.first)?, all(|resident| &resident.second)?);
        if [&values, &first, &second].iter().any(|numbers| numbers.len() != parameters.values().len()) {
            return Err(RuntimeError::Shape("resident"));
        }
        parameters.values_mut().copy_from_slice(&values);
        (moments.first, moments.second) = (first, second);
        Ok(())
    }

    /// Returns the parameters, by their names in the graphs.
    pub(super) fn parameters(&self) -> impl Iterator<Item = (&str, &Tensor<f32>)> {
        self.0.iter().map(|resident| (resident.names.parameter.as_str(), &resident.parameter))
    }

    /// Returns parameters and moments, by their names in the graphs.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &Tensor<f32>)> {
        self.0.iter().flat_map(|ResidentParameter { names, parameter, first, second }| {
            [(names.parameter.as_str(), parameter), (&names.first, first), (&names.second, second)]
        })
    }

    /// Returns the state that the optimizer has output, and removes its tensors from `outputs`.
    pub(super) fn next(&self, outputs: &mut Tensors) -> Result<Self, RuntimeError> {
        let mut updated =
            |name: &str| outputs.remove(&ResidentNames::updated(name)).ok_or(RuntimeError::Shape("resident"));
        let next = |resident: &ResidentParameter| {
            Ok(ResidentParameter {
                parameter: updated(&resident.names.parameter)?,
                first: updated(&resident.names.first)?,
                second: updated(&resident.names.second)?,
                names: resident.names.clone(),
            })
        };
        self.0.iter().map(next).collect::<Result<_, _>>().map(Self)
    }

    /// Returns the names, in the graphs, of each parameter's gradient and of the sum that it is
    /// added to.
    pub(super) fn gradient_names(&self) -> impl Iterator<Item = &ResidentNames> {
        self.0.iter().map(|resident| &resident.names)
    }

    /// Returns the name of the memory that holds all tensors, as ONNX Runtime calls it; several
    /// names when the tensors are in different memories.
    pub(super) fn memory(&self) -> String {
        let mut places: Vec<String> = self
            .all()
            .map(|(_, tensor)| tensor.memory_info().allocation_device().as_str().to_owned())
            .collect();
        places.sort();
        places.dedup();
        places.join(", ")
    }
}

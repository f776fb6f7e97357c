//! Device parameters: a copy of the parameters on a device, for a graph that is called many times
//! with them.

use ort::session::{Session, SessionInputValue};
use ort::value::Tensor;

use crate::onnx::{Device, RuntimeError};
use crate::train::ParameterBuffer;

use super::bound::{run, to_device, to_host};

/// A copy of the parameters on a device.
pub(in crate::train) struct DeviceParameters {
    device: Device,
    parameters: Vec<(String, Tensor<f32>)>,
}

impl DeviceParameters {
    /// Copies the parameters to the device.
    pub(in crate::train) fn new(device: Device, parameters: &ParameterBuffer) -> Result<Self, RuntimeError> {
        let all = parameters.parameters().iter().zip(parameters.ranges()).map(|(parameter, range)| {
            let tensor = to_device(device, &parameter.shape, &parameters.values()[range.clone()])?;
            Ok((parameter.name.clone(), tensor))
        });
        Ok(Self { device, parameters: all.collect::<Result<_, _>>()? })
    }

    /// Runs a graph with these parameters, and copies its only `output` back to the host.
    pub(in crate::train) fn run(
        &self,
        session: &mut Session,
        fed: Vec<(String, SessionInputValue<'_>)>,
        output: &str,
        action: &'static str,
    ) -> Result<Vec<f32>, RuntimeError> {
        let parameters = self.parameters.iter().map(|(name, tensor)| (name.as_str(), tensor));
        to_host(&run(session, self.device, fed, parameters, &[output], action)?, output)
    }
}

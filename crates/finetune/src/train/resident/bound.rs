//! Calls of a graph with tensors that stay in a device's memory.

use std::collections::HashMap;

use ort::memory::{AllocationDevice, MemoryInfo};
use ort::session::{Session, SessionInputValue};
use ort::value::{DynValue, Tensor, TensorRef, TensorValueType};

use crate::onnx::{Device, RuntimeError};

/// Tensors by their names in a graph.
pub(super) type Tensors = HashMap<String, Tensor<f32>>;

/// Runs `session` on the host's `fed` inputs and on `resident` inputs, which are used in place.
/// Outputs stay on the device, except those named in `home`, which come back to the host.
///
/// Each call binds everything again: names and pointers, not values. So outputs are always new
/// tensors, and never overwrite the outputs of an earlier call that are still in use.
pub(super) fn run<'a>(
    session: &mut Session,
    device: Device,
    fed: Vec<(String, SessionInputValue<'_>)>,
    resident: impl Iterator<Item = (&'a str, &'a Tensor<f32>)>,
    home: &[&str],
    action: &'static str,
) -> Result<Tensors, RuntimeError> {
    let attempt = || -> ort::Result<Tensors> {
        let mut binding = session.create_binding()?;
        for (name, value) in &fed {
            binding.bind_input(name, &owned(value)?)?;
        }
        for (name, tensor) in resident {
            binding.bind_input(name, tensor)?;
        }
        let (host, there) = (MemoryInfo::default(), device.memory()?);
        let names: Vec<String> = session.outputs().iter().map(|output| output.name().to_owned()).collect();
        for name in &names {
            let memory = if home.contains(&name.as_str()) { &host } else { &there };
            binding.bind_output_to_device(name, memory)?;
        }
        // Binding a fed input only queues its copy to the device.
        binding.synchronize_inputs()?;
        let mut outputs = session.run_binding(&binding)?;
        let mut tensors = Tensors::with_capacity(names.len());
        for name in names {
            if let Some(value) = outputs.remove(&name) {
                tensors.insert(name, value.downcast::<TensorValueType<f32>>()?);
            }
        }
        Ok(tensors)
    };
    attempt().map_err(RuntimeError::call(action))
}

/// Returns a copy of a tensor that owns its memory. A binding keeps its values, so borrowed tensors
/// can't be bound. ort itself would copy a borrowed tensor by binding it to a session that copies,
/// and thus recurse forever.
fn owned(value: &DynValue) -> ort::Result<DynValue> {
    if let Ok((shape, numbers)) = value.try_extract_tensor::<f32>() {
        return Ok(Tensor::from_array((shape.to_vec(), numbers.to_vec()))?.into_dyn());
    }
    let (shape, numbers) = value.try_extract_tensor::<i64>()?;
    Ok(Tensor::from_array((shape.to_vec(), numbers.to_vec()))?.into_dyn())
}

/// Borrows a number as the scalar input of a graph.
pub(super) fn scalar(number: &f32) -> Result<SessionInputValue<'_>, RuntimeError> {
    let shape: [usize; 0] = [];
    let tensor = TensorRef::from_array_view((shape, std::slice::from_ref(number)));
    tensor.map(SessionInputValue::from).map_err(RuntimeError::call("take a number"))
}

/// Copies the host's numbers into a tensor on the device.
pub(super) fn to_device(
    device: Device,
    shape: &[usize],
    numbers: &[f32],
) -> Result<Tensor<f32>, RuntimeError> {
    let bring = || {
        let (allocation, number) = device.allocation();
        Tensor::from_array((shape.to_vec(), numbers.to_vec()))?.to(allocation, number)
    };
    bring().map_err(RuntimeError::call("copy a tensor to the device"))
}

/// Copies a tensor's numbers back to the host.
pub(super) fn fetched(tensor: &Tensor<f32>) -> Result<Vec<f32>, RuntimeError> {
    let host = tensor.to(AllocationDevice::CPU, 0);
    let host = host.map_err(RuntimeError::call("copy a tensor back from the device"))?;
    Ok(host.extract_tensor().1.to_vec())
}

/// Copies the tensor called `name` of `tensors` back to the host.
pub(super) fn to_host(tensors: &Tensors, name: &str) -> Result<Vec<f32>, RuntimeError> {
    fetched(tensors.get(name).ok_or(RuntimeError::Shape("resident"))?)
}

//! The device that sessions compute on: the CPU, or an NVIDIA GPU if this program, the library and
//! the machine support one.
//!
//! Only this module knows execution providers. Without the cargo feature `cuda` none is compiled
//! in, and [`Device::Cuda`] is refused with an error.

use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};
use ort::session::builder::SessionBuilder;
use serde::{Deserialize, Serialize};

use super::RuntimeError;

/// Device that sessions compute on.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, strum::Display, strum::EnumString,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase", parse_err_ty = NoDevice, parse_err_fn = no_device)]
pub enum Device {
    /// The CPU.
    #[default]
    Cpu,
    /// The first NVIDIA GPU.
    Cuda,
}

/// Error of parsing a name that belongs to no device.
#[derive(Debug, thiserror::Error)]
#[error("unknown device; the devices are cpu and cuda")]
pub struct NoDevice;

fn no_device(_name: &str) -> NoDevice {
    NoDevice
}

impl Device {
    /// Checks that this program and the loaded library were built for the device. An unusable GPU
    /// shows only when a session is opened.
    ///
    /// # Errors
    /// [`RuntimeError::Cuda`], which names the program or the library, whichever was built without
    /// CUDA.
    pub(super) fn check(self) -> Result<(), RuntimeError> {
        match self {
            Self::Cpu => Ok(()),
            Self::Cuda => cuda::check(),
        }
    }

    /// Configures a session to compute on this device.
    pub(super) fn provide(self, builder: SessionBuilder) -> ort::Result<SessionBuilder> {
        match self {
            Self::Cpu => Ok(builder),
            Self::Cuda => cuda::provide(builder),
        }
    }

    /// Returns the kind and number of the device whose memory holds resident tensors.
    pub(crate) fn allocation(self) -> (AllocationDevice<'static>, i32) {
        match self {
            Self::Cpu => (AllocationDevice::CPU, 0),
            Self::Cuda => (AllocationDevice::CUDA, 0),
        }
    }

    /// Returns the same memory as a description that outputs are bound to.
    pub(crate) fn memory(self) -> ort::Result<MemoryInfo<'static>> {
        let (device, number) = self.allocation();
        MemoryInfo::new(device, number, AllocatorType::Device, MemoryType::Default)
    }
}

#[cfg(feature = "cuda")]
mod cuda {
    use ort::ep::{CUDA, ExecutionProvider};
    use ort::session::builder::SessionBuilder;

    use super::RuntimeError;

    pub(super) fn check() -> Result<(), RuntimeError> {
        match CUDA::is_available().map_err(RuntimeError::call("list its execution providers"))? {
            true => Ok(()),
            false => Err(RuntimeError::Cuda { lacking: "the ONNX Runtime library" }),
        }
    }

    pub(super) fn provide(builder: SessionBuilder) -> ort::Result<SessionBuilder> {
        // TF32 would round the factors of products to ten bits, and gradients would no longer be
        // those of float32.
        // Without `error_on_failure` a machine without a GPU would silently train on the CPU.
        Ok(builder.with_execution_providers([CUDA::default().with_tf32(false).build().error_on_failure()])?)
    }
}

#[cfg(not(feature = "cuda"))]
mod cuda {
    use ort::session::builder::SessionBuilder;

    use super::RuntimeError;

    pub(super) fn check() -> Result<(), RuntimeError> {
        Err(RuntimeError::Cuda { lacking: "this program" })
    }

    /// Returns the builder unchanged. Never called, because `check` refuses the device first.
    pub(super) fn provide(builder: SessionBuilder) -> ort::Result<SessionBuilder> {
        Ok(builder)
    }
}

//! Where sessions compute: on the CPU, or on an NVIDIA GPU where this program, the library and the machine can.
//!
//! The only place that knows of an execution provider. Without the cargo feature `cuda` none is compiled in, and the
//! GPU is refused by name.

use std::fmt;
use std::str::FromStr;

use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};
use ort::session::builder::SessionBuilder;
use serde::{Deserialize, Serialize};

use super::RuntimeError;

/// Where sessions compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// The CPU.
    #[default]
    Cpu,
    /// The first NVIDIA GPU.
    Cuda,
}

impl fmt::Display for Device {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
        })
    }
}

/// A name that is no device's.
#[derive(Debug, thiserror::Error)]
#[error("a device is cpu or cuda")]
pub struct NoDevice;

impl FromStr for Device {
    type Err = NoDevice;

    fn from_str(name: &str) -> Result<Self, NoDevice> {
        match name {
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda),
            _ => Err(NoDevice),
        }
    }
}

impl Device {
    /// Checks that this program and the loaded library were built for it. Whether the machine has one shows when a
    /// session is opened.
    ///
    /// # Errors
    /// [`RuntimeError::Cuda`] saying what was built without it.
    pub(super) fn check(self) -> Result<(), RuntimeError> {
        match self {
            Self::Cpu => Ok(()),
            Self::Cuda => cuda::check(),
        }
    }

    /// Lets a session compute there.
    pub(super) fn provide(self, builder: SessionBuilder) -> ort::Result<SessionBuilder> {
        match self {
            Self::Cpu => Ok(builder),
            Self::Cuda => cuda::provide(builder),
        }
    }

    /// Whose memory tensors stay in that never leave the device, and its number.
    pub(crate) fn allocation(self) -> (AllocationDevice<'static>, i32) {
        match self {
            Self::Cpu => (AllocationDevice::CPU, 0),
            Self::Cuda => (AllocationDevice::CUDA, 0),
        }
    }

    /// The same as a description that outputs are bound to.
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
        // TF32 would round the products' factors to ten bits, and gradients would no longer be those of float32.
        // Without `error_on_failure` a machine without a GPU would train on the CPU and not say so.
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

    /// Never reached: `check` refuses the device first.
    pub(super) fn provide(builder: SessionBuilder) -> ort::Result<SessionBuilder> {
        Ok(builder)
    }
}

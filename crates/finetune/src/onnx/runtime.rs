//! libonnxruntime: loads the shared library once per process, and opens sessions on it.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;

use crate::failure::{Failure, RetryDirective};

use super::form::GraphForm;
use super::privacy;
use super::{Device, optimizer_model};

/// The environment of this process, with the path of its library. ONNX Runtime allows one
/// environment per process, and it must not be dropped while sessions exist. So the environment
/// lives until the process ends.
static LOADED: Mutex<Option<(PathBuf, Environment)>> = Mutex::new(None);

/// Error of loading or calling ONNX Runtime.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The file is missing, not a shared library, or an ONNX Runtime of an unsupported version.
    #[error("{} is not a usable ONNX Runtime library", library.display())]
    Library {
        /// Path of the library.
        library: PathBuf,
        /// Error of the loader.
        source: ort::LoadDynamicError,
    },
    /// ONNX Runtime's telemetry isn't disabled.
    #[error("ONNX Runtime's telemetry to Microsoft is not disabled")]
    TelemetryEnabled,
    /// The runtime refused a call.
    #[error("ONNX Runtime refused to {action}")]
    Call {
        /// Refused action, as an infinitive: "open a graph".
        action: &'static str,
        /// Error of the runtime.
        source: ort::Error,
    },
    /// The program or the library was built without CUDA.
    #[error("{lacking} was built without CUDA")]
    Cuda {
        /// Part that lacks CUDA: `this program` or `the ONNX Runtime library`.
        lacking: &'static str,
    },
    /// Program and library support CUDA, but no session opens on a GPU.
    #[error("no usable NVIDIA GPU was found")]
    Gpu {
        /// Error of opening a session on the GPU.
        source: Box<RuntimeError>,
    },
    /// An output has a different shape than the graph declares.
    #[error("output {0} has an unexpected shape")]
    Shape(&'static str),
}

impl RuntimeError {
    /// Returns a function for `map_err`, which reports that the runtime refused to do `action`.
    pub(crate) fn call(action: &'static str) -> impl Fn(ort::Error) -> Self {
        move |source| Self::Call { action, source }
    }
}

impl Failure for RuntimeError {
    fn directive(&self) -> RetryDirective {
        match self {
            Self::Library { .. } | Self::TelemetryEnabled | Self::Cuda { .. } | Self::Gpu { .. } => {
                RetryDirective::Person
            }
            Self::Call { .. } | Self::Shape(_) => RetryDirective::Never,
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Library { .. } => {
                "Set ORT_DYLIB_PATH to the libonnxruntime.so of ONNX Runtime 1.31 (scripts/setup installs one under .local/lib)."
                    .to_owned()
            }
            Self::TelemetryEnabled => {
                "Set ORT_DISABLE_TELEMETRY=1 in the program's environment, or call `onnx::disable_telemetry()` first in `main`."
                    .to_owned()
            }
            Self::Cuda { lacking: "this program" } => {
                "Set TRAIN_DEVICE to cpu, or build with `cargo build --release --features cuda`.".to_owned()
            }
            Self::Cuda { .. } => {
                "Set TRAIN_DEVICE to cpu, or set ORT_DYLIB_PATH to the libonnxruntime.so of ONNX Runtime 1.31's GPU build."
                    .to_owned()
            }
            Self::Gpu { .. } => {
                "Set TRAIN_DEVICE to cpu, or give the process a GPU, its driver, and the CUDA and cuDNN libraries that the \
                 ONNX Runtime library was built with."
                    .to_owned()
            }
            Self::Call { .. } | Self::Shape(_) => {
                "This is a defect or an unsupported model; run with RUST_LOG=debug and report the output.".to_owned()
            }
        }
    }
}

/// A loaded ONNX Runtime.
#[derive(Debug, Clone)]
pub struct Runtime {
    environment: Environment,
    threads: usize,
    device: Device,
    form: GraphForm,
}

impl Runtime {
    /// Loads the library. A process can load only one: later calls return the library that is
    /// loaded already, and ignore `library`.
    ///
    /// Each session computes with `threads` threads.
    ///
    /// # Errors
    /// [`RuntimeError::Library`] when the file can't be used; [`RuntimeError::TelemetryEnabled`] when the
    /// program didn't [disable telemetry](super::disable_telemetry).
    pub fn load(library: &Path, threads: usize) -> Result<Self, RuntimeError> {
        if !privacy::is_disabled() {
            return Err(RuntimeError::TelemetryEnabled);
        }
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, environment)) = loaded.as_ref() {
            return Ok(Self::of(environment.clone(), threads));
        }
        let builder = ort::init_from(library)
            .map_err(|source| RuntimeError::Library { library: library.to_owned(), source })?;
        let environment = builder
            .with_name("autovalidate")
            .with_telemetry(false)
            .build()
            .map_err(RuntimeError::call("start"))?;
        *loaded = Some((library.to_owned(), environment.clone()));
        Ok(Self::of(environment, threads))
    }

    fn of(environment: Environment, threads: usize) -> Self {
        Self { environment, threads, device: Device::Cpu, form: GraphForm::Fused }
    }

    /// Returns the same library for graphs in standard operators only, which any ONNX Runtime
    /// computes on any device.
    #[must_use]
    pub fn with_standard_operators(self) -> Self {
        Self { form: GraphForm::Standard, ..self }
    }

    /// Returns the same library, training as on a GPU: parameters and moments stay in the memory of
    /// the session's device, and the optimizer is a graph. On the CPU this is slower, and serves
    /// only for comparison.
    #[must_use]
    pub fn with_resident_state(self) -> Self {
        Self { form: GraphForm::Resident, ..self }
    }

    /// Returns the same library, computing on this device. A GPU computes in standard operators
    /// with resident state.
    ///
    /// # Errors
    /// [`RuntimeError::Cuda`] when this program or the library was built without CUDA,
    /// [`RuntimeError::Gpu`] when the machine has no usable GPU.
    pub fn on(self, device: Device) -> Result<Self, RuntimeError> {
        device.check()?;
        match device {
            Device::Cpu => Ok(Self { device, ..self }),
            Device::Cuda => {
                let runtime = Self { device, ..self.with_resident_state() };
                // Opens a session now, to fail here and not hours later when the first run starts.
                runtime
                    .session(&optimizer_model(0.9, 0.999, 1e-8))
                    .map_err(|source| RuntimeError::Gpu { source: Box::new(source) })?;
                Ok(runtime)
            }
        }
    }

    /// Device that sessions compute on.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Returns true when parameters and moments stay with the sessions while training.
    pub fn resident(&self) -> bool {
        self.form == GraphForm::Resident
    }

    /// Form of the graphs to open here: fused, unless one of the methods above changed it.
    pub fn form(&self) -> GraphForm {
        self.form
    }

    /// Number of threads that each session computes with.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Opens a session on an encoded graph.
    ///
    /// # Errors
    /// [`RuntimeError::Call`] when the runtime refuses the graph.
    pub fn session(&self, model: &[u8]) -> Result<Session, RuntimeError> {
        let open = || -> ort::Result<Session> {
            let builder = self.device.provide(Session::builder(&self.environment)?)?;
            builder
                .with_intra_threads(self.threads)?
                .with_optimization_level(GraphOptimizationLevel::All)?
                // Shapes vary from batch to batch: a memory plan for one batch costs memory and is
                // useless for the next.
                .with_memory_pattern(false)?
                // Between runs of the graph the optimizer needs the cores, on which the runtime's
                // idle threads would otherwise spin.
                .with_config_entry("session.force_spinning_stop", "1")?
                .with_operators(super::fused::domain(self.threads)?)?
                .commit_from_memory(model)
        };
        open().map_err(RuntimeError::call("open a graph"))
    }
}

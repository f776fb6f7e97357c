//! libonnxruntime: loading the shared library once per process, and opening sessions on it.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;

use crate::failure::{Failure, RetryDirective};

use super::form::GraphForm;
use super::privacy;
use super::{Device, optimizer_model};

/// The environment of this process. ONNX Runtime allows one, and it must not be torn down while sessions live,
/// so it is kept until the process ends, with the library it came from.
static LOADED: Mutex<Option<(PathBuf, Environment)>> = Mutex::new(None);

/// Why the runtime can't be used.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The file is missing, is no shared library, or isn't an ONNX Runtime of a version we can drive.
    #[error("{} is not a usable ONNX Runtime library", library.display())]
    Library {
        /// What was to be loaded.
        library: PathBuf,
        /// What the loader said.
        source: ort::LoadDynamicError,
    },
    /// The library would report to its makers.
    #[error("ONNX Runtime would report to its makers")]
    Reports,
    /// The runtime refused a call.
    #[error("ONNX Runtime refused to {action}")]
    Call {
        /// What was asked of it.
        action: &'static str,
        /// What it said.
        source: ort::Error,
    },
    /// There is no computing on an NVIDIA GPU.
    #[error("{lacking} was built without CUDA")]
    Cuda {
        /// `this program` or `the ONNX Runtime library`.
        lacking: &'static str,
    },
    /// Program and library know CUDA, but no session opens on a GPU.
    #[error("no NVIDIA GPU can be computed on")]
    Gpu {
        /// What the runtime said.
        source: Box<RuntimeError>,
    },
    /// An output has another shape than the graph declares.
    #[error("output {0} has an unexpected shape")]
    Shape(&'static str),
}

impl RuntimeError {
    /// For `map_err`: the runtime refused to do `action`.
    pub(crate) fn call(action: &'static str) -> impl Fn(ort::Error) -> Self {
        move |source| Self::Call { action, source }
    }
}

impl Failure for RuntimeError {
    fn directive(&self) -> RetryDirective {
        match self {
            Self::Library { .. } | Self::Reports | Self::Cuda { .. } | Self::Gpu { .. } => {
                RetryDirective::Person
            }
            Self::Call { .. } | Self::Shape(_) => RetryDirective::Never,
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Library { .. } => {
                "Set ORT_DYLIB_PATH to libonnxruntime.so of ONNX Runtime 1.31 (scripts/setup puts one under .local/lib)."
                    .to_owned()
            }
            Self::Reports => {
                "Set ORT_DISABLE_TELEMETRY to 1 where the program is started, or begin `main` with `onnx::keep_private()`."
                    .to_owned()
            }
            Self::Cuda { lacking: "this program" } => {
                "Set TRAIN_DEVICE to cpu, or build with `cargo build --release --features cuda`.".to_owned()
            }
            Self::Cuda { .. } => {
                "Set TRAIN_DEVICE to cpu, or ORT_DYLIB_PATH to libonnxruntime.so of ONNX Runtime 1.31's GPU build."
                    .to_owned()
            }
            Self::Gpu { .. } => {
                "Set TRAIN_DEVICE to cpu, or give the process a GPU, its driver, and the CUDA and cuDNN libraries that the \
                 ONNX Runtime library was built with."
                    .to_owned()
            }
            Self::Call { .. } | Self::Shape(_) => {
                "This is a defect or an unsupported model; run with RUST_LOG=debug and report what it says.".to_owned()
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
    /// Loads the library, or takes the one this process has loaded already (there can be only one).
    ///
    /// `threads` is how many threads a session computes with.
    ///
    /// # Errors
    /// [`RuntimeError::Library`] when the file can't be used; [`RuntimeError::Reports`] when the program didn't
    /// [keep it private](super::keep_private).
    pub fn load(library: &Path, threads: usize) -> Result<Self, RuntimeError> {
        if !privacy::is_kept() {
            return Err(RuntimeError::Reports);
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

    /// The same library, with graphs in standard operators only: what any ONNX Runtime computes, on any device.
    #[must_use]
    pub fn with_standard_operators(self) -> Self {
        Self { form: GraphForm::Standard, ..self }
    }

    /// The same library, training as on a GPU, in the memory of whatever device it computes on: parameters and moments
    /// stay with the sessions, and the optimizer is a graph. On the CPU this is slower, and there to be compared.
    #[must_use]
    pub fn with_resident_state(self) -> Self {
        Self { form: GraphForm::Resident, ..self }
    }

    /// The same library, computing on this device: on a GPU in standard operators, with resident state.
    ///
    /// # Errors
    /// [`RuntimeError::Cuda`] when this program or the library was built without it, [`RuntimeError::Gpu`] when the
    /// machine has none that works.
    pub fn on(self, device: Device) -> Result<Self, RuntimeError> {
        device.check()?;
        match device {
            Device::Cpu => Ok(Self { device, ..self }),
            Device::Cuda => {
                let runtime = Self { device, ..self.with_resident_state() };
                // Now, not hours later when the first run starts.
                runtime
                    .session(&optimizer_model(0.9, 0.999, 1e-8))
                    .map_err(|source| RuntimeError::Gpu { source: Box::new(source) })?;
                Ok(runtime)
            }
        }
    }

    /// Where sessions compute.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Whether parameters and moments stay with the sessions while training.
    pub fn resident(&self) -> bool {
        self.form == GraphForm::Resident
    }

    /// The form of the graphs it is for: fused, unless it is the same library with something else.
    pub fn form(&self) -> GraphForm {
        self.form
    }

    /// The number of threads sessions compute with.
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
                // Shapes vary from batch to batch: a plan for one is of no use to the next, and costs memory.
                .with_memory_pattern(false)?
                // Between runs the optimizer needs the cores that the runtime's idle threads would spin on.
                .with_config_entry("session.force_spinning_stop", "1")?
                .with_operators(super::fused::domain(self.threads)?)?
                .commit_from_memory(model)
        };
        open().map_err(RuntimeError::call("open a graph"))
    }
}

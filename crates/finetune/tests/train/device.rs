//! The device of a run: a GPU if there is one, else a refusal that names the missing part.

use std::process::Command;

use autovalidate_finetune::failure::{Failure, RetryDirective};
use autovalidate_finetune::onnx::{Device, Runtime, RuntimeError};
use autovalidate_finetune::train::Recipe;

use crate::support;

use super::reference::{LOSSES, Reference, Setting, TINY, fixture, runtime};

/// `scripts/env` sets the variable for tests, so the test runs itself again without it.
#[test]
fn a_library_that_would_report_is_refused() {
    if std::env::var_os("ORT_DISABLE_TELEMETRY").is_none() {
        let error = Runtime::load(&support::onnxruntime(), 1).unwrap_err();
        assert_eq!(error.directive(), RetryDirective::Person);
        assert!(error.advice().contains("ORT_DISABLE_TELEMETRY"), "{error}");
        return;
    }
    let again = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "train::device::a_library_that_would_report_is_refused"])
        .env_remove("ORT_DISABLE_TELEMETRY")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&again.stdout);
    assert!(again.status.success() && told.contains("1 passed"), "{told}");
}

/// Returns the runtime on a GPU. Returns `None` when there is none to compute on, after checking
/// that the refusal names this program, the library or the machine as the reason.
pub(super) fn on_the_gpu() -> Option<Runtime> {
    let error = match runtime().on(Device::Cuda) {
        Ok(runtime) => {
            assert_eq!(runtime.device(), Device::Cuda);
            return Some(runtime);
        }
        Err(error) => error,
    };
    let (built, advice) = (cfg!(feature = "cuda"), error.advice());
    match error {
        RuntimeError::Cuda { lacking: "this program" } => {
            assert!(!built && advice.contains("--features cuda"), "{advice}");
        }
        RuntimeError::Cuda { lacking } => {
            assert!(
                built && lacking == "the ONNX Runtime library" && advice.contains("ORT_DYLIB_PATH"),
                "{advice}"
            );
        }
        // A session that doesn't open on a machine with a GPU is a defect, not a reason to skip.
        RuntimeError::Gpu { .. } => {
            assert!(built && !std::path::Path::new("/dev/nvidiactl").exists(), "there is a GPU: {error:?}");
        }
        _ => panic!("{error:?}"),
    }
    assert_eq!(error.directive(), RetryDirective::Person);
    assert!(advice.contains("TRAIN_DEVICE"), "{advice}");
    eprintln!("skipped: {error}");
    None
}

/// On a GPU the gradients equal the CPU's. Without a GPU the refusal names the missing part.
#[test]
fn gradients_on_the_gpu_are_the_cpus_or_its_lack_is_named() {
    let Some(device) = on_the_gpu() else { return };
    for tiny in TINY {
        let setting = Setting::new(&fixture(tiny), &Reference::load(&format!("{tiny}.safetensors")).pairs);
        for (name, loss) in LOSSES {
            let recipe = Recipe { loss, ..Recipe::default() };
            let ours = setting.stepper_on(&device, &recipe).gradients(&setting.batch()).unwrap();
            let truth = setting.stepper(&recipe).gradients(&setting.batch()).unwrap();
            assert!((ours.0 - truth.0).abs() < 1e-5 * truth.0, "{tiny}, {name}: {} and {}", ours.0, truth.0);
            let length = |numbers: &[f32]| numbers.iter().map(|x| x * x).sum::<f32>().sqrt();
            let whole = truth.1.iter().map(|(_, g)| length(g).powi(2)).sum::<f32>().sqrt();
            for ((parameter, ours), (_, truth)) in ours.1.iter().zip(&truth.1) {
                let off: Vec<f32> = ours.iter().zip(truth).map(|(a, b)| a - b).collect();
                let bound = 1e-4 * length(truth) + 1e-6 * whole;
                assert!(length(&off) < bound, "{tiny}, {name}: {parameter} is off by {:e}", length(&off));
            }
        }
    }
}

#[test]
fn a_device_is_known_by_its_name() {
    for device in [Device::Cpu, Device::Cuda] {
        assert_eq!(device.to_string().parse::<Device>().unwrap(), device);
    }
    assert!("gpu".parse::<Device>().is_err());
    assert_eq!(runtime().device(), Device::Cpu);
}

//! A run that was interrupted ends with the same bits as an uninterrupted run.

use std::borrow::Cow;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use autovalidate_finetune::onnx::Runtime;
use autovalidate_finetune::train::{
    Checkpoint, Checkpoints, EarlyStop, Fit, Interval, Metric, Observer, PairSource, Pairs, ParameterBuffer,
    Progress, Recipe, Resumable, TrainError, fit,
};

use super::reference::{Reference, Setting, fixture, runtime};

/// Environment variable with the folder in which a child process trains.
const FOLDER: &str = "RESUME_TEST_FOLDER";

fn train(observer: &mut dyn Observer) -> Result<Fit, TrainError> {
    train_on(&runtime(), 4, observer)
}

fn train_on(runtime: &Runtime, batch_size: usize, observer: &mut dyn Observer) -> Result<Fit, TrainError> {
    let reference = Reference::load("tiny.safetensors");
    let setting = Setting::new(&fixture("tiny"), &reference.pairs);
    let recipe = Recipe { epochs: 6, batch_size, learning_rate: 5e-3, ..Recipe::default() };
    setting.fit_on(runtime, &recipe, observer)
}

fn resumable<'o>(observer: &'o mut dyn Observer, folder: &Path, every: u64) -> Resumable<'o> {
    let checkpoints = Checkpoints { folder: folder.to_owned(), interval: Interval::Steps(every) };
    Resumable { observer, checkpoints }
}

fn assert_same_bits(ours: &Fit, truth: &Fit) {
    let bits = |fit: &Fit| {
        [fit.parameters.values(), &fit.moments.first, &fit.moments.second, &fit.summary.losses]
            .concat()
            .into_iter()
            .map(f32::to_bits)
            .collect::<Vec<_>>()
    };
    assert_eq!(bits(ours), bits(truth), "weights, moments or losses differ");
    assert_eq!(ours.moments.step, truth.moments.step);
    assert_eq!(ours.moments.decay_factor.to_bits(), truth.moments.decay_factor.to_bits());
    assert_eq!(ours.summary.epoch_losses, truth.summary.epoch_losses);
}

#[test]
fn stopped_after_every_single_step_it_ends_with_the_same_bits() {
    stopped_after_every_single_step(&runtime(), 4);
}

#[test]
fn so_does_a_run_of_small_batches_whose_gradients_are_factored() {
    stopped_after_every_single_step(&runtime(), 2);
}

#[test]
fn so_it_does_where_parameters_stay_on_a_device() {
    // A GPU does not guarantee equal bits (docs/decisions/0035); `resident` computes on the CPU.
    stopped_after_every_single_step(&runtime().with_resident_state(), 4);
}

fn stopped_after_every_single_step(runtime: &Runtime, batch_size: usize) {
    let truth = train_on(runtime, batch_size, &mut |_: &Progress| true).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut stops = 0;
    let fit = loop {
        let mut observer = |progress: &Progress| {
            assert_eq!(progress.step, stops + 1, "the run resumed at another step");
            false
        };
        // No interval is ever due: the run resumes from the checkpoint written when it stopped.
        match train_on(runtime, batch_size, &mut resumable(&mut observer, folder.path(), u64::MAX)) {
            Err(TrainError::Stopped { step }) => {
                stops += 1;
                assert_eq!(step, stops);
            }
            Ok(fit) => break fit,
            Err(other) => panic!("{other}"),
        }
    };
    assert_eq!(stops, truth.summary.steps);
    assert_same_bits(&fit, &truth);
}

#[test]
fn killed_it_ends_with_the_same_bits() {
    let truth = train(&mut |_: &Progress| true).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for kill_at in ["step 4", "step 9"] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "train::resume::trains_until_killed", "--ignored", "--nocapture"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let reached = lines.map_while(Result::ok).any(|line| line == kill_at);
        // On Unix this is SIGKILL: the child can't clean up, and may be in the middle of writing a
        // checkpoint.
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(reached, "the child never reached {kill_at}");
    }
    let mut first = None;
    let mut observer = |progress: &Progress| {
        first.get_or_insert(progress.step);
        true
    };
    let fit = train(&mut resumable(&mut observer, folder.path(), 1)).unwrap();
    assert!(first.unwrap() >= 9, "the run resumed at step {first:?}");
    assert_same_bits(&fit, &truth);
}

/// The child process of the test above. On its own, it does nothing.
#[test]
#[ignore = "run by killed_it_ends_with_the_same_bits"]
fn trains_until_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let mut observer = |progress: &Progress| {
        writeln!(std::io::stderr(), "step {}", progress.step).unwrap();
        true
    };
    train(&mut resumable(&mut observer, Path::new(&folder), 1)).unwrap();
}

#[test]
fn a_checkpoint_of_another_run_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut stop = |progress: &Progress| progress.step < 3;
    assert!(train(&mut resumable(&mut stop, folder.path(), 1)).is_err());
    let reference = Reference::load("tiny.safetensors");
    let setting = Setting::new(&fixture("tiny"), &reference.pairs);
    let other = Recipe { epochs: 1, batch_size: 4, seed: 43, ..Recipe::default() };
    let mut first = None;
    let mut observer = |progress: &Progress| {
        first.get_or_insert(progress.step);
        true
    };
    let mut observer = resumable(&mut observer, folder.path(), 1);
    setting.fit(&other, &mut observer).unwrap();
    assert_eq!(first, Some(1));
}

/// Resumes from a checkpoint that version 0.1.0 wrote after five steps, and returns the first step
/// taken and the result.
fn go_on_from_format_1(
    name: &str,
    learn: impl Fn(&mut dyn Observer) -> Result<Fit, TrainError>,
) -> (Option<usize>, Fit) {
    let folder = tempfile::tempdir().unwrap();
    let file = Checkpoint::file(folder.path());
    std::fs::copy(fixture("checkpoints/format-1").join(format!("{name}.safetensors")), &file).unwrap();
    let mut first = None;
    let mut watch = |progress: &Progress| {
        first.get_or_insert(progress.step);
        true
    };
    let fit = learn(&mut resumable(&mut watch, folder.path(), 1)).unwrap();
    // The checkpoint written since then has today's format, and the run resumes from it as well.
    let again = learn(&mut resumable(&mut |_: &Progress| panic!("all steps are done"), folder.path(), 1));
    assert_eq!(again.unwrap().summary.steps, fit.summary.steps);
    (first, fit)
}

#[test]
fn a_checkpoint_of_the_version_before_is_continued() {
    // Another machine computed the earlier steps, so the last bits may differ from a run on this
    // machine.
    let assert_close = |ours: &Fit, truth: &Fit| {
        assert_eq!(ours.summary.steps, truth.summary.steps);
        for (ours, truth) in ours.summary.losses.iter().zip(&truth.summary.losses) {
            assert!((ours - truth).abs() < 1e-4 * truth, "{ours} and {truth}");
        }
    };
    let (first, fit) = go_on_from_format_1("tiny", train);
    assert_eq!(first, Some(6));
    assert_close(&fit, &train(&mut |_: &Progress| true).unwrap());

    let (first, fit) = go_on_from_format_1("tiny-mpnet", |observer| early(observer));
    assert_eq!(first, Some(6));
    assert_close(&fit, &early(&mut |_: &Progress| true).unwrap());
}

/// Trains with every optional part of a recipe, on an encoder with every optional part of a
/// configuration.
fn early(observer: &mut dyn Observer) -> Result<Fit, TrainError> {
    /// Observer that gives all parameters the same score, so that the patience ends the run.
    struct Assessing<'o>(&'o mut dyn Observer);
    impl Observer for Assessing<'_> {
        fn step(&mut self, progress: &Progress) -> bool {
            self.0.step(progress)
        }
        fn assess(&mut self, _: &ParameterBuffer) -> Result<Option<f32>, TrainError> {
            Ok(Some(0.5))
        }
        fn checkpoints(&self) -> Option<&Checkpoints> {
            self.0.checkpoints()
        }
    }
    let reference = Reference::load("tiny.safetensors");
    let setting = Setting::new(&fixture("tiny-mpnet"), &reference.pairs);
    let early_stop = Some(EarlyStop { metric: Metric::Loss, patience: 3, every: Some(2) });
    let recipe = Recipe { epochs: 6, batch_size: 4, early_stop, dropout: true, ..Recipe::default() };
    setting.fit(&recipe, &mut Assessing(observer))
}

/// Source whose second epoch has other pairs than the first.
struct EpochDataset(Vec<Pairs>);

impl PairSource for EpochDataset {
    fn epoch(&self, epoch: usize) -> Result<Cow<'_, Pairs>, TrainError> {
        Ok(Cow::Borrowed(&self.0[epoch]))
    }
}

/// Trains for two epochs with different pairs, reversed pairs included. With `same` unset, the
/// second epoch has other pairs than usual.
fn learn(same: bool, observer: &mut dyn Observer) -> Result<Fit, TrainError> {
    let reference = Reference::load("tiny.safetensors");
    let setting = Setting::new(&fixture("tiny"), &reference.pairs);
    let second = if same { setting.pairs.with_reversed() } else { setting.pairs.clone() };
    let dataset = EpochDataset(vec![setting.pairs, second]);
    let recipe = Recipe { epochs: 2, batch_size: 4, reversed: true, ..Recipe::default() };
    let (config, head) = (&setting.folder.config, setting.folder.head);
    fit(&runtime(), config, head, &recipe, setting.parameters, &dataset, observer)
}

#[test]
fn epochs_of_different_pairs_go_on_where_they_were_stopped() {
    let truth = learn(true, &mut |_: &Progress| true).unwrap();
    let second_epoch = {
        let mut first_step = None;
        let mut watch = |progress: &Progress| {
            if progress.epoch == 2 {
                first_step.get_or_insert(progress.step);
            }
            true
        };
        learn(true, &mut watch).unwrap();
        first_step.unwrap()
    };
    // Stops in the first epoch, at its end, at the beginning of the second, and within it.
    for stop_at in [2, second_epoch - 1, second_epoch, second_epoch + 1] {
        let folder = tempfile::tempdir().unwrap();
        let mut stop = |progress: &Progress| progress.step < stop_at;
        assert!(learn(true, &mut resumable(&mut stop, folder.path(), u64::MAX)).is_err());
        let mut steps = Vec::new();
        let mut watch = |progress: &Progress| {
            steps.push((progress.step, progress.epoch));
            true
        };
        let fit = learn(true, &mut resumable(&mut watch, folder.path(), u64::MAX)).unwrap();
        assert_same_bits(&fit, &truth);
        let expected: Vec<_> = (stop_at + 1..=truth.summary.steps)
            .map(|step| (step, if step < second_epoch { 1 } else { 2 }))
            .collect();
        assert_eq!(steps, expected);
    }
}

#[test]
fn a_run_whose_later_pairs_are_others_is_another_run() {
    let folder = tempfile::tempdir().unwrap();
    let mut stop = |_: &Progress| false;
    assert!(learn(true, &mut resumable(&mut stop, folder.path(), 1)).is_err());
    let mut first = None;
    let mut watch = |progress: &Progress| {
        first.get_or_insert(progress.step);
        true
    };
    learn(false, &mut resumable(&mut watch, folder.path(), 1)).unwrap();
    assert_eq!(first, Some(1));
}

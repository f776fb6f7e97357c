//! Early stop: runs end when their score no longer improves, and keep the best parameters.

use std::path::Path;

use autovalidate_finetune::onnx::Runtime;
use autovalidate_finetune::train::{
    Checkpoints, EarlyStop, Fit, Interval, Metric, Observer, ParameterBuffer, Progress, Recipe, Resumable,
    TrainError,
};

use super::reference::{Reference, Setting, every_kind, fixture, runtime};

/// Observer that returns prepared scores, records its arguments, and stops the run after some
/// steps.
#[derive(Default)]
struct Examiner {
    scores: Vec<f32>,
    shown: Vec<Vec<f32>>,
    steps: Vec<usize>,
    /// Returns true for the steps after which the run stops.
    stop: Option<fn(usize) -> bool>,
}

impl Observer for Examiner {
    fn step(&mut self, progress: &Progress) -> bool {
        self.steps.push(progress.step);
        !self.stop.is_some_and(|stop| stop(progress.step))
    }

    fn assess(&mut self, parameters: &ParameterBuffer) -> Result<Option<f32>, TrainError> {
        self.shown.push(parameters.values().to_vec());
        // After the last prepared score there is no improvement.
        Ok(Some(self.scores.get(self.shown.len() - 1).copied().unwrap_or(f32::MIN)))
    }
}

/// Trains for six epochs of two steps each.
fn run(early_stop: Option<EarlyStop>, observer: &mut dyn Observer) -> Result<Fit, TrainError> {
    run_on(&runtime(), early_stop, observer)
}

fn run_on(
    runtime: &Runtime,
    early_stop: Option<EarlyStop>,
    observer: &mut dyn Observer,
) -> Result<Fit, TrainError> {
    let reference = Reference::load("tiny.safetensors");
    let setting = Setting::new(&fixture("tiny"), &reference.pairs);
    let recipe = Recipe { epochs: 6, batch_size: 4, learning_rate: 5e-3, early_stop, ..Recipe::default() };
    setting.fit_on(runtime, &recipe, observer)
}

fn rule(patience: usize, every: Option<usize>) -> Option<EarlyStop> {
    Some(EarlyStop { metric: Metric::Accuracy, patience, every })
}

#[test]
fn it_stops_when_patience_ends_and_keeps_the_best() {
    for (_, runtime) in every_kind() {
        stops_and_keeps_the_best(&runtime);
    }
}

fn stops_and_keeps_the_best(runtime: &Runtime) {
    let mut examiner = Examiner { scores: vec![0.1, 0.4, 0.3, 0.4, 0.9], ..Examiner::default() };
    let fit = run_on(runtime, rule(2, None), &mut examiner).unwrap();
    // The second score is the best; the fourth only equals it.
    assert_eq!(examiner.steps, (1..=8).collect::<Vec<_>>());
    assert_eq!(fit.parameters.values(), examiner.shown[1]);
    assert_ne!(examiner.shown[1], examiner.shown[3]);
    let summary = &fit.summary;
    assert_eq!((summary.steps, summary.best_step, summary.epoch_losses.len()), (8, Some(4), 4));
    let assessed: Vec<_> = summary.assessments.iter().map(|each| (each.step, each.score)).collect();
    assert_eq!(assessed, [(2, 0.1), (4, 0.4), (6, 0.3), (8, 0.4)]);
    // Rows that weren't trained are decayed by four steps, not by eight.
    assert!(
        fit.moments.decay_factor < fit.decay_factor && fit.decay_factor < 1.0,
        "{} and {}",
        fit.moments.decay_factor,
        fit.decay_factor
    );
}

#[test]
fn a_run_that_gets_better_to_the_end_is_the_run_without_early_stop() {
    let truth = run(None, &mut |_: &Progress| true).unwrap();
    assert!(truth.summary.assessments.is_empty());
    let mut examiner =
        Examiner { scores: (0..99).map(|score| score as f32).collect(), ..Examiner::default() };
    let fit = run(rule(1, Some(5)), &mut examiner).unwrap();
    assert_eq!(fit.parameters.values(), truth.parameters.values());
    assert_eq!(fit.decay_factor.to_bits(), truth.moments.decay_factor.to_bits());
    // After every fifth of twelve steps, and after the last.
    let steps: Vec<usize> = fit.summary.assessments.iter().map(|each| each.step).collect();
    assert_eq!(steps, [5, 10, 12]);
}

#[test]
fn an_observer_that_does_not_assess_lets_the_run_go_on() {
    let truth = run(None, &mut |_: &Progress| true).unwrap();
    let fit = run(rule(1, None), &mut |_: &Progress| true).unwrap();
    assert_eq!(fit.parameters.values(), truth.parameters.values());
    assert_eq!((fit.summary.steps, fit.summary.best_step), (12, None));
}

#[test]
fn a_score_that_is_no_number_ends_the_run() {
    let mut examiner = Examiner { scores: vec![0.5, f32::NAN], ..Examiner::default() };
    match run(rule(1, None), &mut examiner) {
        Err(TrainError::Assessment { step: 4, .. }) => {}
        other => panic!("{:?}", other.map(|fit| fit.summary)),
    }
}

#[test]
fn interrupted_it_ends_with_the_same_bits() {
    const SCORES: [f32; 6] = [0.2, 0.1, 0.5, 0.3, 0.4, 0.9];
    let resumable = |examiner: &mut Examiner, folder: &Path| {
        let checkpoints = Checkpoints { folder: folder.to_owned(), interval: Interval::Steps(u64::MAX) };
        run(rule(2, None), &mut Resumable { observer: examiner, checkpoints })
    };
    let truth = run(rule(2, None), &mut Examiner { scores: SCORES.to_vec(), ..Examiner::default() }).unwrap();
    assert_eq!((truth.summary.steps, truth.summary.best_step), (10, Some(6)));
    // Stops after every step, and stops only after assessed steps. The last assessed step is the
    // one that exhausts the patience.
    for stop in [(|_| true) as fn(usize) -> bool, |step| step % 2 == 0] {
        let folder = tempfile::tempdir().unwrap();
        let (mut assessed, mut attempts) = (0, 0);
        let fit = loop {
            let mut examiner =
                Examiner { scores: SCORES[assessed..].to_vec(), stop: Some(stop), ..Examiner::default() };
            attempts += 1;
            match resumable(&mut examiner, folder.path()) {
                Err(TrainError::Stopped { .. }) => assessed += examiner.shown.len(),
                other => break other.unwrap(),
            }
        };
        assert!(attempts > 5, "{attempts} attempts");
        let bits = |fit: &Fit| {
            let all = [fit.parameters.values(), &fit.moments.first, &fit.moments.second, &fit.summary.losses];
            all.concat().into_iter().map(f32::to_bits).collect::<Vec<_>>()
        };
        assert_eq!(bits(&fit), bits(&truth));
        assert_eq!(fit.decay_factor.to_bits(), truth.decay_factor.to_bits());
        assert_eq!(fit.summary.assessments, truth.summary.assessments);
        assert_eq!(fit.summary.epoch_losses, truth.summary.epoch_losses);
        assert_eq!((fit.summary.steps, fit.summary.best_step), (10, Some(6)));
    }
}

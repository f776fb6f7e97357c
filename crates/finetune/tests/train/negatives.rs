//! Hard negatives: the loss and gradients of sentence-transformers, in every kind of graph, at once
//! and in parts.

use autovalidate_finetune::onnx::Loss;
use autovalidate_finetune::train::{
    Checkpoints, Fit, Interval, Observer, Progress, Recipe, Resumable, TrainError,
};

use super::reference::{Reference, Setting, TINY, fixture, length};

fn of_fixture(reference: &Reference, tiny: &str) -> Setting {
    let negatives: Vec<Vec<String>> = serde_json::from_str(&reference.about["negatives"]).unwrap();
    Setting::with_negatives(&fixture(tiny), &reference.pairs, &negatives)
}

fn recipe(loss: Loss) -> Recipe {
    Recipe { loss, hard_negatives: 2, ..Recipe::default() }
}

#[test]
fn loss_and_every_gradient_equal_sentence_transformers() {
    for tiny in TINY {
        let reference = Reference::load(&format!("negatives-{tiny}.safetensors"));
        let setting = of_fixture(&reference, tiny);
        setting.assert_equal_in_every_graph(&reference, tiny, |loss| Recipe {
            label_smoothing: 0.0,
            ..recipe(loss)
        });
    }
}

/// A hard negative counts once, even when it is also another pair's correction or when two pairs
/// name it. It never counts for a pair whose correction or typo it is.
#[test]
fn a_name_is_a_negative_once_and_never_of_its_own_pair() {
    let pair =
        |anchor: &str, positive: &str| (format!("car model: {anchor}"), format!("car model: {positive}"));
    let pairs = [pair("glof", "Golf"), pair("pasat", "Passat"), pair("pollo", "Polo")];
    let negatives = |of: [&[&str]; 3]| {
        of.map(|names| names.iter().map(|name| format!("car model: {name}")).collect()).to_vec()
    };
    let loss_of = |negatives: Vec<Vec<String>>| {
        let setting = Setting::with_negatives(&fixture("tiny"), &pairs, &negatives);
        setting.stepper(&recipe(Loss::MnrlSymmetric)).gradients(&setting.batch()).unwrap().0
    };
    let none = loss_of(negatives([&[], &[], &[]]));
    let positives = loss_of(negatives([&["Passat", "Golf"], &["Golf"], &["Polo"]]));
    assert_eq!(positives, none, "corrections of the batch are candidates already");
    let once = loss_of(negatives([&["Up"], &[], &[]]));
    let twice = loss_of(negatives([&["Up"], &["Up"], &["Up", "Up"]]));
    assert_eq!(once, twice);
    assert!(once > none, "a further negative makes it harder: {once}, {none}");
    // "pollo" is a typo of Polo. As a hard negative of another pair, it still never counts for its
    // own pair.
    let (typo, other) =
        (loss_of(negatives([&["pollo"], &[], &[]])), loss_of(negatives([&[], &["pollo"], &[]])));
    assert_eq!(typo, other);
}

/// Batches without hard negatives have the same loss in the graph for hard negatives as in the
/// ordinary one.
#[test]
fn none_of_them_is_the_loss_without() {
    let reference = Reference::load("tiny.safetensors");
    let without = Setting::new(&fixture("tiny"), &reference.pairs);
    let with = Setting::with_negatives(&fixture("tiny"), &reference.pairs, &[]);
    let (truth, gradients) = without.stepper(&Recipe::default()).gradients(&without.batch()).unwrap();
    let (loss, ours) = with.stepper(&recipe(Loss::MnrlSymmetric)).gradients(&with.batch()).unwrap();
    assert!((loss - truth).abs() < 1e-6 * truth, "{loss}, {truth}");
    for ((name, ours), (_, truth)) in ours.iter().zip(&gradients) {
        let off = length(ours.iter().zip(truth).map(|(a, b)| f64::from(a - b)));
        assert!(off <= 1e-5 * length(truth.iter().map(|x| f64::from(*x))) + 1e-7, "{name} is off by {off:e}");
    }
}

/// Observer that stops the run after this many steps of this process.
struct StopsAfter(usize);

impl Observer for StopsAfter {
    fn step(&mut self, _: &Progress) -> bool {
        self.0 -= 1;
        self.0 > 0
    }
}

#[test]
fn interrupted_it_ends_with_the_same_bits() {
    let reference = Reference::load("negatives-tiny.safetensors");
    let recipe = Recipe { epochs: 3, batch_size: 4, learning_rate: 1e-4, ..recipe(Loss::MnrlSymmetric) };
    let folder = tempfile::tempdir().unwrap();
    let run = |observer: &mut dyn Observer| -> Result<Fit, TrainError> {
        of_fixture(&reference, "tiny").fit(&recipe, observer)
    };
    let whole = run(&mut |_: &Progress| true).unwrap();
    let checkpoints = Checkpoints { folder: folder.path().to_owned(), interval: Interval::Steps(1) };
    let mut stops = StopsAfter(3);
    let stopped = run(&mut Resumable { observer: &mut stops, checkpoints: checkpoints.clone() });
    assert!(matches!(stopped, Err(TrainError::Stopped { step: 3 })));
    let ended = run(&mut Resumable { observer: &mut |_: &Progress| true, checkpoints }).unwrap();
    assert_eq!(ended.summary.losses, whole.summary.losses);
    assert_eq!(ended.parameters.values(), whole.parameters.values());
}

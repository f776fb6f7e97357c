//! Reference numbers from the fixtures, and comparisons with them.

use std::collections::HashMap;
use std::path::PathBuf;

use autovalidate_finetune::model::{ModelFolder, WeightSet};
use autovalidate_finetune::onnx::{Device, Loss, Runtime};
use autovalidate_finetune::train::{
    Batch, Fit, Observer, Pairs, ParameterBuffer, Recipe, Stepper, TrainError, Vocabulary, fit,
};
use safetensors::SafeTensors;

use super::device::on_the_gpu;
use crate::support;

/// The losses, under the names the fixtures give them.
pub(crate) const LOSSES: [(&str, Loss); 2] = [("mnrl", Loss::Mnrl), ("mnrl-symmetric", Loss::MnrlSymmetric)];

/// A loaded fixture.
pub(crate) struct Reference {
    tensors: HashMap<String, Vec<f64>>,
    /// Pairs of texts, as the reference encoded them.
    pub(crate) pairs: Vec<(String, String)>,
    /// The fixture's settings.
    pub(crate) about: HashMap<String, String>,
}

/// The small encoders: one per architecture, with the pooling methods and normalization spread over
/// them.
pub(crate) const TINY: [&str; 4] = ["tiny", "tiny-roberta", "tiny-distilbert", "tiny-mpnet"];

pub(crate) fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

impl Reference {
    pub(crate) fn load(name: &str) -> Self {
        let bytes = std::fs::read(fixture(name)).unwrap();
        let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
        let about = metadata.metadata().clone().unwrap();
        let pairs = serde_json::from_str(&about["pairs"]).unwrap();
        let tensors = SafeTensors::deserialize(&bytes)
            .unwrap()
            .tensors()
            .into_iter()
            .map(|(name, view)| {
                let data = view.data();
                let numbers = match view.dtype() {
                    safetensors::Dtype::F32 => data
                        .chunks_exact(4)
                        .map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap())))
                        .collect(),
                    safetensors::Dtype::F64 => {
                        data.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect()
                    }
                    other => panic!("fixture tensor of type {other:?}"),
                };
                (name, numbers)
            })
            .collect();
        Self { tensors, pairs, about }
    }

    pub(crate) fn get(&self, name: &str) -> &[f64] {
        self.tensors.get(name).unwrap_or_else(|| panic!("the fixture has no {name}"))
    }
}

/// Returns the length of numbers as one vector.
pub(crate) fn length(numbers: impl Iterator<Item = f64>) -> f64 {
    numbers.map(|x| x * x).sum::<f64>().sqrt()
}

/// Reads every tensor of a folder's `model.safetensors`, which must hold 32-bit floats.
pub(crate) fn floats(folder: &std::path::Path) -> HashMap<String, Vec<f64>> {
    let bytes = std::fs::read(folder.join("model.safetensors")).unwrap();
    let floats =
        |data: &[u8]| data.as_chunks().0.iter().map(|four| f64::from(f32::from_le_bytes(*four))).collect();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    tensors.tensors().into_iter().map(|(name, view)| (name, floats(view.data()))).collect()
}

pub(crate) fn runtime() -> Runtime {
    Runtime::load(&support::onnxruntime(), 2).unwrap()
}

/// Returns every kind of runtime: with fused operators, with standard operators, with parameters
/// and moments that stay with the sessions, and on a GPU if there is one.
pub(crate) fn every_kind() -> Vec<(&'static str, Runtime)> {
    let standard = ("standard", runtime().with_standard_operators());
    [("fused", runtime()), standard].into_iter().chain(resident_kinds()).collect()
}

/// Returns every kind of graph that computes gradients, with the batch size of a recipe that
/// selects it: small batches have factored gradients.
pub(crate) fn every_graph() -> Vec<(&'static str, Runtime, usize)> {
    let large = every_kind().into_iter().map(|(kind, runtime)| (kind, runtime, Recipe::default().batch_size));
    large.chain([("factored", runtime(), 2)]).collect()
}

/// Returns every kind of runtime whose parameters and moments stay with the sessions.
pub(crate) fn resident_kinds() -> Vec<(&'static str, Runtime)> {
    let gpu = on_the_gpu().map(|runtime| ("cuda", runtime));
    [("resident", runtime().with_resident_state())].into_iter().chain(gpu).collect()
}

/// A model folder with its reference's pairs, ready to train.
pub(crate) struct Setting {
    pub(crate) folder: ModelFolder,
    pub(crate) weights: WeightSet,
    pub(crate) parameters: ParameterBuffer,
    pub(crate) pairs: Pairs,
}

impl Setting {
    pub(crate) fn new(folder: &std::path::Path, texts: &[(String, String)]) -> Self {
        Self::with_negatives(folder, texts, &[])
    }

    /// Returns the setting with hard negatives of the first pairs, or of all pairs.
    pub(crate) fn with_negatives(
        folder: &std::path::Path,
        texts: &[(String, String)],
        negatives: &[Vec<String>],
    ) -> Self {
        let folder = ModelFolder::open(folder).unwrap();
        let tokenizer = folder.tokenizer().unwrap();
        let side = |first: bool| {
            let texts: Vec<&str> =
                texts.iter().map(|pair| if first { pair.0.as_str() } else { pair.1.as_str() }).collect();
            tokenizer.encode(&texts).unwrap().texts
        };
        let (anchors, positives) = (side(true), side(false));
        let negatives: Vec<Vec<Vec<u32>>> =
            negatives.iter().map(|names| tokenizer.encode(names).unwrap().texts).collect();
        let vocabulary = Vocabulary::of(anchors.iter().chain(&positives).chain(negatives.iter().flatten()));
        let rows = (0..texts.len() as i64).collect();
        let pairs = Pairs::with_negatives(rows, &anchors, &positives, &negatives, &vocabulary).unwrap();
        let weights = folder.weights().unwrap();
        let parameters = ParameterBuffer::load(&folder.config, &weights, vocabulary).unwrap();
        Self { folder, weights, parameters, pairs }
    }

    /// Trains these parameters on these pairs.
    pub(crate) fn fit(&self, recipe: &Recipe, observer: &mut dyn Observer) -> Result<Fit, TrainError> {
        self.fit_on(&runtime(), recipe, observer)
    }

    /// Trains these parameters on these pairs, with the graphs of `runtime`.
    pub(crate) fn fit_on(
        &self,
        runtime: &Runtime,
        recipe: &Recipe,
        observer: &mut dyn Observer,
    ) -> Result<Fit, TrainError> {
        let ModelFolder { config, head, .. } = &self.folder;
        fit(runtime, config, *head, recipe, self.parameters.clone(), &self.pairs, observer)
    }

    /// Returns a training session on these parameters.
    pub(crate) fn stepper(&self, recipe: &Recipe) -> Stepper {
        self.stepper_on(&runtime(), recipe)
    }

    /// Returns a training session on these parameters, with the graphs of `runtime`.
    pub(crate) fn stepper_on(&self, runtime: &Runtime, recipe: &Recipe) -> Stepper {
        let ModelFolder { config, head, .. } = &self.folder;
        let stepper = Stepper::new(runtime, config, *head, recipe, self.parameters.clone()).unwrap();
        // Resident parameters must really stay on the device, or the test would compare one path
        // with itself.
        let memory = runtime.resident().then(|| match runtime.device() {
            Device::Cpu => "Cpu".to_owned(),
            Device::Cuda => "Cuda".to_owned(),
        });
        assert_eq!(stepper.resident_in(), memory);
        stepper
    }

    /// Returns all pairs as one batch.
    pub(crate) fn batch(&self) -> Batch {
        let all: Vec<usize> = (0..self.pairs.len()).collect();
        Batch::new(&self.pairs, &all, &self.folder.config, self.folder.head)
    }

    /// Asserts that loss and gradients of all pairs equal the reference's, for both losses, in
    /// every kind of graph, at once and in parts. `recipe` returns the recipe for a loss. No loss
    /// may be below the floor of its recipe.
    pub(crate) fn assert_equal_in_every_graph(
        &self,
        reference: &Reference,
        about: &str,
        recipe: impl Fn(Loss) -> Recipe,
    ) {
        let all: Vec<usize> = (0..self.pairs.len()).collect();
        for (name, loss) in LOSSES {
            for (kind, runtime, batch_size) in every_graph() {
                for mini_batch in [usize::MAX, 3] {
                    let about = format!("{about}, {name}, {kind}, parts of {mini_batch}");
                    let recipe = Recipe { batch_size, mini_batch, ..recipe(loss) };
                    let batch =
                        Batch::of_recipe(&recipe, &self.pairs, &all, &self.folder.config, self.folder.head);
                    let (value, gradients) = self.stepper_on(&runtime, &recipe).gradients(&batch).unwrap();
                    let truth = reference.get(&format!("{name}.loss"))[0];
                    assert!(
                        (f64::from(value) - truth).abs() < 1e-5 * truth,
                        "{about}: loss {value}, the reference's {truth}"
                    );
                    self.assert_gradients(&gradients, reference, &format!("{name}.gradient."), &about);
                    let least = Recipe { batch_size: all.len(), ..recipe }.least_loss();
                    assert!(value > least, "{about}: {value} is below the floor, {least}");
                }
            }
        }
    }

    /// Asserts that gradients, by parameter, equal the reference's tensors `<prefix><source>`.
    pub(crate) fn assert_gradients(
        &self,
        gradients: &[(String, Vec<f32>)],
        reference: &Reference,
        prefix: &str,
        about: &str,
    ) {
        let whole = length(gradients.iter().flat_map(|(_, g)| g.iter().map(|x| f64::from(*x))));
        let mut compared = 0;
        for (parameter, gradient) in gradients {
            for (source, gradient) in self.by_source(parameter, gradient, 0.0) {
                let truth = reference.get(&format!("{prefix}{source}"));
                let off = length(gradient.iter().zip(truth).map(|(a, b)| f64::from(*a) - b));
                let size = length(truth.iter().copied());
                // A gradient that is zero by symmetry is rounding noise.
                assert!(off < 1e-4 * size + 1e-6 * whole, "{about}: {source} is off by {off:e} of {size:e}");
                compared += 1;
            }
        }
        let per_layer = 16 * self.folder.config.layers;
        assert!(compared > per_layer, "{about}: {compared} tensors were compared");
    }

    /// Returns a parameter's values as the tensors of the weight file. The token table has all
    /// rows; those that this buffer lacks are filled with `absent`.
    pub(crate) fn by_source(&self, name: &str, values: &[f32], absent: f32) -> Vec<(String, Vec<f32>)> {
        let parameter = self.parameters.parameters().iter().find(|parameter| parameter.name == name).unwrap();
        if name.contains("word_embeddings") {
            let width = parameter.shape[1];
            let mut full = vec![absent; self.folder.config.vocabulary * width];
            for (row, id) in values.chunks_exact(width).zip(self.parameters.vocabulary().ids()) {
                full[*id as usize * width..][..width].copy_from_slice(row);
            }
            return vec![(name.to_owned(), full)];
        }
        let size = values.len() / parameter.sources.len();
        parameter.sources.iter().cloned().zip(values.chunks_exact(size).map(<[f32]>::to_vec)).collect()
    }
}

//! Metadata of a release: the receipt that travels in the zip, and the model card.

use std::io::Read;
use std::path::Path;

use autovalidate_finetune::model::TokenizerChoice;
use autovalidate_finetune::onnx::Loss;

use crate::evaluate::{Report, Scores};
use crate::hub::{Card, CardOrigin, DomainScores, ReleaseName, RepoName};
use crate::run::dataset::DatasetSummary;
use crate::run::fine_tune::{SessionFigures, TrainedModel};
use crate::run::provenance::{Lineage, ParityProof, Receipt, release_scores, release_serving};
use crate::run::storage::{BaseModel, ModelOrigin};
use crate::text::label;

/// Largest number of domains whose scores a card shows. The receipt has all of them.
const CARD_DOMAINS: usize = 20;

/// Largest part of a base model's card that is read, in bytes.
const MAX_CARD: u64 = 1 << 20;

/// Everything that the receipt and the card state about a run.
pub(super) struct ReleaseMetadata<'a> {
    pub(super) job: &'a str,
    pub(super) release: &'a ReleaseName,
    pub(super) repo: &'a RepoName,
    pub(super) made_at: jiff::Timestamp,
    pub(super) base: &'a BaseModel,
    pub(super) dataset: &'a DatasetSummary,
    pub(super) lineage: &'a Lineage,
    pub(super) report: &'a Report,
}

impl ReleaseMetadata<'_> {
    /// Builds the receipt. `onnx_parity` is the lowest cosine between the trained model's
    /// embeddings and those of the exported model.
    pub(super) fn receipt(
        &self,
        trained: &TrainedModel,
        lineage: Lineage,
        dimension: usize,
        onnx_parity: f32,
        proof: ParityProof,
    ) -> Receipt {
        Receipt {
            job: self.job.to_owned(),
            version: self.release.version().to_owned(),
            made_at: self.made_at.to_string(),
            base_model: self.base.label.clone(),
            dataset: self.dataset.clone(),
            lineage,
            dimension,
            training: trained.summary.clone(),
            report: self.report.clone(),
            onnx_parity,
            parity_proof: Some(proof),
            name_coverage: Some(trained.figures.name_coverage.clone()),
            replay: format!("autovalidate runs replay {}", self.job),
            rollback_of: None,
        }
    }

    /// Builds the model card.
    pub(super) fn card(&self, dimensions: usize, figures: &SessionFigures) -> Card {
        let all = &self.report.held_out.all;
        let row = |domain: &str, before: &Scores, after: &Scores| DomainScores {
            domain: label(domain),
            queries: after.queries,
            before: release_scores(before),
            after: release_scores(after),
        };
        let mut scores = vec![row("overall", &all.before.overall, &all.after.overall)];
        let left = &self.report.held_out.slice;
        scores.push(row("where the fuzzy matcher gives up", &left.before.overall, &left.after.overall));
        let listed = self.report.gate.most_telling(CARD_DOMAINS);
        for (domain, after) in &all.after.domains {
            if let Some(before) = all.before.domains.get(domain).filter(|_| listed.contains(domain.as_str()))
            {
                scores.push(row(domain, before, after));
            }
        }
        let recipe = &self.lineage.recipe;
        let directions = match recipe.loss {
            Loss::MnrlSymmetric => "both directions",
            Loss::Mnrl => "typo to correction",
        };
        let settings = [
            ("epochs", recipe.epochs.to_string()),
            ("batch size", recipe.batch_size.to_string()),
            ("learning rate", recipe.learning_rate.to_string()),
            ("weight decay", recipe.weight_decay.to_string()),
            ("loss", format!("MultipleNegativesRankingLoss, {directions}, cosine, scale {}", recipe.scale)),
            ("label smoothing", recipe.label_smoothing.to_string()),
            ("hard negatives per pair", recipe.hard_negatives.to_string()),
            ("pairs with fewer hard negatives", figures.short_of_negatives.to_string()),
            ("synthetic typos per name and epoch", self.lineage.synthesis.variants.to_string()),
            (
                "tokens",
                match self.lineage.tokenizer {
                    TokenizerChoice::Characters => "one for each character of a name".to_owned(),
                    TokenizerChoice::Keep => "those of the base model".to_owned(),
                },
            ),
            ("seed", recipe.seed.to_string()),
            ("base model", self.base.label.clone()),
            ("base model weights (SHA-256)", self.lineage.base.weights_sha256.to_string()),
        ];
        let mut settings: Vec<(String, String)> =
            settings.map(|(name, value)| (name.to_owned(), value)).to_vec();
        settings.extend(self.base.not_continued.clone().map(|reason| ("start".to_owned(), reason)));
        let sampled = figures.sampled_pairs.map(|pairs| pairs.to_string());
        settings.extend(sampled.map(|pairs| ("real pairs in each epoch, a sample".to_owned(), pairs)));
        let indexed = Some(self.dataset.indexed).filter(|texts| *texts > 0);
        settings.extend(indexed.map(|texts| ("texts in the index".to_owned(), texts.to_string())));
        settings.extend(
            figures.name_coverage.warnings().into_iter().map(|warning| ("names".to_owned(), warning)),
        );
        let origin = origin(self.base.folder.path());
        let base_model = match self.base.origin {
            ModelOrigin::Hub => self.base.label.parse().ok(),
            // A release was itself trained from a model of the Hub, and its card says from which.
            ModelOrigin::Release => origin.base_model.and_then(|name| name.parse().ok()),
            ModelOrigin::Folder => None,
        };
        Card {
            repo: self.repo.clone(),
            release: self.release.clone(),
            base_model,
            license: origin.license,
            dimensions,
            trained_pairs: self.dataset.training_pairs(),
            held_out_pairs: self.dataset.held_out(),
            synthesized_pairs: figures.synthesized,
            more_domains: all.after.domains.len().saturating_sub(CARD_DOMAINS),
            scores,
            verdict: self.report.gate.sentence(),
            serving: self.report.serving.as_ref().map(release_serving),
            settings,
        }
    }
}

/// Reads from the card in a base model's folder what the new card takes over. A folder may have no
/// card.
fn origin(folder: &Path) -> CardOrigin {
    let mut card = Vec::new();
    let read = std::fs::File::open(folder.join("README.md"))
        .and_then(|file| file.take(MAX_CARD).read_to_end(&mut card));
    match read {
        Ok(_) => CardOrigin::read(&String::from_utf8_lossy(&card)),
        Err(_) => CardOrigin::default(),
    }
}

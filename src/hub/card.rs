//! The model card, shown on the repo's page.
//!
//! Contains only counts, scores, and settings. Never shows a pair, because pairs are text that
//! people typed.

use std::collections::HashSet;
use std::fmt::{self, Display, Formatter};

use serde::{Deserialize, Serialize};

use super::access::RepoName;
use super::front_matter::License;
use super::release::ReleaseName;
use super::repo_card::{BEGIN, END, FIELDS, HINT, with_note};
use super::serving::Serving;
use crate::text::collapse;

/// Retrieval scores of a model: how well it finds the right name for a typo. Each is from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ReleaseScores {
    /// Share of queries with the right answer in first place.
    pub accuracy_at_1: f64,
    /// Mean reciprocal rank of the right answer, within the first ten.
    pub mrr_at_10: f64,
    /// Share of queries with the right answer among the first three.
    pub recall_at_3: f64,
}

/// Scores of one domain, by the live model and by the released one.
#[derive(Debug, Clone, PartialEq)]
pub struct DomainScores {
    /// The domain, such as `brand`, or `overall`.
    pub domain: String,
    /// Number of held-out queries.
    pub queries: usize,
    /// Scores of the live model, which the release replaces.
    pub before: ReleaseScores,
    /// Scores of the release's model.
    pub after: ReleaseScores,
}

/// Content of a model card. [`Display`] writes it as Markdown with the Hub's front matter.
#[derive(Debug, Clone, PartialEq)]
pub struct Card {
    /// Repo of the card.
    pub repo: RepoName,
    /// Release that the card describes.
    pub release: ReleaseName,
    /// Hub name of the model that training started from; `None` when that model is not on the Hub.
    pub base_model: Option<RepoName>,
    /// License of that model, which holds for this one, too.
    pub license: Option<License>,
    /// Length of an embedding.
    pub dimensions: usize,
    /// Number of accepted corrections in the training data.
    pub trained_pairs: usize,
    /// Number of accepted corrections held out for the scores.
    pub held_out_pairs: usize,
    /// Number of synthetic typos from the catalog in the training data.
    pub synthesized_pairs: usize,
    /// Scores per domain.
    pub scores: Vec<DomainScores>,
    /// Number of domains that `scores` lacks.
    pub more_domains: usize,
    /// Reason for publishing the release, in one sentence.
    pub verdict: String,
    /// Advice on serving the model.
    pub serving: Option<Serving>,
    /// Training settings by name.
    pub settings: Vec<(String, String)>,
}

impl Display for Card {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        self.front_matter(out)?;
        writeln!(out, "{BEGIN}\n\n# {}\n", self.repo.name())?;
        writeln!(
            out,
            "A sentence-transformers model that embeds mistyped car names near the right ones ({} dimensions), \
             fine-tuned on corrections that people accepted.\n",
            self.dimensions
        )?;
        writeln!(out, "This card describes `{}`.\n", self.release.path())?;
        self.data(out)?;
        self.score_table(out)?;
        self.settings_table(out)?;
        usage(out, &self.repo, &self.release)?;
        if let Some(serving) = &self.serving {
            writeln!(out)?;
            serving.section(out)?;
        }
        writeln!(out, "\n{END}")
    }
}

impl Card {
    fn front_matter(&self, out: &mut Formatter<'_>) -> fmt::Result {
        front_matter(out, self.base_model.as_ref(), self.license.as_ref())?;
        let scores: Vec<_> = self.scores.iter().filter(|scores| scores.queries > 0).collect();
        if !scores.is_empty() {
            writeln!(out, "model-index:\n- name: {}\n  results:", quoted(self.repo.name()))?;
        }
        let mut configs = HashSet::new();
        for row in scores {
            // Tools merge results of one task, dataset and configuration into one result.
            let name = collapse(&row.domain).replace('<', "&lt;");
            let config =
                (1..).map(|count: usize| if count == 1 { name.clone() } else { format!("{name} ({count})") });
            let config = config.into_iter().find(|config| configs.insert(config.clone())).unwrap_or_default();
            let dataset = format!("held-out accepted corrections, {}", collapse(&row.domain));
            writeln!(
                out,
                "  - task:\n      type: information-retrieval\n      name: Finding the meant name"
            )?;
            writeln!(
                out,
                "    dataset:\n      type: private\n      name: {}\n      config: {}\n    metrics:",
                quoted(&dataset.replace('<', "&lt;")),
                quoted(&config)
            )?;
            let ReleaseScores { accuracy_at_1, mrr_at_10, recall_at_3 } = row.after;
            for (kind, name, value) in [
                ("cosine_accuracy@1", "Cosine Accuracy@1", accuracy_at_1),
                ("cosine_mrr@10", "Cosine MRR@10", mrr_at_10),
                ("cosine_recall@3", "Cosine Recall@3", recall_at_3),
            ] {
                writeln!(out, "    - type: {kind}\n      value: {value:.4}\n      name: {name}")?;
            }
        }
        writeln!(out, "---\n")
    }

    fn data(&self, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(out, "## Data\n\n| | pairs |\n|---|---:|")?;
        writeln!(out, "| accepted corrections, trained on | {} |", self.trained_pairs)?;
        writeln!(out, "| accepted corrections, held out | {} |", self.held_out_pairs)?;
        writeln!(out, "| synthetic typos from the catalog | {} |\n", self.synthesized_pairs)
    }

    fn score_table(&self, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(out, "## Scores on held-out typos\n")?;
        writeln!(out, "| domain | queries | model | accuracy@1 | MRR@10 | recall@3 |")?;
        writeln!(out, "|---|---:|---|---:|---:|---:|")?;
        for row in &self.scores {
            for (model, scores) in [("before", row.before), ("after", row.after)] {
                let ReleaseScores { accuracy_at_1, mrr_at_10, recall_at_3 } = scores;
                let (domain, queries) = (cell(&row.domain), row.queries);
                writeln!(
                    out,
                    "| {domain} | {queries} | {model} | {accuracy_at_1:.3} | {mrr_at_10:.3} | {recall_at_3:.3} |"
                )?;
            }
        }
        if self.more_domains > 0 {
            writeln!(out, "\nThe receipt has the scores of {} more domains.", self.more_domains)?;
        }
        writeln!(out, "\n{}\n", collapse(&self.verdict).replace('<', "&lt;"))
    }

    fn settings_table(&self, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(out, "## Training\n\n| setting | value |\n|---|---|")?;
        for (name, value) in &self.settings {
            writeln!(out, "| {} | {} |", cell(name), cell(value))?;
        }
        writeln!(out, "\n`training_report.json` inside the archive holds the full receipt.\n")
    }
}

/// Writes the instructions for loading the model.
fn usage(out: &mut impl fmt::Write, repo: &RepoName, release: &ReleaseName) -> fmt::Result {
    let (path, folder) = (release.path(), release.folder());
    write!(
        out,
        r#"## Use

```python
import zipfile
from huggingface_hub import hf_hub_download
from sentence_transformers import SentenceTransformer

archive = hf_hub_download("{repo}", "{path}")
zipfile.ZipFile(archive).extractall(".")
model = SentenceTransformer("{folder}")
embeddings = model.encode(["car brand: toyta", "car brand: Toyota"])
```

With ONNX Runtime alone, no PyTorch:

```python
import numpy as np, onnxruntime, tokenizers

tokenizer = tokenizers.Tokenizer.from_file("{folder}/tokenizer.json")
tokenizer.enable_padding()
session = onnxruntime.InferenceSession("{folder}/onnx/model.onnx")
batch = tokenizer.encode_batch(["car brand: toyta", "car brand: Toyota"])
columns = {{
    "input_ids": [row.ids for row in batch],
    "attention_mask": [row.attention_mask for row in batch],
    "token_type_ids": [row.type_ids for row in batch],
}}
wanted = {{each.name for each in session.get_inputs()}}
inputs = {{name: np.array(rows, np.int64) for name, rows in columns.items() if name in wanted}}
names = [each.name for each in session.get_outputs()]
outputs = dict(zip(names, session.run(None, inputs)))
embeddings = outputs.get("sentence_embedding")
if embeddings is None:  # token embeddings: average those of real tokens
    tokens, mask = outputs[names[0]], np.array(columns["attention_mask"])[..., None]
    embeddings = (tokens * mask).sum(1) / mask.sum(1)
embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
```
"#
    )
}

/// Writes the front matter's first lines, up to the scores.
fn front_matter(
    out: &mut impl fmt::Write,
    base_model: Option<&RepoName>,
    license: Option<&License>,
) -> fmt::Result {
    writeln!(out, "---\n{HINT}\n{FIELDS}:")?;
    let owned = ["library_name", "pipeline_tag", "base_model", "tags", "model-index"];
    owned.iter().try_for_each(|field| writeln!(out, "- {field}"))?;
    writeln!(out, "library_name: sentence-transformers\npipeline_tag: sentence-similarity")?;
    if let Some(License { id, name, link }) = license {
        writeln!(out, "license: {id}")?;
        for (key, value) in [("license_name", name), ("license_link", link)] {
            if let Some(value) = value {
                writeln!(out, "{key}: {}", quoted(value))?;
            }
        }
    }
    if let Some(base) = base_model {
        // Quoted, so that YAML parses a name such as `1/2` as a string.
        writeln!(out, "base_model: \"{base}\"")?;
    }
    writeln!(out, "tags:")?;
    for tag in ["sentence-transformers", "sentence-similarity", "feature-extraction", "onnx"] {
        writeln!(out, "- {tag}")?;
    }
    Ok(())
}

/// Returns the card of a rollback: the older release's card with a note on top. When that card is
/// missing or not ours, returns a short card.
pub fn rollback_card(
    repo: &RepoName,
    old: (&ReleaseName, Option<&str>),
    new: &ReleaseName,
    at: &str,
) -> String {
    let (old_name, old_card) = old;
    let note = format!("Rollback of `{}`: the same model, published again on {at}.", old_name.version());
    let renamed = old_card.map(|card| card.replace(old_name.folder(), new.folder()));
    renamed.and_then(|card| with_note(&card, &note)).unwrap_or_else(|| {
        let mut card = String::new();
        // Writing to a string can't fail.
        let _ = front_matter(&mut card, None, None);
        card.push_str(&format!("---\n\n{BEGIN}\n\n> {note}\n\n# {}\n\n", repo.name()));
        let _ = usage(&mut card, repo, new);
        card.push_str(&format!("\n{END}\n"));
        card
    })
}

/// Quotes a text for YAML. Every JSON string is a valid YAML string.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Escapes a text for a table cell.
fn cell(text: &str) -> String {
    collapse(text).replace('\\', "\\\\").replace('|', "\\|").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card() -> Card {
        let scores = ReleaseScores { accuracy_at_1: 0.25, mrr_at_10: 0.5, recall_at_3: 0.75 };
        let after = ReleaseScores { accuracy_at_1: 0.8754, ..scores };
        Card {
            repo: "acme/cars".parse().unwrap(),
            release: "finetuned-embedding-model-20261122160509.zip".parse().unwrap(),
            base_model: Some("acme/base".parse().unwrap()),
            license: Some(License { id: "other".into(), name: Some("our: license".into()), link: None }),
            dimensions: 384,
            trained_pairs: 600,
            held_out_pairs: 60,
            synthesized_pairs: 1_820,
            scores: vec![DomainScores { domain: "a|b\nc".into(), queries: 7, before: scores, after }],
            more_domains: 0,
            verdict: "Better on\nevery domain.".into(),
            serving: None,
            settings: vec![("epochs".into(), "4".into())],
        }
    }

    #[test]
    fn the_card_opens_with_front_matter_the_hub_reads() {
        let text = card().to_string();
        let (front, body) = text.strip_prefix("---\n").unwrap().split_once("---\n").unwrap();
        let lines: Vec<_> = front.lines().collect();
        assert!(lines.contains(&"library_name: sentence-transformers"));
        assert!(lines.contains(&"pipeline_tag: sentence-similarity"));
        assert!(lines.contains(&"base_model: \"acme/base\""));
        assert!(lines.contains(&"license: other") && lines.contains(&"license_name: \"our: license\""));
        assert!(body.contains(
            "hf_hub_download(\"acme/cars\", \"models/finetuned-embedding-model-20261122160509.zip\")"
        ));
        let without = Card { base_model: None, ..card() }.to_string();
        assert!(!without.contains("base_model:"));
    }

    #[test]
    fn each_result_has_a_configuration_of_its_own() {
        let row = card().scores.remove(0);
        let named = |domain: &str| DomainScores { domain: domain.into(), ..row.clone() };
        let text =
            Card { scores: vec![named("overall"), named("brand"), named("overall")], ..card() }.to_string();
        let configs: Vec<_> = text.lines().filter_map(|line| line.trim().strip_prefix("config: ")).collect();
        assert_eq!(configs, ["\"overall\"", "\"brand\"", "\"overall (2)\""]);
    }

    #[test]
    fn every_number_is_in_its_row() {
        let text = card().to_string();
        for row in [
            "| accepted corrections, trained on | 600 |",
            "| a\\|b c | 7 | before | 0.250 | 0.500 | 0.750 |",
            "| a\\|b c | 7 | after | 0.875 | 0.500 | 0.750 |",
            "| epochs | 4 |",
            "Better on every domain.",
        ] {
            assert!(text.lines().any(|line| line == row), "{row}\n{text}");
        }
    }
}

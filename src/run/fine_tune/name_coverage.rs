//! Coverage of names by a model's tokenizer: names that the model can't tell apart, because they have
//! the same tokens, and names that are cut.
//!
//! A vocabulary without Chinese characters, for example, has one and the same unknown token for most
//! of them. No training helps against that, so the counts are told in log, report and card.

use std::collections::{BTreeSet, HashMap};

use autovalidate_finetune::model::Tokenizer;
use serde::{Deserialize, Serialize};

use crate::correction::normalize;
use crate::default_value::is_default;
use crate::run::dataset::Dataset;
use crate::run::error::RunError;
use crate::synthesis::PairTable;
use crate::templates::Templates;

/// Largest number of row ids that are given as examples.
const EXAMPLES: usize = 5;

/// Counts of names that a model can't tell apart or doesn't see whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameCoverage {
    /// Number of names in the catalog.
    pub names: usize,
    /// Number of names with the same tokens as another name of their domain.
    pub alike: usize,
    /// Number of them that differ from another name in nothing but spaces and punctuation.
    #[serde(default, skip_serializing_if = "is_default")]
    pub alike_but_for_spaces: usize,
    /// Ids of rows that correct a typo to such a name, up to five.
    pub alike_rows: Vec<i64>,
    /// Number of names with a text in the index that is longer than the model's longest text.
    pub cut: usize,
    /// Ids of rows that correct a typo to such a name, up to five.
    pub cut_rows: Vec<i64>,
}

impl NameCoverage {
    /// Counts the names of a dataset, as the model sees them.
    ///
    /// # Errors
    /// [`RunError::Model`] when the tokenizer refuses a name.
    pub(in crate::run) fn of(
        dataset: &Dataset,
        tokenizer: &Tokenizer,
        templates: &Templates,
    ) -> Result<Self, RunError> {
        let (mut alike, mut but_for_spaces, mut cut) = (Vec::new(), 0, Vec::new());
        for (domain, names) in dataset.catalog.domains() {
            let mut by_tokens: HashMap<Vec<u32>, BTreeSet<usize>> = HashMap::new();
            let mut cut_names = BTreeSet::new();
            for (position, text) in dataset.catalog.texts(domain, templates) {
                let mut tokenized = tokenizer.encode(&[text])?;
                if tokenized.cut > 0 {
                    cut_names.insert(position);
                }
                by_tokens.entry(tokenized.texts.pop().unwrap_or_default()).or_default().insert(position);
            }
            let rendered = |position: &usize| Some(templates.render(domain, names.get(*position)?));
            cut.extend(cut_names.iter().filter_map(rendered));
            for alike_names in by_tokens.into_values().filter(|names| names.len() > 1) {
                let texts: Vec<String> = alike_names.iter().filter_map(rendered).collect();
                let letters = |text: &String| -> String {
                    normalize(text).chars().filter(|letter| letter.is_alphanumeric()).collect()
                };
                let mut spelled: HashMap<String, usize> = HashMap::new();
                texts.iter().for_each(|text| *spelled.entry(letters(text)).or_default() += 1);
                but_for_spaces += spelled.into_values().filter(|count| *count > 1).sum::<usize>();
                alike.extend(texts);
            }
        }
        let rows = match alike.is_empty() && cut.is_empty() {
            true => HashMap::new(),
            false => rows_by_text(dataset, templates),
        };
        let examples = |texts: &[String]| {
            let mut ids: Vec<i64> =
                texts.iter().filter_map(|text| rows.get(&normalize(text)).copied()).collect();
            ids.sort_unstable();
            ids.truncate(EXAMPLES);
            ids
        };
        Ok(Self {
            names: dataset.catalog.len(),
            alike: alike.len(),
            alike_but_for_spaces: but_for_spaces,
            alike_rows: examples(&alike),
            cut: cut.len(),
            cut_rows: examples(&cut),
        })
    }

    /// Returns a sentence per problem, without any name.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let examples = |rows: &[i64]| match rows {
            [] => String::new(),
            rows => {
                let ids: Vec<String> = rows.iter().map(ToString::to_string).collect();
                format!(" (for example in rows {})", ids.join(", "))
            }
        };
        if self.alike > 0 {
            let mut warning = format!(
                "{} of {} names have the same tokens as another name{}, so this model can't tell them apart.",
                self.alike,
                self.names,
                examples(&self.alike_rows)
            );
            if self.alike_but_for_spaces > 0 {
                warning.push_str(&format!(
                    " {} of them differ only in spaces or punctuation; if TRAIN_TOKENIZER is characters, keep may tell \
                     them apart.",
                    self.alike_but_for_spaces
                ));
            }
            if self.alike > self.alike_but_for_spaces {
                warning.push_str(
                    " A multilingual BASE_MODEL such as \
                     sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2 knows more letters.",
                );
            }
            warnings.push(warning);
        }
        if self.cut > 0 {
            warnings.push(format!(
                "{} of {} names are longer than the model's longest text{} and are cut. A BASE_MODEL with a \
                 larger max_seq_length sees them whole.",
                self.cut,
                self.names,
                examples(&self.cut_rows)
            ));
        }
        warnings
    }
}

/// Returns the first row that corrects a typo to each name, by the name's normalized model input. Returns
/// none where ids are texts: a dataset has only digests and times of their rows.
fn rows_by_text(dataset: &Dataset, templates: &Templates) -> HashMap<String, i64> {
    if dataset.summary.last_insert.is_some() {
        return HashMap::new();
    }
    let trained = dataset.pairs.all().map(|pair| (pair.positive, pair.row));
    let held_out = dataset.queries.iter().zip(&dataset.query_rows);
    let held_out = held_out.map(|(query, row)| (templates.render(&query.domain, &query.corrected), *row));
    let mut rows = HashMap::new();
    for (text, row) in trained.chain(held_out) {
        let first: &mut i64 = rows.entry(normalize(&text)).or_insert(row);
        *first = row.min(*first);
    }
    rows
}

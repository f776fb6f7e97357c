//! Suggestions: the names nearest to a typo, by the fuzzy matcher, by models, and by both together.

use std::collections::BTreeMap;

use serde::Serialize;

use autovalidate_finetune::model::ModelFolder;
use autovalidate_finetune::onnx::Runtime;

use crate::catalog_row::CatalogRow;
use crate::correction::normalize;
use crate::evaluate::{Catalog, FuzzyName, FuzzyQuery, FuzzyRule};
use crate::hub::Serving;
use crate::templates::Templates;

use super::error::RunError;
use super::fine_tune::Scorer;

/// Names that one model or the fuzzy matcher answers, best first.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Suggestion {
    /// The fuzzy matcher, or the name of the model.
    pub by: String,
    /// Names with their scores.
    pub names: Vec<(String, f32)>,
}

/// A typo, and the names among which its correction is looked for.
#[derive(Debug, Clone)]
pub struct SuggestionQuery {
    /// Text that was typed.
    typo: String,
    /// The typo as the model sees it.
    rendered: String,
    names: Vec<String>,
    /// Texts that the backend indexes for the names, each with the place of its name.
    texts: Vec<(usize, String)>,
    /// Rule by which the fuzzy matcher compares.
    rule: FuzzyRule,
}

/// Cosines of a typo with the names of a query, by one model.
#[derive(Debug, Clone)]
pub struct NameCosines(Vec<f32>);

impl SuggestionQuery {
    /// Name of the fuzzy matcher among the suggestions.
    pub const FUZZY: &str = "fuzzy ratio";

    /// Chooses the names of a domain, or those of all domains without a template when there is none. A
    /// name without a domain belongs to every domain.
    pub fn new(
        typo: &str,
        domain: Option<&str>,
        rows: &[CatalogRow],
        templates: &Templates,
        rule: FuzzyRule,
    ) -> Self {
        let domain = domain.map(normalize);
        // A text in the fallback template says only that its domain has no template of its own.
        let wanted = |of: &str| match &domain {
            Some(domain) => of == domain,
            None => !templates.has(of),
        };
        let mut chosen: BTreeMap<String, (String, &str)> = BTreeMap::new();
        for (of, name) in rows.iter().flat_map(CatalogRow::names) {
            let of = normalize(of);
            if of.is_empty() || wanted(&of) {
                let of = if of.is_empty() { domain.clone().unwrap_or_default() } else { of };
                chosen.entry(normalize(name)).or_insert((of, name));
            }
        }
        let catalog = Catalog::new(chosen.into_values()).with_indexed(rows, templates);
        let first = catalog.domains().next().map(|(domain, _)| domain.to_owned());
        let rendered = templates.render(&domain.or(first).unwrap_or_default(), typo);
        let (mut names, mut texts) = (Vec::new(), Vec::new());
        for (domain, spelled) in catalog.domains() {
            let before = names.len();
            let of_domain = catalog.texts(domain, templates).into_iter();
            texts.extend(of_domain.map(|(position, text)| (before + position, text)));
            names.extend(spelled.iter().cloned());
        }
        Self { typo: typo.to_owned(), rendered, names, texts, rule }
    }

    /// Returns the number of names.
    pub fn names(&self) -> usize {
        self.names.len()
    }

    /// Returns the `top` names with the highest ratios.
    pub fn by_ratio(&self, top: usize) -> Suggestion {
        self.best(Self::FUZZY, self.ratios().collect(), top)
    }

    /// Returns the cosine of each name's nearest text by a model. Blocks.
    ///
    /// # Errors
    /// [`RunError`] when the model can't be read or run.
    pub fn cosines(&self, runtime: &Runtime, folder: &ModelFolder) -> Result<NameCosines, RunError> {
        let texts: Vec<String> =
            [&self.rendered].into_iter().chain(self.texts.iter().map(|(_, text)| text)).cloned().collect();
        let rows = Scorer::open(runtime, folder, &texts)?.embed(&texts).map_err(RunError::from)?;
        let mut rows = rows.rows().into_iter();
        let mut cosines = vec![f32::NEG_INFINITY; self.names.len()];
        let Some(typo) = rows.next() else { return Ok(NameCosines(cosines)) };
        for (text, (name, _)) in rows.zip(&self.texts) {
            let cosine = typo.dot(&text) / (typo.dot(&typo).sqrt() * text.dot(&text).sqrt());
            if let Some(nearest) = cosines.get_mut(*name) {
                *nearest = nearest.max(cosine);
            }
        }
        Ok(NameCosines(cosines))
    }

    /// Returns the `top` names with the highest cosines, as the answer of a model.
    pub fn by_model(&self, model: &str, cosines: &NameCosines, top: usize) -> Suggestion {
        self.best(model, cosines.0.clone(), top)
    }

    /// Returns the `top` names by the mixture of cosine and ratio that a release's advice gives.
    pub fn by_mixture(&self, by: &str, cosines: &NameCosines, serving: &Serving, top: usize) -> Suggestion {
        let mixed = cosines.0.iter().zip(self.ratios()).map(|(cosine, ratio)| {
            serving.cosine_weight as f32 * cosine + serving.ratio_weight as f32 * ratio / 100.0
        });
        self.best(by, mixed.collect(), top)
    }

    fn ratios(&self) -> impl Iterator<Item = f32> {
        let query = FuzzyQuery::new(&self.typo, self.rule);
        self.names.iter().map(move |name| query.ratio(&FuzzyName::new(name, self.rule)) as f32)
    }

    /// Returns the `top` best names by score. A score that is not a number comes last.
    fn best(&self, by: &str, scores: Vec<f32>, top: usize) -> Suggestion {
        let mut scored: Vec<(String, f32)> = self.names.iter().cloned().zip(scores).collect();
        let key = |score: f32| if score.is_nan() { f32::NEG_INFINITY } else { score };
        scored.sort_by(|a, b| key(b.1).total_cmp(&key(a.1)).then_with(|| a.0.cmp(&b.0)));
        scored.truncate(top);
        Suggestion { by: by.to_owned(), names: scored }
    }
}

//! Suggestions: the names nearest to a typo, by the fuzzy matcher and by models.

use std::collections::BTreeMap;

use serde::Serialize;

use autovalidate_finetune::model::ModelFolder;
use autovalidate_finetune::onnx::Runtime;

use crate::correction::{Templates, normalize};
use crate::evaluate::fuzzy_ratio;
use crate::text::compose;

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
    /// Field that it was typed into; `None` for one without a template.
    domain: Option<String>,
    /// Domain and name, each name once.
    names: Vec<(String, String)>,
}

impl SuggestionQuery {
    /// Name of the fuzzy matcher among the suggestions.
    pub const FUZZY: &str = "fuzzy ratio";

    /// Chooses the names of a domain, or those of all domains without a template when there is none. A
    /// name without a domain belongs to every domain.
    pub fn new(
        typo: &str,
        domain: Option<&str>,
        names: impl IntoIterator<Item = (String, String)>,
        templates: &Templates,
    ) -> Self {
        let domain = domain.map(normalize);
        // A text in the fallback template says only that its domain has no template of its own.
        let wanted = |of: &str| match &domain {
            Some(domain) => of == domain,
            None => !templates.has(of),
        };
        let mut chosen: BTreeMap<String, (String, String)> = BTreeMap::new();
        for (of, name) in names {
            let of = normalize(&of);
            if of.is_empty() || wanted(&of) {
                let of = if of.is_empty() { domain.clone().unwrap_or_default() } else { of };
                chosen.entry(normalize(&name)).or_insert((of, compose(&name)));
            }
        }
        Self { typo: typo.to_owned(), domain, names: chosen.into_values().collect() }
    }

    /// Returns the number of names.
    pub fn names(&self) -> usize {
        self.names.len()
    }

    /// Returns the `top` names with the highest ratios.
    pub fn by_ratio(&self, top: usize) -> Suggestion {
        let ratios = self.names.iter().map(|(_, name)| (name.clone(), fuzzy_ratio(&self.typo, name) as f32));
        Suggestion { by: Self::FUZZY.to_owned(), names: best(ratios.collect(), top) }
    }

    /// Returns the `top` names with the highest cosines by a model. Blocks.
    ///
    /// # Errors
    /// [`RunError`] when the model can't be read or run.
    pub fn by_model(
        &self,
        runtime: &Runtime,
        folder: &ModelFolder,
        templates: &Templates,
        model: &str,
        top: usize,
    ) -> Result<Suggestion, RunError> {
        let mut texts: Vec<String> =
            self.names.iter().map(|(domain, name)| templates.render(domain, name)).collect();
        let first = self.names.first().map(|(of, _)| of.as_str());
        texts.push(templates.render(self.domain.as_deref().or(first).unwrap_or_default(), &self.typo));
        let rows = Scorer::open(runtime, folder, &texts)?.embed(&texts).map_err(RunError::from)?;
        let typo = rows.row(self.names.len());
        let cosine = |place: usize| {
            let name = rows.row(place);
            typo.dot(&name) / (typo.dot(&typo).sqrt() * name.dot(&name).sqrt())
        };
        let scored = self.names.iter().enumerate().map(|(place, (_, name))| (name.clone(), cosine(place)));
        Ok(Suggestion { by: model.to_owned(), names: best(scored.collect(), top) })
    }
}

/// Returns the `top` best names by score. A score that is not a number comes last.
fn best(mut scored: Vec<(String, f32)>, top: usize) -> Vec<(String, f32)> {
    let key = |score: f32| if score.is_nan() { f32::NEG_INFINITY } else { score };
    scored.sort_by(|a, b| key(b.1).total_cmp(&key(a.1)).then_with(|| a.0.cmp(&b.0)));
    scored.truncate(top);
    scored
}

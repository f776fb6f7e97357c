//! Advice on serving a release together with a string metric, as index and card give it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::default_value::is_default;
use crate::evaluate::{FuzzyMetric, FuzzyRule};

/// Advice on serving a release, found on its held-out typos.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Serving {
    /// Number of held-out typos.
    pub queries: usize,
    /// Rule of the backend's string metric. Indexes from before this setting lack it, which means the
    /// default.
    #[serde(default, skip_serializing_if = "is_default")]
    pub rule: FuzzyRule,
    /// Share of right answers as the backend serves today: the string metric where its ratio reaches
    /// the rule's threshold, else the model.
    pub today: f64,
    /// Weight of the cosine in the mixture.
    pub cosine_weight: f64,
    /// Weight of the ratio, from 0 to 1, in the mixture.
    pub ratio_weight: f64,
    /// Share of right answers when all names are ranked by the mixture.
    pub by_mixture: f64,
    /// Ratio from which the string metric should answer; above 100 when the model should answer all.
    pub threshold: f64,
    /// Share of right answers with that threshold.
    pub by_threshold: f64,
    /// Standard error of these shares: the largest of the three.
    pub standard_error: f64,
}

impl Serving {
    /// Writes the advice as a section of a model card.
    pub(super) fn section(&self, out: &mut impl fmt::Write) -> fmt::Result {
        let Self { queries, rule, today, cosine_weight, ratio_weight, by_mixture, .. } = self;
        let Self { threshold, by_threshold, standard_error, .. } = self;
        let best = match *threshold > 100.0 {
            true => "the model alone".to_owned(),
            false => format!("fuzzy matcher from ratio {threshold:.0} on, else the model"),
        };
        writeln!(
            out,
            "## Serving\n\nShare of right answers on {queries} held-out typos, standard error {standard_error:.3}. The \
             last two are cross-validated.\n\n| ranking of the names | right answers |\n|---|---:|\n\
             | fuzzy matcher from ratio {} on, else the model | {today:.3} |\n\
             | {best} | {by_threshold:.3} |\n\
             | {cosine_weight:.2} · cosine + {ratio_weight:.2} · ratio | {by_mixture:.3} |\n",
            rule.threshold
        )?;
        let ratio = match rule.metric {
            FuzzyMetric::ByLength => {
                r#"fuzz.token_sort_ratio if " " in query or len(query) > 10 else fuzz.ratio"#
            }
            FuzzyMetric::Ratio => "fuzz.ratio",
            FuzzyMetric::TokenSortRatio => "fuzz.token_sort_ratio",
            FuzzyMetric::WeightedRatio => "fuzz.WRatio",
        };
        let lowered = match rule.dashes_are_spaces {
            true => r#"text.lower().translate({ord(c): " " for c in "-–—_/"})"#,
            false => "text.lower()",
        };
        writeln!(
            out,
            r#"```python
import numpy as np
from rapidfuzz import fuzz

def plain(text):
    return " ".join({lowered}.split())

def search(typed, names, vectors, template="car brand: {{}}"):
    """Returns the names of a domain, best first. `vectors` has a row of unit length per indexed text,
    `names` the name that each text is about, and `template` is that of the domain's queries."""
    query = plain(typed)
    ratio = {ratio}
    ratios = np.array([ratio(query, plain(name)) for name in names]) / 100
    text = template.format(" ".join(typed.split()))
    cosines = vectors @ model.encode(text, normalize_embeddings=True)
    scores = {cosine_weight:.2} * cosines + {ratio_weight:.2} * ratios
    return list(dict.fromkeys(names[i] for i in np.argsort(-scores, kind="stable")))
```
"#
        )
    }
}

//! Ranks of the right names among all names of their domain by cosine, and the scores over those
//! ranks.

use std::collections::BTreeMap;

use ndarray::{Array1, Array2, ArrayView1, Axis};
use serde::{Deserialize, Serialize};

use super::{Catalog, Query};
use crate::correction::normalize;
use crate::default_value::is_default;
use crate::failure::{Failure, RetryDirective};
use crate::templates::Templates;

/// Rank of the right name among all names of its domain; 1 is the top. `None` when the name has no
/// rank, because the catalog lacks it or the model's score is NaN.
pub type Rank = Option<usize>;

/// Largest number of cosines that are held at once: 16 MB.
const COSINES_AT_ONCE: usize = 4 << 20;

/// Reason a model could not be scored.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError<E: std::error::Error + 'static> {
    /// The model failed to encode.
    #[error("the model could not encode the texts of the evaluation")]
    Encode(#[source] E),
    /// The model did not return one embedding per text.
    #[error("the model returned {found} embeddings for {texts} texts")]
    Count {
        /// Number of texts.
        texts: usize,
        /// Number of embeddings.
        found: usize,
    },
    /// The width of the model's embeddings changed between two calls.
    #[error("the model returned embeddings of width {names} for names and of width {queries} for queries")]
    Width {
        /// Width of the names' embeddings.
        names: usize,
        /// Width of the queries' embeddings.
        queries: usize,
    },
}

impl<E: Failure> Failure for EvaluateError<E> {
    fn directive(&self) -> RetryDirective {
        match self {
            Self::Encode(source) => source.directive(),
            Self::Count { .. } | Self::Width { .. } => RetryDirective::Person,
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Encode(source) => source.advice(),
            Self::Count { .. } | Self::Width { .. } => {
                "This is a bug in the encoder; report it with the model folder's configuration.".to_owned()
            }
        }
    }
}

/// Returns the rank of each query's right name, in the order of the queries.
///
/// A name's score is that of its nearest text: the backend indexes a brand once with each of its models.
/// `encode` takes rendered texts and returns one embedding for each, `[texts, width]`. The
/// embeddings may have any length. The closure is called twice per domain. Names with equal scores
/// are ranked in catalog order.
///
/// # Errors
/// When `encode` fails, or returns a number of embeddings other than one per text.
pub fn model_ranks<E: std::error::Error + 'static>(
    queries: &[Query],
    catalog: &Catalog,
    templates: &Templates,
    encode: impl FnMut(&[String]) -> Result<Array2<f32>, E>,
) -> Result<Vec<Rank>, EvaluateError<E>> {
    model_ranks_with(queries, catalog, templates, encode, |_, _, _| {})
}

/// Returns what [`model_ranks`] returns, and calls `visit` for each query whose right name is in the
/// catalog, with the query's index, its cosines with all names of its domain, and the position of the
/// right name.
///
/// # Errors
/// The same as [`model_ranks`].
pub fn model_ranks_with<E: std::error::Error + 'static>(
    queries: &[Query],
    catalog: &Catalog,
    templates: &Templates,
    encode: impl FnMut(&[String]) -> Result<Array2<f32>, E>,
    mut visit: impl FnMut(usize, ArrayView1<'_, f32>, usize),
) -> Result<Vec<Rank>, EvaluateError<E>> {
    let mut ranks = vec![None; queries.len()];
    score(queries, catalog, templates, encode, |query, cosines, right| {
        ranks[query] = rank(cosines, right);
        visit(query, cosines, right);
    })?;
    Ok(ranks)
}

/// Returns the mean cross-entropy of the right name among all names of its domain, with the cosines
/// times `scale` as logits. The mean is over the queries whose right name is in the catalog; it is
/// 0 when there is none.
///
/// # Errors
/// The same as [`model_ranks`].
pub fn held_out_loss<E: std::error::Error + 'static>(
    queries: &[Query],
    catalog: &Catalog,
    templates: &Templates,
    scale: f32,
    encode: impl FnMut(&[String]) -> Result<Array2<f32>, E>,
) -> Result<f64, EvaluateError<E>> {
    let (mut sum, mut count) = (0.0, 0_u32);
    score(queries, catalog, templates, encode, |_, cosines, right| {
        let logit = |cosine: &f32| f64::from(scale) * f64::from(*cosine);
        let highest = cosines.iter().map(logit).fold(f64::MIN, f64::max);
        let total: f64 = cosines.iter().map(|cosine| (logit(cosine) - highest).exp()).sum();
        sum += highest + total.ln() - logit(&cosines[right]);
        count += 1;
    })?;
    Ok(sum / f64::from(count.max(1)))
}

/// Calls `visit` for each query whose right name is in the catalog, with the query's index, its
/// cosines with all names of its domain, and the position of the right name.
fn score<E: std::error::Error + 'static>(
    queries: &[Query],
    catalog: &Catalog,
    templates: &Templates,
    mut encode: impl FnMut(&[String]) -> Result<Array2<f32>, E>,
    mut visit: impl FnMut(usize, ArrayView1<'_, f32>, usize),
) -> Result<(), EvaluateError<E>> {
    let mut embed = |texts: Vec<String>| {
        let embeddings = encode(&texts).map_err(EvaluateError::Encode)?;
        match embeddings.nrows() {
            found if found == texts.len() => Ok(embeddings),
            found => Err(EvaluateError::Count { texts: texts.len(), found }),
        }
    };

    let mut by_domain: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (index, query) in queries.iter().enumerate() {
        by_domain.entry(normalize(&query.domain)).or_default().push(index);
    }
    for (domain, indices) in by_domain {
        let Some(names) = catalog.names(&domain) else { continue };
        let (positions, texts): (Vec<usize>, Vec<String>) =
            catalog.texts(&domain, templates).into_iter().unzip();
        let mut name_embeddings = embed(texts)?;
        scale_to_unit_length(&mut name_embeddings);
        let mut query_embeddings =
            embed(indices.iter().map(|&index| templates.render(&domain, &queries[index].typo)).collect())?;
        if name_embeddings.ncols() != query_embeddings.ncols() {
            return Err(EvaluateError::Width {
                names: name_embeddings.ncols(),
                queries: query_embeddings.ncols(),
            });
        }
        scale_to_unit_length(&mut query_embeddings);
        let at_once = (COSINES_AT_ONCE / positions.len().max(1)).max(1);
        let mut nearest = Array1::zeros(names.spelled.len());
        let chunks = query_embeddings.axis_chunks_iter(Axis(0), at_once);
        for (chunk, indices) in chunks.zip(indices.chunks(at_once)) {
            let cosines = chunk.dot(&name_embeddings.t());
            for (row, &index) in cosines.rows().into_iter().zip(indices) {
                if let Some(right) = names.position(&queries[index].corrected) {
                    nearest_of_each(row, &positions, &mut nearest);
                    visit(index, nearest.view(), right);
                }
            }
        }
    }
    Ok(())
}

/// Writes the highest cosine of each name's texts. It is not a number if one of them is none.
fn nearest_of_each(cosines: ArrayView1<'_, f32>, positions: &[usize], nearest: &mut Array1<f32>) {
    nearest.fill(f32::NEG_INFINITY);
    for (cosine, &position) in cosines.iter().zip(positions) {
        let highest = &mut nearest[position];
        if cosine.is_nan() || cosine > highest {
            *highest = *cosine;
        }
    }
}

/// Scales each row to length 1, so that products of rows are cosines. A row of zeros stays.
fn scale_to_unit_length(embeddings: &mut Array2<f32>) {
    for mut row in embeddings.rows_mut() {
        let length = row.dot(&row).sqrt();
        if length > 0.0 {
            row /= length;
        }
    }
}

/// Returns the rank of position `right` by descending score; equal scores keep their order. `None`
/// when its score is NaN.
pub(super) fn rank<T: PartialOrd>(scores: ArrayView1<'_, T>, right: usize) -> Rank {
    let own = &scores[right];
    #[expect(clippy::eq_op, reason = "only what is not a number differs from itself")]
    if own != own {
        return None;
    }
    let ahead =
        scores.iter().enumerate().filter(|(at, score)| *score > own || (*score == own && *at < right));
    Some(1 + ahead.count())
}

/// Scores of a set of queries, from their ranks. All are zero when there are no queries.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Scores {
    /// Number of queries.
    pub queries: usize,
    /// Share of queries whose right name came first.
    pub accuracy_at_1: f64,
    /// Mean of 1 / rank, 0 beyond rank 10.
    pub mrr_at_10: f64,
    /// Share of queries whose right name came among the first three.
    pub recall_at_3: f64,
}

impl Scores {
    /// Computes the scores of these ranks.
    pub fn of(ranks: impl IntoIterator<Item = Rank>) -> Self {
        let mut scores = Self::default();
        for rank in ranks {
            scores.queries += 1;
            scores.accuracy_at_1 += f64::from(u8::from(rank == Some(1)));
            scores.mrr_at_10 += reciprocal(rank);
            scores.recall_at_3 += f64::from(u8::from(rank.is_some_and(|rank| rank <= 3)));
        }
        let queries = scores.queries.max(1) as f64;
        scores.accuracy_at_1 /= queries;
        scores.mrr_at_10 /= queries;
        scores.recall_at_3 /= queries;
        scores
    }
}

/// Returns 1 / rank, or 0 beyond rank 10.
pub(super) fn reciprocal(rank: Rank) -> f64 {
    match rank {
        Some(rank @ 1..=10) => 1.0 / rank as f64,
        _ => 0.0,
    }
}

/// Scores over all queries and by domain.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Retrieval {
    /// Scores over all queries.
    pub overall: Scores,
    /// Mean over the domains; each domain has the same weight, however many queries it has.
    pub macro_mean: Scores,
    /// Scores by domain; a domain without queries is absent.
    pub domains: BTreeMap<String, Scores>,
    /// Number of domains with queries that an [outline](super::Report::outline) leaves out.
    #[serde(default, skip_serializing_if = "is_default")]
    pub other_domains: usize,
}

impl Retrieval {
    /// Computes the scores of ranked queries.
    pub fn of<'a>(ranked: impl IntoIterator<Item = (&'a Query, Rank)>) -> Self {
        let mut by_domain: BTreeMap<String, Vec<Rank>> = BTreeMap::new();
        for (query, rank) in ranked {
            by_domain.entry(normalize(&query.domain)).or_default().push(rank);
        }
        let overall = Scores::of(by_domain.values().flatten().copied());
        let domains: BTreeMap<String, Scores> =
            by_domain.into_iter().map(|(domain, ranks)| (domain, Scores::of(ranks))).collect();
        let mean = |score: fn(&Scores) -> f64| {
            domains.values().map(score).sum::<f64>() / domains.len().max(1) as f64
        };
        let macro_mean = Scores {
            queries: overall.queries,
            accuracy_at_1: mean(|scores| scores.accuracy_at_1),
            mrr_at_10: mean(|scores| scores.mrr_at_10),
            recall_at_3: mean(|scores| scores.recall_at_3),
        };
        Self { overall, macro_mean, domains, other_domains: 0 }
    }
}

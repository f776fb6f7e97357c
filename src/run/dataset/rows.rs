//! The rows of a run, sorted into training pairs and held-out queries.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use sha2::{Digest, Sha256};

use crate::catalog_row::CatalogRow;
use crate::correction::{Row, normalize};
use crate::evaluate::{Catalog, Cohorts, HoldOut, Query, Side};
use crate::hub::Hasher;
use crate::row_list::RowList;
use crate::run::dataset::{Conflicts, DatasetSummary, NameList, TrainingPairs, Untemplated};
use crate::templates::Templates;
use crate::text::compose;

use super::insert_order::in_insert_order;
use super::names::hash_names;

/// Data that a run trains on and is evaluated with.
pub struct Dataset {
    /// Training pairs; each distinct pair once.
    pub pairs: TrainingPairs,
    /// Held-out queries, one per held-out pair.
    pub queries: Vec<Query>,
    /// Place of each held-out query's row in the order of inserts, which is its id where ids are whole
    /// numbers. In the same order as the queries.
    pub query_rows: Vec<i64>,
    /// Every name that queries are looked up among.
    pub catalog: Catalog,
    /// Counts, ids and hashes of the rows.
    pub summary: DatasetSummary,
    /// Rows whose domain has no template.
    pub untemplated: Untemplated,
}

impl Dataset {
    /// Sorts rows. Their order doesn't matter: the same set of rows gives the same dataset.
    pub fn new(rows: impl Into<RowList>, hold_out: &HoldOut, templates: &Templates) -> Self {
        Self::with_released(rows, &BTreeSet::new(), hold_out, templates)
    }

    /// Sorts rows, some of which a person released. Released rows, given by id, win over
    /// conflicting ones.
    pub fn with_released(
        rows: impl Into<RowList>,
        released: &BTreeSet<i64>,
        hold_out: &HoldOut,
        templates: &Templates,
    ) -> Self {
        let rows = rows.into();
        let mut by_id: Vec<usize> = (0..rows.len()).collect();
        by_id.sort_by_key(|at| rows.id(*at));
        by_id.dedup_by_key(|at| rows.id(*at));
        let hash = hash(by_id.iter().map(|at| rows.row(*at)), released);
        let row_ids = by_id.iter().map(|at| rows.id(*at)).collect();
        let total = by_id.len();
        let has_text_ids = by_id.iter().any(|at| rows.has_text_id(*at));
        // Of rows that repeat a pair, the oldest one decides.
        let order = in_insert_order(&rows, &by_id);
        drop(by_id);
        let newest_from = hold_out.newest.first_row(order.iter().map(|(place, _)| *place));
        let last_insert = order.last().map(|(place, _)| *place).filter(|_| has_text_ids);
        let window = Cohorts { newest_from, ..Cohorts::default() };

        let trainable = order.iter().map(|(_, at)| rows.row(*at)).filter(|row| row.check().is_ok());
        let conflicts = Conflicts::among(trainable, released);
        let mut seen: HashMap<u128, Side> = HashMap::new();
        let (mut refused, mut repeated) = (BTreeMap::new(), 0);
        let mut rows_of_domain = BTreeMap::new();
        let mut picked = Vec::new();
        let (mut queries, mut names) = (Vec::new(), FirstSpellings::default());
        let mut training = BTreeMap::new();
        let (mut held_out_ids, mut left_out_ids) = (Vec::new(), Vec::new());
        let (mut new_typos, mut unseen_corrections, mut newest) = (0, 0, 0);
        let mut query_rows = Vec::new();
        for (place, at) in order {
            let row = rows.row(at);
            if let Err(reason) = row.check() {
                *refused.entry(reason).or_insert(0) += 1;
                left_out_ids.push(row.id);
                continue;
            }
            if conflicts.contains(row.id) {
                left_out_ids.push(row.id);
                continue;
            }
            let domain = normalize(&row.domain);
            match rows_of_domain.get_mut(&domain) {
                Some(rows) => *rows += 1,
                None => _ = rows_of_domain.insert(domain.clone(), 1),
            }
            let corrected = compose(&row.corrected);
            let normal = normalize(&corrected);
            let pair = pair_key([&domain, &normalize(&row.typo), &normal]);
            let earlier = seen.get(&pair).copied();
            // A row that repeats a pair is used in the same way as the first row of the pair.
            let side = earlier.unwrap_or_else(|| match hold_out.side(&row.typo, &row.corrected) {
                Side::Train if window.is_newest(place) => Side::Newest,
                side => side,
            });
            if side != Side::Train {
                held_out_ids.push(row.id);
            }
            if earlier.is_some() {
                repeated += 1;
                continue;
            }
            seen.insert(pair, side);
            names.add(&domain, normal, &corrected);
            match side {
                Side::Train => {
                    picked.push(at);
                    *training.entry(domain).or_insert(0) += 1;
                }
                side => {
                    match side {
                        Side::NewTypo => new_typos += 1,
                        Side::Newest => newest += 1,
                        Side::UnseenCorrection | Side::NewName | Side::Train => unseen_corrections += 1,
                    }
                    query_rows.push(place);
                    queries.push(Query { domain, typo: row.typo, corrected, side });
                }
            }
        }
        let untemplated = Untemplated::of(rows_of_domain, templates);
        let catalog = Catalog::new(names.spelled);
        let summary = DatasetSummary {
            rows: total,
            refused: refused.values().sum(),
            refused_by_reason: refused,
            outvoted: conflicts.outvoted.len(),
            undecided: conflicts.undecided.len(),
            quarantined: BTreeMap::new(),
            repeated,
            training,
            new_typos,
            unseen_corrections,
            newest,
            newest_from: window.newest_from,
            last_insert,
            catalog: catalog.len(),
            names_added: 0,
            indexed: 0,
            names: None,
            row_ids,
            held_out_ids: held_out_ids.into_iter().collect(),
            left_out_ids: left_out_ids.into_iter().collect(),
            hash,
            omitted: None,
        };
        let pairs = TrainingPairs::new(rows, picked, templates.clone());
        Self { pairs, queries, query_rows, catalog, summary, untemplated }
    }

    /// Removes and returns the queries for which `taken` returns true.
    pub(in crate::run) fn take_queries(&mut self, taken: impl Fn(&Query) -> bool) -> Vec<Query> {
        let all = std::mem::take(&mut self.queries).into_iter().zip(std::mem::take(&mut self.query_rows));
        let (out, kept): (Vec<_>, Vec<_>) = all.partition(|(query, _)| taken(query));
        (self.queries, self.query_rows) = kept.into_iter().unzip();
        out.into_iter().map(|(query, _)| query).collect()
    }

    /// Adds names to the catalog: synthetic typos are made from them, and queries are looked up
    /// among them. A name without a domain goes to every domain of the rows. When a row spells the
    /// same name differently, the row's spelling stays. Names that share a row of the catalog are indexed
    /// by the texts of `templates`.
    #[must_use]
    pub fn with_names(mut self, names: &[CatalogRow], templates: &Templates) -> Self {
        let known: Vec<(String, String)> = self
            .catalog
            .domains()
            .flat_map(|(domain, names)| names.iter().map(|name| (domain.to_owned(), name.clone())))
            .collect();
        let domains: BTreeSet<String> = known.iter().map(|(domain, _)| domain.clone()).collect();
        // Nobody can type a name without a visible character.
        let all = names.iter().flat_map(CatalogRow::names);
        let visible = all.filter(|(_, name)| !normalize(name).is_empty());
        let added = visible.flat_map(|(domain, name)| {
            let domain = normalize(domain);
            let of: Vec<String> = match domain.is_empty() {
                true => domains.iter().cloned().collect(),
                false => vec![domain],
            };
            of.into_iter().map(move |domain| (domain, name.to_owned()))
        });
        self.catalog = Catalog::new(known.iter().cloned().chain(added)).with_indexed(names, templates);
        self.summary.indexed = self.catalog.indexed();
        self.summary.names_added = self.catalog.len() - self.summary.catalog;
        self.summary.catalog = self.catalog.len();
        // The training data depends on these names as well as on the rows. Without any names, the
        // hash stays the hash of the rows.
        if !names.is_empty() {
            self.summary.names = Some(NameList::of(names));
            let mut digest = Hasher::default();
            digest.update(self.summary.hash.as_bytes());
            hash_names(&mut digest, names);
            self.summary.hash = digest.digest().to_string();
        }
        self
    }

    /// Returns the rendered texts of the evaluation: queries, and the texts that names are found by.
    pub fn texts(&self, templates: &Templates) -> impl Iterator<Item = String> {
        let queries = self.queries.iter().map(|query| templates.render(&query.domain, &query.typo));
        let domains = self.catalog.domains();
        let names = domains.flat_map(|(domain, _)| self.catalog.texts(domain, templates));
        queries.chain(names.map(|(_, text)| text))
    }
}

/// Names in the order of the rows, each as its first row spells it.
#[derive(Default)]
struct FirstSpellings {
    known: HashSet<(String, String)>,
    spelled: Vec<(String, String)>,
}

impl FirstSpellings {
    fn add(&mut self, domain: &str, normal: String, spelled: &str) {
        if self.known.insert((domain.to_owned(), normal)) {
            self.spelled.push((domain.to_owned(), spelled.to_owned()));
        }
    }
}

/// Returns a digest that stands for a pair. The texts of a million pairs would take ten times the memory.
fn pair_key(texts: [&str; 3]) -> u128 {
    let mut digest = Sha256::new();
    for text in texts {
        digest.update((text.len() as u64).to_le_bytes());
        digest.update(text);
    }
    digest.finalize().iter().take(16).fold(0, |key, byte| key << 8 | u128::from(*byte))
}

/// Hashes rows in the order of their ids, and marks the released ones.
fn hash(rows: impl Iterator<Item = Row>, released: &BTreeSet<i64>) -> String {
    let mut digest = Hasher::default();
    for row in rows {
        digest.update(&row.id.to_le_bytes());
        [&row.typo, &row.corrected, &row.domain].into_iter().for_each(|text| digest.update_text(text));
        if released.contains(&row.id) {
            digest.update(b"released");
        }
    }
    digest.digest().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correction::Row;
    use crate::synthesis::PairTable;
    use proptest::prelude::*;

    fn row(id: i64, typo: &str, corrected: &str) -> Row {
        Row { id, typo: typo.into(), corrected: corrected.into(), domain: "brand".into(), ..Row::default() }
    }

    #[test]
    fn a_correction_that_loses_the_majority_is_no_pair_no_query_and_no_name() {
        let mut rows: Vec<Row> = (0..40).map(|id| row(id, &format!("typo {id}"), "Toyota")).collect();
        rows.extend([row(40, "typo 1", "Poison"), row(41, "Typo 1", "Toyota"), row(42, "typo 2", "Other")]);
        let of = |released: &[i64]| {
            let released = released.iter().copied().collect();
            Dataset::with_released(rows.clone(), &released, &HoldOut::default(), &Templates::default())
        };
        let dataset = of(&[]);
        let summary = &dataset.summary;
        assert_eq!((summary.outvoted, summary.undecided, summary.repeated), (1, 2, 1));
        assert_eq!(summary.training_pairs() + summary.held_out(), 39);
        assert_eq!(summary.catalog, 1);
        assert!(dataset.pairs.all().all(|pair| pair.positive.contains("Toyota")));
        assert_eq!(of(&[42]).summary.catalog, 2, "a person said so");
    }

    #[test]
    fn a_pair_and_a_domain_in_several_encodings_are_one() {
        let mut rows =
            vec![row(1, "citroe\u{308}nn", "Citroe\u{308}n"), row(2, "Citroënn", "CITROËN\u{200e}")];
        rows.push(row(3, "citroën", "Citroe\u{308}n"));
        for (row, domain) in rows.iter_mut().zip(["Größe ", "gro\u{308}ße", "GRÖßE\u{200b}"]) {
            row.domain = domain.into();
        }
        let names = [("GRÖßE", "citroën"), ("gro\u{308}ße", "Kia"), ("größe", "\u{feff} ")];
        let names = names.map(|(domain, name)| CatalogRow::alone(domain, name));
        let nothing_held_out = HoldOut {
            typos: 0.0,
            corrections: 0.0,
            new_names: 0.0,
            newest: crate::evaluate::NewestWindow::Count(0),
        };
        let templates =
            Templates::new([("Größe".to_owned(), "size: {text}".to_owned())], "{text}".to_owned());
        let dataset = Dataset::new(rows, &nothing_held_out, &templates).with_names(&names, &templates);
        let summary = &dataset.summary;
        assert_eq!((summary.repeated, summary.refused, summary.outvoted + summary.undecided), (1, 1, 0));
        assert_eq!(summary.training, BTreeMap::from([("größe".to_owned(), 1)]));
        assert_eq!((summary.catalog, summary.names_added), (2, 1));
        // The typo as a person typed it, the name as everybody reads it.
        assert_eq!(dataset.pairs.pair(0).anchor, "size: citroe\u{308}nn");
        assert_eq!(dataset.pairs.pair(0).positive, "size: Citroën");
        assert_eq!(dataset.pairs.slips(9).iter().collect::<Vec<_>>(), [("citroënn", "Citroën")]);
    }

    #[test]
    fn further_names_are_added_once_and_to_their_domains() {
        let mut rows = vec![row(1, "oudi", "Audi"), row(2, "glof", "Golf")];
        rows[1].domain = "model".into();
        let names = [("brand", "AUDI"), ("brand", "Kia"), ("", "Up"), ("color", "Red")];
        let names = names.map(|(domain, name)| CatalogRow::alone(domain, name));
        let templates = Templates::default();
        let dataset = Dataset::new(rows, &HoldOut::default(), &templates).with_names(&names, &templates);
        let all: Vec<(&str, Vec<&str>)> = dataset
            .catalog
            .domains()
            .map(|(domain, names)| (domain, names.iter().map(String::as_str).collect()))
            .collect();
        let expected =
            [("brand", vec!["Audi", "Kia", "Up"]), ("color", vec!["Red"]), ("model", vec!["Golf", "Up"])];
        assert_eq!(all, expected);
        assert_eq!((dataset.summary.catalog, dataset.summary.names_added), (6, 4));
    }

    #[test]
    fn the_newest_rows_are_held_out_and_the_next_run_trains_on_them() {
        let rows: Vec<Row> =
            (0..400).map(|id| row(id, &format!("typo {id}"), &format!("name {}", id % 40))).collect();
        let of = |rows: &[Row]| Dataset::new(rows.to_vec(), &HoldOut::default(), &Templates::default());
        let dataset = of(&rows);
        let first = dataset.summary.newest_from.unwrap();
        assert_eq!(first, 380);
        assert!(dataset.pairs.all().all(|pair| pair.row < first));
        assert!(dataset.summary.newest > 10);
        let held_out: BTreeSet<i64> = dataset.query_rows.iter().copied().collect();
        assert!((first..400).all(|row| held_out.contains(&row)), "each of them is held out");
        let newest = dataset.queries.iter().zip(&dataset.query_rows);
        assert!(newest.filter(|(query, _)| query.side == Side::Newest).all(|(_, row)| *row >= first));
        let more: Vec<Row> = (400..800).map(|id| row(id, &format!("typo {id}"), "name 1")).collect();
        let next = of(&[rows, more].concat());
        let trained = next.pairs.all().filter(|pair| (first..400).contains(&pair.row)).count();
        assert_eq!(trained, dataset.summary.newest, "all rows that were held out for being new");
    }

    #[test]
    fn every_row_is_trained_on_held_out_refused_or_a_repetition() {
        let mut rows: Vec<Row> =
            (0..300).map(|id| row(id, &format!("typo {id}"), &format!("name {}", id % 40))).collect();
        rows.push(row(300, "same", "SAME "));
        rows.push(row(301, "TYPO 0", "Name 0"));
        let dataset = Dataset::new(rows, &HoldOut::default(), &Templates::default());
        let summary = &dataset.summary;
        assert_eq!((summary.rows, summary.refused, summary.repeated), (302, 1, 1));
        assert_eq!(summary.training_pairs() + summary.held_out(), 300);
        assert_eq!(dataset.pairs.len(), summary.training_pairs());
        assert_eq!(dataset.queries.len(), summary.held_out());
        assert_eq!(summary.row_ids.to_string(), "0..301");
        assert_eq!(summary.left_out_ids.to_string(), "300");
        let held_out = summary.held_out_ids.count() as usize;
        // Row 301 repeats row 0, so it is used in the same way.
        let again = usize::from(summary.held_out_ids.contains(0));
        assert_eq!((held_out, summary.held_out_ids.contains(301)), (summary.held_out() + again, again == 1));
        assert!(dataset.pairs.all().all(|pair| !summary.held_out_ids.contains(pair.row)));
        assert_eq!(summary.catalog, 40);
    }

    proptest! {
        #[test]
        fn the_order_and_repetition_of_rows_change_nothing(ids in prop::collection::vec(0_i64..50, 1..40)) {
            let rows: Vec<Row> = ids.iter().map(|id| row(*id, &format!("t{id}"), &format!("n{}", id % 7))).collect();
            let mut other = rows.clone();
            other.reverse();
            other.extend(rows.clone());
            let one = Dataset::new(rows, &HoldOut::default(), &Templates::default());
            let two = Dataset::new(other, &HoldOut::default(), &Templates::default());
            prop_assert_eq!(one.summary, two.summary);
        }
    }
}

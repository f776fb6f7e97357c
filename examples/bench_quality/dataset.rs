//! Dataset: training pairs and held-out queries of a catalog.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, bail};
use autovalidate::catalog_row::CatalogRow;
use autovalidate::evaluate::{Catalog, HoldOut, NewestWindow, Query, Side};
use autovalidate::synthesis::{SynthesisSettings, align};
use autovalidate::templates::Templates;
use autovalidate_fakes::demo::{Entry, cars, catalog, corrections_of, hard_corrections_of};
use serde::{Deserialize, Serialize};

/// Number of training pairs, similar to a new installation.
const TRAINING: usize = 600;
/// Maximum number of queries of each side.
const QUERIES: usize = 500;
/// Number of corrections drawn; training pairs and queries are both taken from them.
const DRAWN: usize = 4_000;
/// Hold-out that is larger than the product's, so that a single run has enough queries.
pub(crate) const HOLD_OUT: HoldOut =
    HoldOut { typos: 0.20, corrections: 0.20, new_names: 0.5, newest: NewestWindow::Count(0) };

/// Kind of the queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum QueryKind {
    /// Typos like those of the pairs: one slip, sometimes two.
    Plain,
    /// Typos with two or three slips, for which the fuzzy matcher's best guess is often wrong.
    Hard,
}

impl QueryKind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Hard => "hard",
        }
    }
}

/// Training pairs and held-out queries of a catalog.
pub(crate) struct Dataset {
    pub(crate) name: String,
    pub(crate) catalog: Catalog,
    /// `(domain, typo, corrected)` of each training pair.
    pub(crate) training: Vec<(String, String, String)>,
    pub(crate) queries: Vec<Query>,
}

impl Dataset {
    pub(crate) fn new(name: &str, seed: u64, questions: QueryKind) -> Result<Self> {
        match name {
            "places" => {
                return Ok(Self::written(name, "town", include_str!("../../benches/data/places.csv")));
            }
            "brands" => {
                return Ok(Self::written(name, "brand", include_str!("../../benches/data/brands.csv")));
            }
            _ => {}
        }
        let entries: Vec<Entry> = match name {
            "cars" | "served" => catalog(),
            "devices" => include_str!("../../benches/data/devices.csv")
                .lines()
                .skip(1)
                .filter_map(|line| line.split_once(','))
                .map(|(domain, name)| Entry { domain, name })
                .collect(),
            other => bail!("{other} is not a dataset"),
        };
        let (mut training, mut queries) = (Vec::new(), Vec::new());
        let mut asked: BTreeMap<Side, usize> = BTreeMap::new();
        for pair in corrections_of(&entries, seed, DRAWN) {
            let side = HOLD_OUT.side(&pair.typo, pair.corrected);
            let (domain, typo, corrected) = (pair.domain.to_owned(), pair.typo, pair.corrected.to_owned());
            if side == Side::Train {
                if training.len() < TRAINING {
                    training.push((domain, typo, corrected));
                }
            } else if questions == QueryKind::Plain && asked.get(&side).is_none_or(|count| *count < QUERIES) {
                *asked.entry(side).or_default() += 1;
                queries.push(Query { domain, typo, corrected, side });
            }
        }
        let hard = match questions {
            QueryKind::Plain => Vec::new(),
            QueryKind::Hard => hard_corrections_of(&entries, seed, DRAWN),
        };
        for pair in hard {
            let side = HOLD_OUT.side(&pair.typo, pair.corrected);
            if side != Side::Train && asked.get(&side).is_none_or(|count| *count < QUERIES) {
                *asked.entry(side).or_default() += 1;
                let (domain, typo, corrected) =
                    (pair.domain.to_owned(), pair.typo, pair.corrected.to_owned());
                queries.push(Query { domain, typo, corrected, side });
            }
        }
        let mut catalog = Catalog::new(entries.iter().map(|entry| (entry.domain, entry.name)));
        if name == "served" {
            let row = |(brand, model)| CatalogRow::together([("brand", brand), ("model", model)]);
            let rows: Vec<CatalogRow> = cars().into_iter().map(row).collect();
            catalog = catalog.with_indexed(&rows, &Templates::default());
        }
        Ok(Self { name: name.to_owned(), catalog, training, queries })
    }

    /// Reads a list of typos that people made, the same for every seed and kind of query. Other words
    /// for a name, such as a village for its town, are left out: no spelling leads from one to the
    /// other.
    fn written(name: &str, domain: &str, list: &str) -> Self {
        let typing = SynthesisSettings::default().typing();
        let rows = list.lines().skip(1).filter_map(|line| line.split_once(','));
        let (mut training, mut queries) = (Vec::new(), Vec::new());
        for (typo, corrected) in
            rows.clone().filter(|(typo, name)| !align(typo, name, typing).is_another_word)
        {
            let [domain, typo, corrected] = [domain, typo, corrected].map(str::to_owned);
            match HOLD_OUT.side(&typo, &corrected) {
                Side::Train => training.push((domain, typo, corrected)),
                side => queries.push(Query { domain, typo, corrected, side }),
            }
        }
        let catalog = Catalog::new(rows.map(|(_, corrected)| (domain, corrected)));
        Self { name: name.to_owned(), catalog, training, queries }
    }

    pub(crate) fn names(&self, templates: &Templates) -> Vec<String> {
        let domains = self.catalog.domains();
        let rendered = domains.flat_map(|(domain, names)| {
            let alone = names.iter().map(move |name| templates.render(domain, name));
            alone.chain(self.catalog.texts(domain, templates).into_iter().map(|(_, text)| text))
        });
        rendered.collect()
    }

    /// Returns the catalog's names, each indexed alone.
    pub(crate) fn names_alone(&self) -> Catalog {
        let domains = self.catalog.domains();
        Catalog::new(domains.flat_map(|(domain, names)| names.iter().map(move |name| (domain, name))))
    }

    pub(crate) fn dump(&self, seed: u64, to: &Path) -> Result<()> {
        let templates = Templates::default();
        let pairs: Vec<[String; 2]> = self
            .training
            .iter()
            .map(|(domain, typo, name)| [templates.render(domain, typo), templates.render(domain, name)])
            .collect();
        let queries: Vec<_> = self
            .queries
            .iter()
            .map(|query| {
                (
                    &query.domain,
                    templates.render(&query.domain, &query.typo),
                    templates.render(&query.domain, &query.corrected),
                    query.side,
                )
            })
            .collect();
        let names: BTreeMap<&str, Vec<String>> = self
            .catalog
            .domains()
            .map(|(domain, names)| {
                (domain, names.iter().map(|name| templates.render(domain, name)).collect())
            })
            .collect();
        let json = serde_json::json!({ "pairs": pairs, "queries": queries, "names": names });
        std::fs::create_dir_all(to)?;
        std::fs::write(to.join(format!("{}-{seed}.json", self.name)), json.to_string())?;
        Ok(())
    }
}

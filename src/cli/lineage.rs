//! `autovalidate lineage`: versions that learned from a pair.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Serialize;

use crate::hub::{ReleaseName, Repository};
use crate::row_identity::{RowId, series_of};
use crate::run::{PairLineage, PairUse, numbers_of, trace_pair};

use super::{CliError, CommandOutcome, print_json, repository};
use crate::default_value::is_default;

/// Shows which versions learned from a pair, and which would have to be trained again without it.
///
/// Example: autovalidate lineage 4711
#[derive(clap::Args)]
pub(super) struct Args {
    /// Id of the pair in the table.
    #[arg(allow_negative_numbers = true)]
    pair: RowId,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args) -> Result<CommandOutcome, CliError> {
    let (_, repository) = repository(false)?;
    let versions = Versions::read(&repository).await?;
    let mut lines = Vec::new();
    for number in numbers_of(args.pair.number(), &versions.receipts) {
        let mut lineages = versions.trace(number);
        lineages.reverse();
        let series = series_of(number);
        if args.json {
            lines.extend(lineages.into_iter().map(|lineage| Line { series, lineage }));
        } else if lineages.is_empty() {
            println!("no versions yet");
        } else {
            print(&args.pair, series, &lineages);
        }
    }
    if args.json {
        print_json(&lines)?;
    }
    Ok(CommandOutcome::Done)
}

/// Versions in the model repository.
pub(super) struct Versions {
    /// Versions whose zip is there.
    on_hub: Vec<ReleaseName>,
    /// Receipts by version, including those of versions whose zip was deleted.
    receipts: BTreeMap<String, Bytes>,
}

impl Versions {
    pub(super) async fn read(repository: &Repository) -> Result<Self, CliError> {
        let (releases, receipts) = tokio::try_join!(repository.releases(), repository.receipts())?;
        Ok(Self { on_hub: releases.into_iter().map(|release| release.name).collect(), receipts })
    }

    /// Follows a row through all versions, oldest first.
    pub(super) fn trace(&self, number: i64) -> Vec<PairLineage> {
        trace_pair(number, &self.on_hub, &self.receipts)
    }
}

/// A version's relation to one of the rows that have had the id.
#[derive(Serialize)]
struct Line {
    /// Number of times that the table's ids had started anew before the row.
    #[serde(skip_serializing_if = "is_default")]
    series: u32,
    #[serde(flatten)]
    lineage: PairLineage,
}

fn print(pair: &RowId, series: u32, lineages: &[PairLineage]) {
    match series {
        0 => println!("pair {pair}, newest version first:"),
        _ => println!("pair {pair} of series {series} of the table's ids, newest version first:"),
    }
    for lineage in lineages {
        let mut line = format!("  {}  {}", lineage.version, lineage.used);
        if let Some(from) = &lineage.inherited_from {
            line.push_str(&format!("; built on {from}, which learned from it"));
        }
        if !lineage.on_hub {
            line.push_str(" (no longer on the Hub)");
        }
        println!("{line}");
    }
    let versions = |rebuild: Option<bool>| -> Vec<&str> {
        // Oldest first: a version is trained again before the versions that are built on it.
        let wanted = lineages.iter().rev().filter(|lineage| lineage.rebuild == rebuild);
        wanted.map(|lineage| lineage.version.as_str()).collect()
    };
    match versions(Some(true)) {
        none if none.is_empty() => println!("to remove the pair, no version has to be trained again"),
        some => println!("to remove the pair, train again: {}", some.join(", ")),
    }
    let unknown = versions(None);
    if !unknown.is_empty() {
        println!("cannot tell for: {}", unknown.join(", "));
    }
    if lineages.iter().any(|lineage| lineage.used == PairUse::HeldOut) {
        println!(
            "a held-out pair's typo is never learned; its correction is among the names that get synthetic typos"
        );
    }
}

//! `autovalidate lineage`: which versions learned from a pair.

use crate::run::{PairLineage, PairUse, trace_pair};

use super::{CliError, CommandOutcome, print_json, repository};

/// Says which versions learned from a pair, and which would have to be made again without it.
///
/// Example: autovalidate lineage 4711
#[derive(clap::Args)]
pub(super) struct Args {
    /// The pair's id in the table.
    #[arg(allow_negative_numbers = true)]
    pair: i64,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args) -> Result<CommandOutcome, CliError> {
    let (_, repository) = repository()?;
    let (releases, receipts) = tokio::try_join!(repository.releases(), repository.receipts())?;
    let names: Vec<_> = releases.into_iter().map(|release| release.name).collect();
    let mut descents = trace_pair(args.pair, &names, &receipts);
    descents.reverse();
    if args.json {
        print_json(&descents)?;
    } else if descents.is_empty() {
        println!("no versions yet");
    } else {
        print(args.pair, &descents);
    }
    Ok(CommandOutcome::Done)
}

fn print(pair: i64, descents: &[PairLineage]) {
    println!("pair {pair}, newest version first:");
    for descent in descents {
        let mut line = format!("  {}  {}", descent.version, descent.used);
        if let Some(from) = &descent.inherited_from {
            line.push_str(&format!("; built on {from}, which learned from it"));
        }
        if !descent.on_hub {
            line.push_str(" (no longer on the Hub)");
        }
        println!("{line}");
    }
    let versions = |rebuild: Option<bool>| -> Vec<&str> {
        // Oldest first: a version is made again before those that are built on it.
        let wanted = descents.iter().rev().filter(|descent| descent.rebuild == rebuild);
        wanted.map(|descent| descent.version.as_str()).collect()
    };
    match versions(Some(true)) {
        none if none.is_empty() => println!("to remove the pair, no version has to be made again"),
        some => println!("to remove the pair, make again: {}", some.join(", ")),
    }
    let unknown = versions(None);
    if !unknown.is_empty() {
        println!("cannot tell for: {}", unknown.join(", "));
    }
    if descents.iter().any(|descent| descent.used == PairUse::HeldOut) {
        println!(
            "a held-out pair's typo is never learned; its correction is among the names that typos are made up for"
        );
    }
}

//! `autovalidate forget`: rows whose text is erased for good.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::corrections::{Corrections, Forgotten};
use crate::hub::{HubAccess, Repository};
use crate::ingest::{RestError, Table};
use crate::row_identity::{RowId, id_of};
use crate::run::{PairLineage, erase_snapshots};
use crate::settings::{Needs, Settings};

use super::config::settings;
use super::lineage::Versions;
use super::{CliError, CommandOutcome, handles, print_json};

/// Number of ids that one request reads from the table.
const IDS_PER_REQUEST: usize = 1000;

/// Erases rows for good: their text is deleted, no later model learns from them, and no sweep brings
/// them back. Prints which versions learned from them.
///
/// Example: autovalidate forget 4711
#[derive(clap::Args)]
pub(super) struct Args {
    /// Ids of the rows in the table.
    #[arg(required_unless_present_any = ["where_typo", "vanished"], allow_negative_numbers = true)]
    ids: Vec<RowId>,
    /// Also erases every row with this typo, whatever its case and white space.
    #[arg(long, value_name = "TEXT")]
    where_typo: Option<String>,
    /// Also erases every row that is no longer in the table. Needs a key that sees every row.
    #[arg(long)]
    vanished: bool,
    /// Lists the rows, and erases nothing.
    #[arg(long)]
    dry_run: bool,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

/// Outcome of the command.
#[derive(Serialize)]
struct Erased {
    /// Ids of the rows in the table.
    ids: Vec<RowId>,
    #[serde(flatten)]
    forgotten: Forgotten,
    /// Number of runs on this machine that can't be repeated any more.
    runs_without_rows: usize,
    /// Versions that learned from one of the rows, or are built on one that did; `None` when the model
    /// repository is not known.
    versions: Option<Vec<String>>,
    /// Newest version that learned from none of the rows.
    untouched: Option<String>,
}

pub(super) async fn run(args: Args) -> Result<CommandOutcome, CliError> {
    let settings = settings(Needs::default())?;
    let handles = handles().await?;
    let done = act(&settings, &handles.corrections, &args).await;
    handles.streams.connection().close().await;
    done.map(|()| CommandOutcome::Done)
}

async fn act(settings: &Settings, corrections: &Corrections, args: &Args) -> Result<(), CliError> {
    let mut chosen = BTreeSet::new();
    if let Some(typo) = &args.where_typo {
        chosen.extend(corrections.numbers_of_typo(typo).await?);
    }
    if args.vanished {
        chosen.extend(vanished(settings, corrections).await?);
    }
    let chosen: Vec<i64> = chosen.into_iter().collect();
    // Once a row is erased, nothing tells the text that was its id.
    let ids: BTreeSet<RowId> = args.ids.iter().cloned().chain(corrections.row_ids(&chosen).await?).collect();
    let ids: Vec<RowId> = ids.into_iter().collect();
    if args.dry_run {
        return list(&ids, args.json);
    }
    let named: Vec<i64> = args.ids.iter().map(RowId::number).collect();
    let forgotten = corrections.forget(&named, &chosen).await?;
    let numbers: BTreeSet<i64> = forgotten.numbers.iter().copied().collect();
    let runs_without_rows = erase_snapshots(&settings.data_dir, numbers).await?;
    // The rows are erased, whether the repository answers or not.
    let lineages = match &settings.hub {
        Some(access) => lineages(access, &forgotten.numbers).await.map(Some),
        None => Ok(None),
    };
    let (lineages, unknown) = lineages.map_or_else(|error| (None, Some(error)), |found| (found, None));
    let erased = Erased {
        ids,
        forgotten,
        runs_without_rows,
        versions: lineages.as_deref().map(versions_to_rebuild),
        untouched: lineages.as_deref().and_then(newest_untouched),
    };
    if args.json {
        print_json(&erased)?
    } else {
        print(&erased, args)
    }
    unknown.map_or(Ok(()), Err)
}

/// Returns the numbers of kept rows that the table shows no more.
async fn vanished(settings: &Settings, corrections: &Corrections) -> Result<Vec<i64>, CliError> {
    let Some(access) = &settings.supabase else {
        return Err(CliError::plain("SUPABASE_URL is not set", "Set it and SUPABASE_SERVICE_KEY."));
    };
    if !access.bypasses_policies() {
        return Err(CliError::plain(
            "the table's policies may hide rows from this key",
            "Set SUPABASE_SERVICE_KEY: only with it, a row that does not show is certainly gone.",
        ));
    }
    let failed = |error: RestError| CliError::Plain {
        what: "the table can't be read".to_owned(),
        advice: crate::failure::Failure::advice(&error),
        source: Some(error.into()),
    };
    let table = Table::new(access).map_err(failed)?;
    // Before the table is read: a row that is stored meanwhile is no candidate.
    let texts = corrections.text_ids_after(i64::MIN, usize::MAX).await?;
    let texts: Vec<_> = texts.into_iter().map(|kept| kept.id).collect();
    let (ids, kept) = match texts.is_empty() {
        false => {
            let kept = corrections.kept(&texts.iter().map(RowId::number).collect::<Vec<_>>()).await?;
            (texts, kept)
        }
        true => {
            let kept = corrections.kept_between(i64::MIN, i64::MAX).await?;
            let shown = numbers(&table).await.map_err(failed)?;
            let gone: Vec<_> = kept.into_iter().filter(|kept| !shown.contains(&kept.id)).collect();
            // Rows become visible in the order of their commits, so some may have come since.
            (gone.iter().map(|kept| kept.id.into()).collect(), gone)
        }
    };
    let shown = table.rows_by_id(&ids).await.map_err(failed)?.ids();
    Ok(kept.into_iter().filter(|kept| !shown.contains(&kept.id)).map(|kept| kept.number).collect())
}

/// Returns the ids of all rows of a table whose ids are whole numbers.
async fn numbers(table: &Table) -> Result<BTreeSet<i64>, RestError> {
    let (mut shown, mut after) = (BTreeSet::new(), i64::MIN);
    loop {
        let ids = table.ids_between(after, i64::MAX, IDS_PER_REQUEST).await?;
        let Some(last) = ids.last() else { return Ok(shown) };
        after = *last;
        shown.extend(ids);
    }
}

/// Follows each row through all versions. A public repository is read without a token.
async fn lineages(access: &HubAccess, numbers: &[i64]) -> Result<Vec<Vec<PairLineage>>, CliError> {
    let versions = Versions::read(&Repository::open(access.clone())?).await?;
    Ok(numbers.iter().map(|number| versions.trace(*number)).collect())
}

fn versions_to_rebuild(lineages: &[Vec<PairLineage>]) -> Vec<String> {
    let all = lineages.iter().flatten().filter(|lineage| lineage.rebuild != Some(false));
    let versions: BTreeSet<&str> = all.map(|lineage| lineage.version.as_str()).collect();
    versions.into_iter().map(str::to_owned).collect()
}

fn newest_untouched(lineages: &[Vec<PairLineage>]) -> Option<String> {
    let touched: BTreeSet<String> = versions_to_rebuild(lineages).into_iter().collect();
    let all: BTreeSet<&str> = lineages
        .iter()
        .flatten()
        .filter(|lineage| lineage.on_hub)
        .map(|lineage| lineage.version.as_str())
        .collect();
    all.into_iter().rev().find(|version| !touched.contains(*version)).map(str::to_owned)
}

fn list(ids: &[RowId], as_json: bool) -> Result<(), CliError> {
    if as_json {
        return print_json(&ids);
    }
    ids.iter().for_each(|id| println!("{id}"));
    println!("{} rows would be erased", ids.len());
    Ok(())
}

fn print(erased: &Erased, args: &Args) {
    let Erased { forgotten: Forgotten { numbers, unknown, messages }, .. } = erased;
    let id = |number: i64| {
        let number = id_of(number);
        let place = erased.ids.binary_search_by_key(&number, RowId::number);
        place.ok().and_then(|place| erased.ids.get(place)).cloned().unwrap_or(number.into())
    };
    for number in numbers {
        println!("row {}: erased", id(*number));
    }
    for number in unknown {
        println!("row {}: was not stored, and will not be", id(*number));
    }
    println!("{} rows, {messages} messages", numbers.len() + unknown.len());
    if erased.runs_without_rows > 0 {
        println!("{} runs can't be repeated any more: their rows are erased", erased.runs_without_rows);
    }
    if !args.vanished {
        println!("the table itself is as it was: delete the rows there, too");
    }
    match erased.versions.as_deref() {
        None => println!("set HF_REPO to see which versions learned from them"),
        Some([]) => println!("no version learned from them"),
        Some(versions) => {
            println!("versions that learned from them, or may have: {}", versions.join(", "));
            let base = erased.untouched.as_deref();
            let base = base.map_or_else(
                || "the model that BASE_MODEL names".to_owned(),
                |version| format!("models/finetuned-embedding-model-{version}.zip"),
            );
            println!("to replace them with a model that did not: autovalidate enqueue --base-model {base}");
            println!("then delete their zips from the model repository");
        }
    }
}

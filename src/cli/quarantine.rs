//! `autovalidate quarantine`: rows that are kept out of training, to list, show, release or drop.

use std::collections::BTreeSet;

use serde_json::json;

use crate::broker::BrokerError;
use crate::correction::{Refusal, Row};
use crate::corrections::{Burst, BurstId, Corrections, Decided, Quarantined, Snapshot};
use crate::row_identity::{RowId, id_of};
use crate::run::Conflicts;
use crate::worker::BrokerHandles;

use super::{CliError, CommandOutcome, handles, print_json};

/// Shows the rows that are kept out of training; releases or drops them.
///
/// Example: autovalidate quarantine list --reason burst
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Lists rows by id and reason, without their text, and bursts with their ids.
    ///
    /// Example: autovalidate quarantine list --json
    List {
        /// Lists only the rows with this reason.
        #[arg(long, value_parser = reason)]
        reason: Option<Refusal>,
        /// Lists only the rows of the burst with this id.
        #[arg(long, conflicts_with = "reason")]
        burst: Option<BurstId>,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Shows one row with its text.
    ///
    /// Example: autovalidate quarantine show 4711
    Show {
        /// Id of the row.
        id: RowId,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Accepts rows: they are trained on and never quarantined again.
    ///
    /// Example: autovalidate quarantine release --burst 2026-01-02T03:04Z
    Release(Which),
    /// Deletes rows for good; only their ids and reasons stay.
    ///
    /// Example: autovalidate quarantine drop --reason burst
    Drop(Which),
}

/// Rows that a person decides about.
#[derive(clap::Args)]
struct Which {
    /// Ids of the rows.
    #[arg(required_unless_present_any = ["reason", "burst"], conflicts_with_all = ["reason", "burst"])]
    ids: Vec<RowId>,
    /// Selects all rows with this reason instead of ids.
    #[arg(long, value_parser = reason)]
    reason: Option<Refusal>,
    /// Selects all rows of the burst with this id, which the log and `quarantine list` show.
    #[arg(long, conflicts_with = "reason")]
    burst: Option<BurstId>,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

/// A row that is not trained on, in quarantine or among the pairs.
struct Kept {
    refusal: Refusal,
    place: Place,
}

enum Place {
    Quarantine(Quarantined),
    /// A row among the pairs that conflicts with others and is left out of each dataset: it is
    /// outvoted, or the vote is undecided.
    Pairs {
        row: Row,
    },
}

impl Kept {
    /// Returns the row's id in the table.
    fn id(&self) -> RowId {
        RowId::new(id_of(self.row().id), self.row().text_id.as_deref())
    }

    fn row(&self) -> &Row {
        match &self.place {
            Place::Quarantine(quarantined) => &quarantined.row,
            Place::Pairs { row } => row,
        }
    }

    /// Returns the minute in which the row counts, if it is part of a burst.
    fn burst(&self) -> Option<BurstId> {
        match &self.place {
            Place::Quarantine(quarantined) => quarantined.burst,
            Place::Pairs { .. } => None,
        }
    }
}

/// Returns the bursts among these rows.
fn bursts(kept: &[Kept]) -> Vec<Burst> {
    Burst::among(kept.iter().filter_map(Kept::burst))
}

/// Returns the rows of the burst that includes this minute.
async fn of_burst(handles: &BrokerHandles, id: BurstId) -> Result<Vec<Kept>, CliError> {
    let mut kept = kept(handles, Some(Refusal::Burst)).await?;
    let Some(burst) = bursts(&kept).into_iter().find(|burst| burst.includes(id)) else {
        return Err(CliError::plain(
            format!("no burst with this id is kept out of training: {id}"),
            "`autovalidate quarantine list --reason burst` shows those that are.",
        ));
    };
    kept.retain(|kept| kept.burst().is_some_and(|minute| burst.includes(minute)));
    Ok(kept)
}

fn reason(text: &str) -> Result<Refusal, String> {
    let names = || Refusal::ALL.iter().map(|refusal| refusal.name()).collect::<Vec<_>>().join(", ");
    Refusal::from_name(text).ok_or_else(|| format!("must be one of {}", names()))
}

pub(super) async fn run(args: Args) -> Result<CommandOutcome, CliError> {
    let handles = handles().await?;
    let done = act(&handles, args.action).await;
    handles.streams.connection().close().await;
    done.map(|()| CommandOutcome::Done)
}

async fn act(handles: &BrokerHandles, action: Action) -> Result<(), CliError> {
    match action {
        Action::List { burst: Some(burst), json, .. } => list(&of_burst(handles, burst).await?, json),
        Action::List { reason, json, .. } => list(&kept(handles, reason).await?, json),
        Action::Show { id, json } => {
            let all = kept(handles, None).await?;
            let found: Vec<_> = all.iter().filter(|kept| kept.id() == id).collect();
            if found.is_empty() {
                return Err(not_there(&[id]));
            }
            found.into_iter().try_for_each(|kept| show(kept, json))
        }
        Action::Release(which) => decide(handles, &which, true).await,
        Action::Drop(which) => decide(handles, &which, false).await,
    }
}

/// Returns every row that is not trained on: the rows in quarantine, and the pairs that lose a
/// conflict.
async fn kept(handles: &BrokerHandles, reason: Option<Refusal>) -> Result<Vec<Kept>, CliError> {
    let quarantined = handles.corrections.quarantined(reason).await?;
    let mut kept: Vec<_> = quarantined
        .into_iter()
        .map(|quarantined| Kept { refusal: quarantined.refusal, place: Place::Quarantine(quarantined) })
        .collect();
    if reason.is_none_or(|reason| reason == Refusal::Conflict) {
        let Snapshot { rows, released, .. } = handles.corrections.snapshot(u64::MAX).await?;
        let conflicts = Conflicts::among(rows.iter(), &released);
        let losers = rows.iter().filter(|row| conflicts.contains(row.id));
        kept.extend(losers.map(|row| Kept { refusal: Refusal::Conflict, place: Place::Pairs { row } }));
    }
    Ok(kept)
}

fn list(kept: &[Kept], as_json: bool) -> Result<(), CliError> {
    let bursts = bursts(kept);
    if as_json {
        let row = |kept: &Kept| {
            let mut row = json!({"id": kept.id(), "reason": kept.refusal});
            let minute = kept.burst();
            let burst = bursts.iter().find(|burst| minute.is_some_and(|minute| burst.includes(minute)));
            if let Some(burst) = burst {
                row["burst"] = json!(burst.id);
            }
            row
        };
        return print_json(&kept.iter().map(row).collect::<Vec<_>>());
    }
    for kept in kept {
        println!("{:>12}  {}", kept.id(), kept.refusal);
    }
    for Burst { id, last, rows } in &bursts {
        println!(
            "burst {id}: {rows} rows until {last}; `autovalidate quarantine release --burst {id}` accepts them"
        );
    }
    println!("{} rows are kept out of training", kept.len());
    Ok(())
}

fn show(kept: &Kept, as_json: bool) -> Result<(), CliError> {
    if as_json {
        let row = Row { id: id_of(kept.row().id), ..kept.row().clone() };
        return print_json(&json!({"reason": kept.refusal, "row": row}));
    }
    let row = kept.row();
    println!("{}  {}", kept.id(), kept.refusal);
    // Escaped: text that strangers wrote must not reach the terminal unchanged.
    println!("  typo       {:?}\n  corrected  {:?}\n  domain     {:?}", row.typo, row.corrected, row.domain);
    println!("  inserted   {:?}", row.created_at.as_deref().unwrap_or("unknown"));
    Ok(())
}

async fn decide(handles: &BrokerHandles, which: &Which, release: bool) -> Result<(), CliError> {
    let wanted: BTreeSet<RowId> = which.ids.iter().cloned().collect();
    // An interrupted decision has left messages that nobody would list.
    handles.corrections.complete_releases().await?;
    handles.corrections.complete_erasures().await?;
    let mut kept = match which.burst {
        Some(burst) => of_burst(handles, burst).await?,
        None => kept(handles, which.reason).await?,
    };
    if which.reason.is_none() && which.burst.is_none() {
        kept.retain(|kept| wanted.contains(&kept.id()));
        let found: BTreeSet<RowId> = kept.iter().map(|kept| kept.id()).collect();
        let missing: Vec<RowId> = wanted.difference(&found).cloned().collect();
        if !missing.is_empty() {
            return Err(not_there(&missing));
        }
    }
    let done = carry_out(&handles.corrections, &kept, release).await?;
    let done = kept.iter().map(|kept| (kept.id(), kept.refusal)).zip(done);
    if which.json {
        let done: Vec<_> = done
            .map(|((id, refusal), decided)| json!({"id": id, "reason": refusal, "decided": decided}))
            .collect();
        return print_json(&done);
    }
    for ((id, refusal), decided) in done {
        let decided = match decided {
            Decided::Released => "released",
            Decided::Dropped => "dropped",
            Decided::Already => "released before",
        };
        println!("{id:>12}  {refusal}  {decided}");
    }
    println!("{} rows", kept.len());
    Ok(())
}

/// Releases or drops rows, and returns the outcome of each: first those in quarantine, as
/// [`kept`] lists them.
async fn carry_out(
    corrections: &Corrections,
    kept: &[Kept],
    release: bool,
) -> Result<Vec<Decided>, BrokerError> {
    let (mut quarantined, mut pairs) = (Vec::new(), Vec::new());
    for kept in kept {
        match &kept.place {
            Place::Quarantine(row) => quarantined.push(row),
            Place::Pairs { row } => pairs.push(row),
        }
    }
    Ok(match release {
        true => {
            [corrections.release(&quarantined).await?, corrections.vouch(&pairs, Refusal::Conflict).await?]
        }
        false => {
            let numbers: Vec<i64> = pairs.iter().map(|row| row.id).collect();
            let dropped = corrections.drop_quarantined(&quarantined).await?;
            [dropped, corrections.drop_pairs(&numbers, Refusal::Conflict).await?]
        }
    }
    .concat())
}

fn not_there(ids: &[RowId]) -> CliError {
    let ids: Vec<_> = ids.iter().map(RowId::to_string).collect();
    CliError::plain(
        format!("no row with this id is kept out of training: {}", ids.join(", ")),
        "`autovalidate quarantine list` shows the rows that are. `autovalidate forget` erases any row, also \
         one that is trained on.",
    )
}

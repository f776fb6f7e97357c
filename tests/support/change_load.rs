#![allow(dead_code, unreachable_pub)]
//! Fault run of a real worker with rows that change: inserts, updates, deletions and a truncation that
//! starts the ids anew, on a table that is slow at times, while every kind of fault is injected and the
//! worker is killed repeatedly. At the end, the data must be the table's rows with their newest text,
//! and the rows that were there before the truncation.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use autovalidate::broker::Streams;
use autovalidate::correction::Row;
use autovalidate::corrections::Corrections;
use autovalidate::row_identity::{RowId, id_of, series_of};
use autovalidate_fakes::supabase::{IdType, Options};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::fault_load::{FaultLoad, Setup, inject, quick};

/// Time limit for the worker to catch up with the table. After two refused keys in a row, the worker pauses
/// for up to a minute.
const RECOVERY_DEADLINE: Duration = Duration::from_secs(100);
/// Pause between two comparisons of the data with the table. The worker is another process.
const GLANCE: Duration = Duration::from_millis(500);
/// Number of comparisons in a row that must find the data right. In between, the worker sweeps.
const STEADY_GLANCES: usize = 4;

/// Largest number of differences that are told.
const MAX_DIFFERENCES: usize = 12;

/// Texts of a row; the run never gives two rows or two versions the same ones.
type Texts = (i64, String, String);

/// State of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// The row has this text in the table.
    Current,
    /// The row had this text before the truncation.
    Archived,
    /// The row has another text now.
    Replaced,
    /// The row was deleted.
    Deleted,
}

/// Result of a fault run.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct ChangeReport {
    pub inserted: usize,
    pub updated: usize,
    pub deleted: usize,
    pub faults: usize,
    /// Texts of the table, or from before the truncation, that are not in the data.
    pub lost: usize,
    /// Texts in the data that the table never had, and second copies.
    pub surplus: usize,
    /// Texts in the data that were replaced in the table.
    pub stale: usize,
    /// Texts in the data of rows that were deleted.
    pub undead: usize,
    /// First differences: what, id and texts, series of the stored row, and fate of the text.
    pub differences: Vec<String>,
    pub took: Duration,
    /// Time from the last change until the data was right.
    pub recovery: Duration,
}

impl ChangeReport {
    pub fn is_right(&self) -> bool {
        self.lost + self.surplus + self.stale + self.undead == 0
    }
}

/// The table as it should be, and everything it ever held.
struct Truth {
    fates: BTreeMap<Texts, Fate>,
    /// Numbers that the stand-in gives rows, by the ids that the worker knows them by.
    rows: BTreeMap<i64, i64>,
    counter: usize,
}

impl Truth {
    /// Returns texts that no row has had. One row in twenty is unfit for training, and must be kept out
    /// of it.
    fn new_texts(&mut self, random: &mut ChaCha8Rng) -> (String, String) {
        self.counter += 1;
        let typo = if random.random_bool(0.05) { " ".to_owned() } else { format!("toyta{}", self.counter) };
        (typo, format!("Toyota {}", self.counter))
    }

    /// Returns a random row of the table.
    fn pick(&self, random: &mut ChaCha8Rng) -> Option<Texts> {
        let current: Vec<_> = self.fates.iter().filter(|(_, fate)| **fate == Fate::Current).collect();
        let place = (!current.is_empty()).then(|| random.random_range(0..current.len()))?;
        current.get(place).map(|(texts, _)| (*texts).clone())
    }

    /// Compares the data with the table.
    fn compare(&self, stored: &[Row]) -> ChangeReport {
        let mut report = ChangeReport::default();
        let mut differences = Vec::new();
        let mut seen: BTreeMap<Texts, usize> = BTreeMap::new();
        let mut series = BTreeMap::new();
        for row in stored {
            let id = id_of(row.id);
            let id = self.rows.get(&id).copied().unwrap_or(id);
            let texts = (id, row.typo.clone(), row.corrected.clone());
            series.insert(texts.clone(), series_of(row.id));
            *seen.entry(texts).or_default() += 1;
        }
        let mut differ = |what: &str, texts: &Texts, fate: Option<&Fate>| {
            if differences.len() < MAX_DIFFERENCES {
                let series = series.get(texts);
                differences.push(format!("{what} {texts:?} in series {series:?}: {fate:?}"));
            }
        };
        for (texts, times) in &seen {
            let fate = self.fates.get(texts);
            if !matches!(fate, Some(Fate::Current | Fate::Archived)) || *times > 1 {
                differ("stored", texts, fate);
            }
            match fate {
                Some(Fate::Current | Fate::Archived) => report.surplus += times - 1,
                Some(Fate::Replaced) => report.stale += times,
                Some(Fate::Deleted) => report.undead += times,
                None => report.surplus += times,
            }
        }
        // Where ids are texts, nothing tells a truncated row from one that was deleted.
        let is_wanted = |fate: &Fate| match fate {
            Fate::Current => true,
            Fate::Archived => self.rows.is_empty(),
            Fate::Replaced | Fate::Deleted => false,
        };
        let wanted = self.fates.iter().filter(|(_, fate)| is_wanted(fate));
        for (texts, fate) in wanted.filter(|(texts, _)| !seen.contains_key(*texts)) {
            differ("lost", texts, Some(fate));
            report.lost += 1;
        }
        ChangeReport { differences, ..report }
    }
}

/// Returns every row in the data, trained on or in quarantine.
async fn stored(streams: &Streams) -> Vec<Row> {
    let corrections = Corrections::open(streams, "typo_training_dataset").await.expect("the pairs");
    let pairs = corrections.snapshot(u64::MAX).await.expect("a snapshot");
    let quarantined = corrections.quarantined(None).await.expect("the quarantine");
    pairs.rows.iter().chain(quarantined.into_iter().map(|kept| kept.row)).collect()
}

/// Waits until the data is right and stays so, or the deadline passes. Returns the last comparison. When
/// the data is right for the first time, a row that was read just before its deletion may be on its way.
async fn settle(setup: &Setup, truth: &Truth) -> ChangeReport {
    setup.supabase.faults().clear();
    let streams = setup.existing_streams().await;
    let begun = Instant::now();
    let mut glance = tokio::time::interval(GLANCE);
    let mut right = Vec::new();
    loop {
        glance.tick().await;
        let report = truth.compare(&stored(&streams).await);
        let elapsed = begun.elapsed();
        match report.is_right() {
            true => right.push(elapsed),
            false => right.clear(),
        }
        if right.len() >= STEADY_GLANCES || elapsed > RECOVERY_DEADLINE {
            return ChangeReport { recovery: right.first().copied().unwrap_or(elapsed), ..report };
        }
    }
}

/// Performs the fault run on a table with ids of this type.
pub async fn run_change_load(load: &FaultLoad, id_type: IdType, program: &Path, nats: &Path) -> ChangeReport {
    let setup = Setup::new(program, nats, Options { id_type, ..quick() }, None).await;
    let mut random = ChaCha8Rng::seed_from_u64(load.seed);
    let mut kills: Vec<usize> = (0..load.kills).map(|_| random.random_range(1..load.inserts)).collect();
    kills.sort_unstable();
    let every = (load.inserts / 80).max(1);
    // Only with a key that sees every row, a deletion that nothing tells of is followed. The rows come
    // much faster than people type, so no rate is a burst.
    let settings = [
        ("SWEEP_EVERY", "1s"),
        ("SUPABASE_SERVICE_KEY", setup.supabase.service_key()),
        ("BURST_FACTOR", "0"),
    ];
    let mut worker = setup.listener(&settings);
    let begun = Instant::now();
    let mut timing = tokio::time::interval(Duration::from_secs_f64(1.0 / load.inserts_per_second));
    let mut truth = Truth { fates: BTreeMap::new(), rows: BTreeMap::new(), counter: 0 };
    let (mut updated, mut deleted, mut faults) = (0, 0, 0);
    for number in 0..load.inserts {
        timing.tick().await;
        let (typo, corrected) = truth.new_texts(&mut random);
        let id = setup.supabase.insert(&typo, &corrected, "brand");
        if id_type != IdType::BigInt {
            let known_as = RowId::of_text(&setup.supabase.id_text(id)).expect("an id");
            truth.rows.insert(known_as.number(), id);
        }
        truth.fates.insert((id, typo, corrected), Fate::Current);
        if random.random_bool(0.15)
            && let Some(before) = truth.pick(&mut random)
        {
            let (typo, corrected) = truth.new_texts(&mut random);
            // A row whose insert is not committed yet can't be updated.
            if setup.supabase.update(before.0, &typo, &corrected, "brand") {
                truth.fates.insert((before.0, typo, corrected), Fate::Current);
                truth.fates.insert(before, Fate::Replaced);
                updated += 1;
            }
        }
        if random.random_bool(0.07)
            && let Some(before) = truth.pick(&mut random)
            && setup.supabase.delete(before.0)
        {
            truth.fates.insert(before, Fate::Deleted);
            deleted += 1;
        }
        if number % every == 0 {
            match random.random_range(0..10) {
                0 => setup.supabase.faults().limit_statement_rows(Some(random.random_range(1..60))),
                1 => setup.supabase.faults().limit_answer_bytes(Some(random.random_range(600..9_000))),
                _ => inject(&setup.supabase, &mut random),
            }
            faults += 1;
        }
        while kills.first() == Some(&number) {
            kills.remove(0);
            worker.kill().await.expect("the worker lives");
            worker = setup.listener(&settings);
        }
        if number == load.inserts / 2 {
            // A row that was deleted, and of whose deletion the worker has not heard, can't be told from
            // a truncated one.
            let report = settle(&setup, &truth).await;
            if !report.is_right() {
                return report;
            }
            setup.supabase.truncate_restart_identity();
            for fate in truth.fates.values_mut().filter(|fate| **fate == Fate::Current) {
                *fate = Fate::Archived;
            }
        }
    }
    let report = settle(&setup, &truth).await;
    drop(worker);
    ChangeReport { inserted: load.inserts, updated, deleted, faults, took: begun.elapsed(), ..report }
}

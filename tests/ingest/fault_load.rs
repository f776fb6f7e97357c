//! Fault run of a real worker process, which is killed repeatedly: no row is lost or stored twice.

use std::path::Path;
use std::time::Duration;

use autovalidate_fakes::supabase::IdType;

use crate::support::change_load::run_change_load;
use crate::support::fault_load::{FaultLoad, run_fault_load};
use crate::support::{nats_server, within};

/// To try another seed, run `STORM_SEED=7 cargo nextest run fault_load`.
#[tokio::test(flavor = "multi_thread")]
async fn every_row_is_kept_once_whatever_fails_and_however_often_the_worker_is_killed() {
    let seed = std::env::var("STORM_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(4);
    let load = FaultLoad { seed, inserts: 400, kills: 3, inserts_per_second: 60.0 };
    let program = Path::new(env!("CARGO_BIN_EXE_autovalidate"));
    let report = within(Duration::from_secs(240), run_fault_load(&load, program, &nats_server())).await;
    assert!(report.rows == 400 && report.lost == 0 && report.surplus == 0, "STORM_SEED={seed}: {report:?}");
}

/// To try another seed, run `STORM_SEED=7 cargo nextest run fault_load`.
#[tokio::test(flavor = "multi_thread")]
async fn the_data_follows_updates_deletions_and_a_truncation_whatever_fails() {
    follows_changes(IdType::BigInt).await;
}

/// To try another seed, run `STORM_SEED=7 cargo nextest run fault_load`.
#[tokio::test(flavor = "multi_thread")]
async fn the_data_of_a_table_with_uuids_follows_its_changes_whatever_fails() {
    follows_changes(IdType::Uuid).await;
}

async fn follows_changes(id_type: IdType) {
    let seed = std::env::var("STORM_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(4);
    let load = FaultLoad { seed, inserts: 400, kills: 3, inserts_per_second: 60.0 };
    let program = Path::new(env!("CARGO_BIN_EXE_autovalidate"));
    let report =
        within(Duration::from_secs(420), run_change_load(&load, id_type, program, &nats_server())).await;
    assert!(report.is_right() && report.inserted == 400, "STORM_SEED={seed}: {report:?}");
    assert!(report.updated > 20 && report.deleted > 10, "STORM_SEED={seed}: {report:?}");
}

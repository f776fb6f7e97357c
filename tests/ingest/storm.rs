//! A real worker process among faults, killed again and again: nothing is lost and nothing comes twice.

use std::path::Path;
use std::time::Duration;

use crate::support::storm::{Storm, weather};
use crate::support::{nats_server, within};

/// Another seed may be tried with `STORM_SEED=7 cargo nextest run storm`.
#[tokio::test(flavor = "multi_thread")]
async fn every_row_is_kept_once_whatever_fails_and_however_often_the_worker_is_killed() {
    let seed = std::env::var("STORM_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(4);
    let storm = Storm { seed, inserts: 400, kills: 3, inserts_per_second: 60.0 };
    let program = Path::new(env!("CARGO_BIN_EXE_autovalidate"));
    let aftermath = within(Duration::from_secs(240), weather(&storm, program, &nats_server())).await;
    assert!(
        aftermath.rows == 400 && aftermath.lost == 0 && aftermath.surplus == 0,
        "STORM_SEED={seed}: {aftermath:?}"
    );
}

//! The database webhook: one POST per committed change of a row, without retries, as `pg_net` does.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::options::Webhook;
use super::shared::Shared;
use super::table::ChangeKind;

/// Time that `pg_net` waits for a response.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Number of concurrent requests of `pg_net`.
const CONCURRENT: usize = 200;

/// Calls the endpoint for every change of a row, until the stand-in stops.
pub(super) async fn call(
    shared: Arc<Shared>,
    target: Webhook,
    client: reqwest::Client,
    mut commits: watch::Receiver<usize>,
) {
    // The table is empty when the stand-in starts, which may be long before this task first runs.
    let mut position = 0;
    let mut calls = JoinSet::new();
    loop {
        let fresh = shared.table().since(position);
        position += fresh.len();
        for commit in fresh {
            if shared.faults.take_dropped_webhook() {
                continue;
            }
            if calls.len() >= CONCURRENT {
                calls.join_next().await;
            }
            // A trigger sees the whole row before the change, whatever the replica identity is.
            let record = (commit.kind != ChangeKind::Delete).then_some(&commit.record);
            let body = json!({
                "type": commit.kind.name(), "table": shared.options.table, "schema": shared.options.schema,
                "record": record, "old_record": commit.old,
            });
            let request = client
                .post(target.url.clone())
                .timeout(TIMEOUT)
                .header("User-Agent", "pg_net/0.20.0")
                .header(&target.header, &target.secret)
                .json(&body);
            // A failed call is lost, as with the real webhook.
            calls.spawn(async move { drop(request.send().await) });
        }
        tokio::select! {
            () = shared.stop.cancelled() => return,
            changed = commits.changed() => if changed.is_err() { return },
            Some(_) = calls.join_next() => {}
        }
    }
}

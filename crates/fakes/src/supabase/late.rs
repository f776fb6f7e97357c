//! Transactions that commit late, so that their rows become visible out of id order.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::shared::Shared;
use super::table::Record;

/// A row that is inserted but not committed yet.
#[derive(Debug)]
pub(super) struct Late {
    pub(super) id: i64,
    pub(super) values: Record,
    pub(super) after: Duration,
}

/// Commits each row after its delay, until the stand-in stops. Rows not committed by then are lost.
pub(super) async fn commit(shared: Arc<Shared>, mut rows: mpsc::UnboundedReceiver<Late>) {
    let mut waiting = JoinSet::new();
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => return,
            Some(_) = waiting.join_next() => {}
            row = rows.recv() => {
                let Some(Late { id, values, after }) = row else { return };
                let shared = Arc::clone(&shared);
                waiting.spawn(async move {
                    tokio::time::sleep(after).await;
                    shared.commit(id, values);
                });
            }
        }
    }
}

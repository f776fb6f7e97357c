//! Checks from end to end, on request: a row through the table and Realtime, and a call of the webhook.

use tokio_util::sync::CancellationToken;
use url::Url;

use super::finding::Finding;
use crate::ingest::TableAccess;
use crate::probe::{RowProbe, call_webhook};
use crate::settings::Settings;

/// Inserts a row, waits until Realtime shows it, and removes it.
pub(super) async fn row(access: &TableAccess, stop: &CancellationToken) -> Finding {
    const CHECK: &str = "insert";
    let seen = match RowProbe::new(access) {
        Ok(probe) => Box::pin(probe.run(stop)).await,
        Err(error) => Err(error),
    };
    match seen {
        Ok(seen) => Finding::ok(
            CHECK,
            format!(
                "row {} was inserted, read, shown by Realtime after {:.1?}, and removed",
                seen.id, seen.shown_after
            ),
        ),
        Err(error) => Finding::of(CHECK, &error),
    }
}

/// Calls a worker's webhook.
pub(super) async fn webhook(url: &Url, settings: &Settings, access: &TableAccess) -> Finding {
    const CHECK: &str = "webhook";
    let Some(secret) = &settings.webhook_secret else {
        return Finding::failed(CHECK, "WEBHOOK_SECRET is not set", "Set it here as on the worker.");
    };
    match call_webhook(url, secret, access).await {
        Ok(answer) if answer.in_the_clear => Finding::note(
            CHECK,
            format!(
                "the worker took the call after {:.1?}, and the secret travelled without TLS",
                answer.after
            ),
            "Give the database an https URL, so that nobody on the way can read the secret.",
        ),
        Ok(answer) => Finding::ok(CHECK, format!("the worker took the call after {:.1?}", answer.after)),
        Err(error) => Finding::of(CHECK, &error),
    }
}

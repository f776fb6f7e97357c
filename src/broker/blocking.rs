//! Blocking work off the async threads.

use super::error::BrokerError;

/// Runs blocking work on the blocking thread pool. `what` names the work if it panics.
///
/// # Errors
/// [`BrokerError::Request`] when the work panics.
pub(crate) async fn blocking<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, BrokerError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| BrokerError::Request { what, source: error.into() })
}

//! Time as an argument: what o'clock it is, and waking at an instant.

use std::fmt::Debug;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;

/// A clock that can be waited on, so that a test decides what time it is.
pub trait Clock: Debug + Send + Sync + 'static {
    /// The time.
    fn now(&self) -> Timestamp;

    /// Resolves at `instant`, or at once when it has passed.
    fn sleep_until(&self, instant: Timestamp) -> BoxFuture<'static, ()>;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn sleep_until(&self, instant: Timestamp) -> BoxFuture<'static, ()> {
        let wait = Duration::try_from(instant.duration_since(self.now())).unwrap_or(Duration::ZERO);
        tokio::time::sleep(wait).boxed()
    }
}

/// The broker's time as ours. Its message times always fit: both count nanoseconds since 1970.
pub(crate) fn timestamp(unix_nanos: i128) -> Timestamp {
    Timestamp::from_nanosecond(unix_nanos).unwrap_or(Timestamp::UNIX_EPOCH)
}

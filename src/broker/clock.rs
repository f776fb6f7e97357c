//! Clock as an argument: the current time, and a timer.
//!
//! Workers on several machines compare times with each other: the end of a run, the start of a
//! trainer, the arrival of a pair. A machine's clock may be wrong by hours, so all of them use the
//! broker's clock, which also dates every message.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::jetstream::Context;
use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;

use super::error::BrokerError;

/// Time during which a measurement of the broker's clock holds.
const MEASURED_FOR: Duration = Duration::from_secs(10);
/// Change of this machine's clock, as seen beside its timer, that calls for a new measurement: the
/// clock was set, or the machine has slept.
const STEP: SignedDuration = SignedDuration::from_secs(1);
/// Difference between the two clocks that is logged.
const NOTABLE: SignedDuration = SignedDuration::from_secs(60);

/// A clock with a timer. A test passes its own clock to control the time.
pub trait Clock: Debug + Send + Sync + 'static {
    /// Returns the current time.
    fn now(&self) -> Timestamp;

    /// Brings the clock up to date with the one that it follows, if it follows one. Call this before
    /// a time is stored for other machines, or compared with a time that was.
    ///
    /// # Errors
    /// [`BrokerError::Request`].
    fn refresh(&self) -> BoxFuture<'_, Result<(), BrokerError>> {
        std::future::ready(Ok(())).boxed()
    }

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

/// The broker's clock: this machine's, corrected by the difference between the two. Clones share
/// one measurement.
#[derive(Debug, Clone)]
pub struct BrokerClock {
    context: Context,
    /// Stream whose state the broker is asked for. The answer carries the time.
    stream: Arc<str>,
    difference: Arc<Mutex<Difference>>,
}

/// Difference between the broker's clock and this machine's.
#[derive(Debug, Clone, Copy)]
struct Difference {
    /// Time to add to this machine's.
    ahead: SignedDuration,
    /// Moment of the measurement, by this machine's timer and by its clock.
    measured: Option<(Instant, Timestamp)>,
    /// True when a notable difference was logged.
    told: bool,
}

/// The part of a stream's state that is needed here. nats-server has sent it since 2.10.
#[derive(Deserialize)]
struct StreamState {
    ts: Option<Timestamp>,
}

impl BrokerClock {
    /// Creates a clock that shows this machine's time until it is refreshed.
    pub(super) fn new(context: &Context, stream: &str) -> Self {
        let difference = Difference { ahead: SignedDuration::ZERO, measured: None, told: false };
        Self { context: context.clone(), stream: stream.into(), difference: Arc::new(Mutex::new(difference)) }
    }

    fn difference(&self) -> Difference {
        *self.difference.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn measure(&self) -> Result<(), BrokerError> {
        let (begun, sent) = (Instant::now(), Timestamp::now());
        if self.difference().holds(begun, sent) {
            return Ok(());
        }
        let asked = self.context.request(format!("STREAM.INFO.{}", self.stream), &Value::Null).await;
        let state: StreamState = asked.map_err(BrokerError::request("asking for the broker's time"))?;
        // The broker has answered at some time between the two. The timer can't be set meanwhile.
        let (took, answered) = (begun.elapsed(), Instant::now());
        let Some(broker) = state.ts else { return Ok(()) };
        let here = sent.saturating_add(took / 2).unwrap_or(sent);
        let ahead = broker.duration_since(here);
        let mut difference = self.difference.lock().unwrap_or_else(PoisonError::into_inner);
        difference.ahead = ahead;
        difference.measured = Some((answered, sent.saturating_add(took).unwrap_or(sent)));
        if ahead.abs() > NOTABLE && !difference.told {
            difference.told = true;
            let (seconds, direction) =
                (ahead.as_secs().abs(), if ahead.is_negative() { "ahead of" } else { "behind" });
            tracing::warn!(
                seconds,
                "this machine's clock is {direction} the broker's; the broker's is used wherever times of \
                 several machines are compared; check the time synchronization of both"
            );
        }
        Ok(())
    }
}

impl Difference {
    /// Returns true while the measurement can be relied on.
    fn holds(&self, timer: Instant, clock: Timestamp) -> bool {
        let Some((timer_then, clock_then)) = self.measured else { return false };
        let elapsed = timer.saturating_duration_since(timer_then);
        let Ok(by_timer) = SignedDuration::try_from(elapsed) else { return false };
        elapsed < MEASURED_FOR && (clock.duration_since(clock_then) - by_timer).abs() < STEP
    }
}

impl Clock for BrokerClock {
    fn now(&self) -> Timestamp {
        let here = Timestamp::now();
        here.saturating_add(self.difference().ahead).unwrap_or(here)
    }

    fn refresh(&self) -> BoxFuture<'_, Result<(), BrokerError>> {
        self.measure().boxed()
    }

    fn sleep_until(&self, instant: Timestamp) -> BoxFuture<'static, ()> {
        let wait = Duration::try_from(instant.duration_since(self.now())).unwrap_or(Duration::ZERO);
        tokio::time::sleep(wait).boxed()
    }
}

/// Converts a time of the broker. Its message times always fit: both types count nanoseconds since
/// 1970.
pub(crate) fn timestamp(unix_nanos: i128) -> Timestamp {
    Timestamp::from_nanosecond(unix_nanos).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measurement_holds_until_it_is_old_or_the_clock_was_set() {
        let (timer, clock) = (Instant::now(), Timestamp::UNIX_EPOCH);
        let measured =
            Difference { ahead: SignedDuration::ZERO, measured: Some((timer, clock)), told: false };
        let holds = |timer_s: u64, clock_s: i64| {
            measured.holds(timer + Duration::from_secs(timer_s), clock + SignedDuration::from_secs(clock_s))
        };
        assert!(holds(0, 0) && holds(9, 9));
        assert!(!holds(10, 10), "old");
        assert!(!holds(3, 3 + 7 * 3600) && !holds(3, -5), "set");
        // A timer stands still while the machine sleeps, and its clock does not.
        assert!(!holds(1, 3600));
        assert!(!Difference { measured: None, ..measured }.holds(timer, clock));
    }
}

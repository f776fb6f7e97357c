//! Simulated crash at any await: the future is dropped there, so its work stays incomplete, as
//! after a killed process.
//!
//! Every pending await is a point where a program can end. Whatever it sent before is then in
//! flight or done. Dropping a future at its k-th pending await covers all of these points without
//! any change to the code under test.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Future that runs up to a given pending await and is dropped there. Its output is `None` after
/// such a crash.
pub struct CrashAt<F> {
    future: Option<Pin<Box<F>>>,
    left: u64,
}

/// Crashes `future` at its `point`-th pending await, counted from 0. A future with fewer pending
/// awaits runs to its end.
pub fn crash_at<F: Future>(point: u64, future: F) -> CrashAt<F> {
    CrashAt { future: Some(Box::pin(future)), left: point }
}

/// Runs a future to its end. Returns its output and its number of pending awaits.
pub async fn counted<F: Future>(future: F) -> (F::Output, u64) {
    let mut waits = 0;
    let mut future = Box::pin(future);
    let output = std::future::poll_fn(|context| {
        let polled = future.as_mut().poll(context);
        waits += u64::from(polled.is_pending());
        polled
    })
    .await;
    (output, waits)
}

impl<F: Future> Future for CrashAt<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(future) = &mut self.future else { return Poll::Ready(None) };
        match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if self.left == 0 => {
                self.future = None;
                Poll::Ready(None)
            }
            Poll::Pending => {
                self.left -= 1;
                Poll::Pending
            }
        }
    }
}

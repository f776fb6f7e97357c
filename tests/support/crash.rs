//! A crash at any await: the future is dropped where it is, as a killed process leaves its work.
//!
//! Every await that has to wait is a point at which a program can end, with whatever it had sent before on its way or
//! done. Dropping a future at its k-th such point covers all of them without a word in the code under test.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Runs a future up to its `point`-th pending await, and drops it there. `None` says that it crashed.
pub struct CrashAt<F> {
    future: Option<Pin<Box<F>>>,
    left: u64,
}

/// Crashes `future` at its `point`-th await that has to wait, from 0; a future with fewer of them ends.
pub fn crash_at<F: Future>(point: u64, future: F) -> CrashAt<F> {
    CrashAt { future: Some(Box::pin(future)), left: point }
}

/// Runs a future to its end; says at how many awaits it had to wait.
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

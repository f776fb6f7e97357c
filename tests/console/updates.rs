//! Pages change by themselves.

use std::time::{Duration, Instant};

use autovalidate::broker::JobRequest;
use futures::StreamExt;
use reqwest::Method;

use super::{Browser, worker};
use crate::support::worker::insert;
use crate::support::{DEADLINE, within};

/// Updates of a page, as its script receives them.
struct Updates {
    answer: reqwest::Response,
    received: String,
}

impl Updates {
    async fn of(browser: &Browser, page: &str) -> Self {
        let request = browser.request(Method::GET, &format!("/events?page={page}"));
        let answer = within(DEADLINE, request.send()).await.unwrap();
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Self { answer, received: String::new() }
    }

    /// Waits for a part that contains this text.
    #[track_caller]
    fn part(&mut self, text: &str) -> impl Future<Output = ()> {
        let text = text.to_owned();
        within(DEADLINE, async move {
            while !self.received.contains(&text) {
                let chunk = self.answer.chunk().await.unwrap().expect("the updates ended");
                self.received.push_str(&String::from_utf8_lossy(&chunk));
            }
            self.received.clear();
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_shows_within_two_seconds_and_a_step_while_it_trains() {
    let mut system = worker(&[("TRAIN_THRESHOLD", "1000"), ("TRAIN_EPOCHS", "300")]).await;
    let browser = Browser::logged_in(&system).await;
    let (mut home, mut pairs) = (Updates::of(&browser, "/").await, Updates::of(&browser, "/pairs").await);
    home.part("No new pairs").await;
    pairs.part("No pair is stored yet").await;
    insert(&system.supabase, 60).await;
    let inserted = Instant::now();
    home.part("60</strong> of 1").await;
    pairs.part("brand").await;
    // Realtime shows the row in a moment; the rest is the console's.
    assert!(inserted.elapsed() < Duration::from_secs(5), "{:?}", inserted.elapsed());

    let request = JobRequest { dry_run: true, ..JobRequest::default() };
    let id = within(DEADLINE, system.worker.handles().jobs.enqueue(&request)).await.unwrap();
    let mut run = Updates::of(&browser, &format!("/runs/{id}")).await;
    home.part("Step ").await;
    run.part("Step ").await;
    let (status, said) = browser.act("cancel", &[("run", id.as_str())]).await;
    assert!(status == 200 && said.contains("ends as soon as it can"), "{said}");
    run.part("cancelled").await;
    system.ended().await;
    home.part("cancelled").await;
    // The updates end with the worker, so it stops at once.
    let stopping = Instant::now();
    system.stop().await;
    assert!(stopping.elapsed() < Duration::from_secs(20), "{:?}", stopping.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_beyond_the_limit_are_told_so() {
    let system = worker(&[]).await;
    let browser = Browser::logged_in(&system).await;
    let ask = || browser.request(Method::GET, "/events?page=/").send();
    let streams: Vec<_> = futures::stream::iter(0..17).then(|_| ask()).collect().await;
    let statuses: Vec<u16> =
        streams.iter().map(|answer| answer.as_ref().unwrap().status().as_u16()).collect();
    assert_eq!(statuses, [vec![200; 16], vec![503]].concat());
    assert_eq!(browser.get("/events?page=/models").await.status(), 404, "a page that doesn't change");
    drop(streams);
    system.stop().await;
}

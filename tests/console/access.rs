//! Who may see and do what.

use autovalidate::settings::{Needs, Settings};
use reqwest::Method;
use reqwest::header::LOCATION;

use super::{Browser, TOKEN, form_token, worker};
use crate::support::worker::{TestWorker, WEBHOOK_SECRET};
use crate::support::{DEADLINE, tiny, within};

const PAGES: [&str; 5] = ["/", "/runs", "/models", "/pairs", "/actions/train"];

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_nothing_but_health_and_hooks_is_on_another_address_than_loopback() {
    let system = TestWorker::start(&tiny(), &[("HTTP_ADDR", "0.0.0.0:0")]).await;
    let address = format!("http://127.0.0.1:{}", system.worker.http().port());
    let client = reqwest::Client::new();
    let hidden =
        PAGES.iter().chain(&["/metrics", "/ingest", "/events?page=/", "/login", "/console.css", "/runs/x"]);
    for path in hidden {
        let answer = within(DEADLINE, client.get(format!("{address}{path}")).send()).await.unwrap();
        assert_eq!(answer.status(), 404, "{path}");
    }
    let posted = client.post(format!("{address}/actions/train")).body("").send();
    assert_eq!(within(DEADLINE, posted).await.unwrap().status(), 404);
    let health = within(DEADLINE, client.get(format!("{address}/healthz")).send()).await.unwrap();
    assert_eq!(health.status(), 200);
    let tick = client.post(format!("{address}/hooks/tick")).header("x-webhook-secret", WEBHOOK_SECRET);
    assert_eq!(within(DEADLINE, tick.send()).await.unwrap().status(), 202);
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_loopback_the_console_is_open_to_its_own_name_only_and_shows_no_text() {
    let system = TestWorker::start(&tiny(), &[]).await;
    let browser = Browser::new(&system);
    for path in PAGES {
        browser.page(path).await;
    }
    let elsewhere = browser.request(Method::GET, "/").header("host", "rebound.example");
    assert_eq!(within(DEADLINE, elsewhere.send()).await.unwrap().status(), 404);
    // Nobody logs in without a token, so nobody sees texts.
    assert!(browser.page("/pairs").await.contains("CONSOLE_TOKEN"));
    assert_eq!(browser.get("/login").await.headers()[LOCATION], "/");
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_token_a_session_or_the_token_is_needed_and_forged_posts_do_nothing() {
    let system = worker(&[]).await;
    let stranger = Browser::new(&system);
    for path in PAGES {
        let answer = stranger.get(path).await;
        assert_eq!(answer.status(), 303, "{path}");
        assert!(answer.headers()[LOCATION].to_str().unwrap().starts_with("/login?next=%2F"));
    }
    let script = |path: &str, token: &str| {
        let client = reqwest::Client::new().get(format!("http://{}{path}", system.worker.http()));
        within(DEADLINE, client.bearer_auth(token).send())
    };
    assert_eq!(reqwest::get(format!("http://{}/metrics", system.worker.http())).await.unwrap().status(), 401);
    for path in ["/", "/metrics", "/ingest", "/login"] {
        assert_eq!(script(path, "wrong").await.unwrap().status(), 401, "{path}");
    }
    assert_eq!(script("/metrics", TOKEN).await.unwrap().status(), 200);
    let wrong = stranger.post("/login", &[("token", "not the token"), ("next", "/")]).await;
    assert!(wrong.status() == 401 && !wrong.headers().contains_key("set-cookie"));

    let person = Browser::logged_in(&system).await;
    person.page("/").await;
    let token = form_token(&person.page("/actions/train").await);
    // A session of the same person has another token.
    let forged = ["", "0", TOKEN, &token.replace(|c: char| c.is_ascii_digit(), "a")];
    for form_token in forged {
        let answer = person.post("/actions/train", &[("form_token", form_token)]).await;
        assert_eq!(answer.status(), 403, "{form_token}");
    }
    let genuine = [("form_token", token.as_str())];
    assert_eq!(stranger.post("/actions/train", &genuine).await.status(), 401);
    let cross = person.request(Method::POST, "/actions/train").header("sec-fetch-site", "cross-site");
    let cross = cross.body(format!("form_token={token}"));
    assert_eq!(within(DEADLINE, cross.send()).await.unwrap().status(), 403);
    let runs = within(DEADLINE, system.worker.handles().runs.list()).await.unwrap();
    assert!(runs.is_empty(), "a forged form has started a run");

    let out = person.post("/logout", &genuine).await;
    assert!(out.headers()["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
    system.stop().await;
}

#[test]
fn a_token_that_could_be_guessed_is_refused() {
    let read = |token: &str| {
        let environment = |name: &str| (name == "CONSOLE_TOKEN").then(|| token.to_owned());
        Settings::read(&environment, None, Needs::default())
    };
    let refused = read("fifteen letters").unwrap_err().to_string();
    assert!(refused.contains("CONSOLE_TOKEN") && refused.contains("16"), "{refused}");
    assert!(!refused.contains("fifteen"), "{refused}");
    assert!(read("sixteen letters.").is_ok());
}

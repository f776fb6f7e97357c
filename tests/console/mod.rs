//! The console over HTTP, on a real worker with the stand-ins.

mod access;
mod actions;
mod pages;
mod updates;

use reqwest::header::{HeaderMap, LOCATION, SET_COOKIE};
use reqwest::{Method, RequestBuilder, Response};

use crate::support::worker::TestWorker;
use crate::support::{DEADLINE, tiny, within};

const TOKEN: &str = "a-console-token-of-some-length";

/// A worker whose console asks for the token.
async fn worker(more: &[(&str, &str)]) -> TestWorker {
    let settings = [&[("CONSOLE_TOKEN", TOKEN)], more].concat();
    TestWorker::start(&tiny(), &settings).await
}

/// A browser: it follows no redirect by itself, so that a test sees each answer.
struct Browser {
    base: String,
    client: reqwest::Client,
    cookie: Option<String>,
}

impl Browser {
    fn new(system: &TestWorker) -> Self {
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { base: format!("http://{}", system.worker.http()), client, cookie: None }
    }

    /// A browser of somebody who has logged in.
    async fn logged_in(system: &TestWorker) -> Self {
        let mut browser = Self::new(system);
        let answer = browser.post("/login", &[("token", TOKEN), ("next", "/runs")]).await;
        assert_eq!((answer.status().as_u16(), answer.headers()[LOCATION].to_str().unwrap()), (303, "/runs"));
        let cookie = answer.headers()[SET_COOKIE].to_str().unwrap();
        for attribute in ["HttpOnly", "SameSite=Strict", "Path=/"] {
            assert!(cookie.contains(attribute), "{cookie}");
        }
        browser.cookie = Some(cookie.split(';').next().unwrap().to_owned());
        browser
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.base));
        let request = request.header("accept", "text/html");
        match &self.cookie {
            Some(cookie) => request.header("cookie", cookie),
            None => request,
        }
    }

    async fn get(&self, path: &str) -> Response {
        within(DEADLINE, self.request(Method::GET, path).send()).await.unwrap()
    }

    /// Returns a page that must be there.
    async fn page(&self, path: &str) -> String {
        let answer = self.get(path).await;
        assert_eq!(answer.status(), 200, "{path}");
        check_headers(answer.headers());
        answer.text().await.unwrap()
    }

    async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Response {
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = self.request(Method::POST, path);
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(form);
        within(DEADLINE, request.send()).await.unwrap()
    }

    /// Confirms an action as a person does: opens its page, and sends the form that is there.
    async fn act(&self, action: &str, fields: &[(&str, &str)]) -> (u16, String) {
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let question = self.page(&format!("/actions/{action}?{query}")).await;
        let token = form_token(&question);
        let fields = [&[("form_token", token.as_str())], fields].concat();
        let answer = self.post(&format!("/actions/{action}"), &fields).await;
        (answer.status().as_u16(), answer.text().await.unwrap())
    }
}

/// Returns the token of the form on a page.
fn form_token(page: &str) -> String {
    let (_, rest) = page.split_once("name=\"form_token\" value=\"").expect("a form with a token");
    rest.split_once('"').unwrap().0.to_owned()
}

/// Checks that a page may load things from its own server only, and be embedded by nobody.
fn check_headers(headers: &HeaderMap) {
    let policy = headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert_eq!(headers["cache-control"], "no-store");
}

//! A stand-in with a client of its REST interface.

use std::time::Duration;

use autovalidate_fakes::supabase::{IdType, Options, Supabase};
use reqwest::Method;
use serde_json::Value;

/// Deadline of everything that is awaited: far beyond what a busy computer needs.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// Types whose ids do not ascend with the inserts.
pub(crate) const TEXT_TYPES: [IdType; 2] = [IdType::Uuid, IdType::Text];

pub(crate) const UUID: &str = "0b4ee0c0-5b7e-4b0c-8d0e-2a6f4c1d9e11";

pub(crate) struct Bench {
    pub(crate) supabase: Supabase,
    client: reqwest::Client,
}

/// Answer to a request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) location: Option<String>,
    pub(crate) body: Value,
}

impl Answer {
    /// Returns the ids of the rows in the body.
    pub(crate) fn ids(&self) -> Vec<String> {
        let rows = self.body.as_array().expect("rows");
        rows.iter().map(|row| row["id"].as_str().expect("a text").to_owned()).collect()
    }

    /// Returns the status, the code and the message of an error.
    pub(crate) fn error(&self) -> (u16, &str, &str) {
        let text = |name: &str| self.body[name].as_str().unwrap_or_default();
        (self.status, text("code"), text("message"))
    }
}

impl Bench {
    pub(crate) async fn start(id_type: IdType) -> Self {
        Self::with(Options { id_type, ..Options::default() }).await
    }

    pub(crate) async fn with(options: Options) -> Self {
        let quick = Options { poll: Duration::from_millis(10), subscribed_delay: Duration::ZERO, ..options };
        let supabase = Supabase::start(quick).await.expect("the stand-in starts");
        Self { supabase, client: reqwest::Client::builder().no_proxy().build().expect("a client") }
    }

    /// Inserts rows, and returns their ids in the order of the inserts.
    pub(crate) fn insert(&self, count: usize) -> Vec<String> {
        let number = |_| self.supabase.insert("toyta", "Toyota", "brand");
        (0..count).map(number).map(|number| self.supabase.id_text(number)).collect()
    }

    /// Returns the rows that a query selects.
    pub(crate) async fn get(&self, query: &[(&str, &str)]) -> Answer {
        self.ask(Method::GET, query, None, "").await
    }

    /// Sends a request as the service role, and asks for the rows that it changed.
    pub(crate) async fn change(&self, method: Method, query: &[(&str, &str)], body: Option<Value>) -> Answer {
        self.ask(method, query, body, "return=representation").await
    }

    pub(crate) async fn ask(
        &self,
        method: Method,
        query: &[(&str, &str)],
        body: Option<Value>,
        prefer: &str,
    ) -> Answer {
        let url = format!("{}rest/v1/typo_training_dataset", self.supabase.url());
        let mut request = self.client.request(method, url).query(query).timeout(SOON);
        request = request.header("apikey", self.supabase.service_key()).header("prefer", prefer);
        request = request.bearer_auth(self.supabase.service_key());
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.expect("an answer");
        let location = response.headers().get("location");
        let location = location.map(|place| place.to_str().expect("a text").to_owned());
        let status = response.status().as_u16();
        let text = response.text().await.expect("a body");
        Answer { status, location, body: serde_json::from_str(&text).unwrap_or_default() }
    }
}

/// Quotes a value of a list.
pub(crate) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

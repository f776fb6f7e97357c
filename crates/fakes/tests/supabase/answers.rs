//! Answers to requests that the official clients do not make.

use autovalidate_fakes::supabase::{IdType, Options, TimeType};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Bench, SOON};

/// An answer with its headers.
struct Whole {
    status: u16,
    headers: reqwest::header::HeaderMap,
    text: String,
}

impl Whole {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("a text"))
    }

    fn body(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }
}

async fn ask(bench: &Bench, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Whole {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let mut request = client.request(method, format!("{}rest/v1/{path}", bench.supabase.url())).timeout(SOON);
    if !headers.iter().any(|(name, _)| *name == "apikey") {
        request = request.header("apikey", bench.supabase.secret_key());
    }
    for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
        request = request.header(*name, *value);
    }
    let answer = request.body(body.to_owned()).send().await.expect("an answer");
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    Whole { status, headers, text: answer.text().await.expect("a body") }
}

const TABLE: &str = "typo_training_dataset";

#[tokio::test]
async fn ranges_and_counts_are_told_in_headers() {
    let bench = Bench::start(IdType::BigInt).await;
    bench.insert(5);
    let counted = ("prefer", "count=exact");
    let page = ask(&bench, Method::GET, &format!("{TABLE}?order=id"), &[counted, ("range", "1-2")], "").await;
    assert_eq!((page.status, page.header("content-range")), (206, "1-2/5"));
    assert_eq!((page.body()[0]["id"].clone(), page.header("preference-applied")), (json!(2), "count=exact"));
    let end = ask(&bench, Method::GET, &format!("{TABLE}?offset=5"), &[counted], "").await;
    assert_eq!((end.status, end.header("content-range")), (206, "*/5"));
    let beyond = ask(&bench, Method::GET, &format!("{TABLE}?offset=6"), &[counted], "").await;
    assert_eq!((beyond.status, beyond.body()["code"].clone()), (416, json!("PGRST103")));
    let backwards = ask(&bench, Method::GET, TABLE, &[("range", "5-1")], "").await;
    assert_eq!((backwards.status, backwards.header("proxy-status")), (416, "PostgREST; error=PGRST103"));
    let head =
        ask(&bench, Method::HEAD, &format!("{TABLE}?id=gt.2"), &[("prefer", "count=planned")], "").await;
    assert_eq!((head.status, head.header("content-range"), head.text.as_str()), (200, "0-2/3", ""));
    let none = ask(&bench, Method::GET, &format!("{TABLE}?limit=0"), &[], "").await;
    assert_eq!((none.status, none.text.as_str(), none.header("content-range")), (200, "[]", "*/*"));
    let negative = ask(&bench, Method::GET, &format!("{TABLE}?limit=-1"), &[], "").await;
    assert_eq!(negative.body()["details"], "Limit should be greater than or equal to zero.");
}

#[tokio::test]
async fn put_writes_the_row_with_the_id_of_the_address() {
    let bench = Bench::start(IdType::BigInt).await;
    let put = async |query: &str, body: &str| {
        ask(&bench, Method::PUT, &format!("{TABLE}?{query}"), &[("prefer", "return=representation")], body)
            .await
    };
    let made = put("id=eq.7", r#"{"id": 7, "typo": "a"}"#).await;
    assert_eq!((made.status, made.body()[0]["typo"].clone()), (201, json!("a")));
    let changed = put("id=eq.7", r#"{"id": 7, "typo": "b"}"#).await;
    assert_eq!((changed.status, changed.body()[0]["typo"].clone()), (200, json!("b")));
    for (query, body, status, code) in [
        ("id=eq.7", r#"{"id": 8}"#, 400, "PGRST115"),
        ("id=gt.7", r#"{"id": 8}"#, 405, "PGRST105"),
        ("id=eq.7&typo=eq.b", r#"{"id": 7}"#, 405, "PGRST105"),
        ("id=eq.7&limit=1", r#"{"id": 7}"#, 400, "PGRST114"),
    ] {
        let refused = put(query, body).await;
        assert_eq!((refused.status, refused.body()["code"].clone()), (status, json!(code)), "{query} {body}");
    }
    assert_eq!(bench.supabase.ids(), [7]);
}

#[tokio::test]
async fn preferences_and_media_types_are_followed_or_refused() {
    let bench = Bench::start(IdType::BigInt).await;
    bench.insert(3);
    let change = |prefer: &'static str, accept: &'static str| {
        let bench = &bench;
        async move {
            let headers = [("prefer", prefer), ("accept", accept)];
            ask(bench, Method::PATCH, &format!("{TABLE}?id=gt.1"), &headers, r#"{"typo": "b"}"#).await
        }
    };
    let strict = change("handling=strict,max-affected=1", "").await;
    assert_eq!((strict.status, strict.body()["code"].clone()), (400, json!("PGRST124")));
    let unknown = change("handling=strict,nope=1", "").await;
    assert_eq!(unknown.body()["details"], "Invalid preferences: nope=1");
    let single = change("return=representation", "application/vnd.pgrst.object+json").await;
    assert_eq!((single.status, single.body()["code"].clone()), (406, json!("PGRST116")));
    let xml = change("", "text/xml").await;
    assert_eq!(xml.body()["message"], "None of these media types are available: text/xml");
    let rows = ask(&bench, Method::GET, &format!("{TABLE}?typo=eq.b"), &[], "").await;
    assert_eq!(rows.text, "[]", "a change that is refused changes nothing");
    let changed = change("return=minimal,count=exact", "").await;
    assert_eq!((changed.status, changed.header("content-range")), (204, "0-1/2"));
    assert_eq!(changed.header("preference-applied"), "return=minimal, count=exact");
}

#[tokio::test]
async fn missing_columns_get_their_defaults_when_the_client_prefers_it() {
    let bench = Bench::start(IdType::BigInt).await;
    let insert = async |prefer: &str| {
        let prefer = format!("return=representation,{prefer}");
        let path = format!("{TABLE}?columns=typo,created_at");
        ask(&bench, Method::POST, &path, &[("prefer", &prefer)], r#"[{"typo": "a", "nope": 1}]"#).await.body()
    };
    assert_eq!(insert("missing=null").await[0]["created_at"], Value::Null);
    assert!(insert("missing=default").await[0]["created_at"].is_string());
}

#[tokio::test]
async fn ids_and_times_have_their_types() {
    let options =
        Options { id_type: IdType::SmallInt, time_type: TimeType::WithoutZone, ..Options::default() };
    let bench = Bench::with(options).await;
    let insert = async |body: Value| bench.change(Method::POST, &[], Some(body)).await;
    let row = insert(json!({"created_at": "2026-01-02T03:04:05.600+02:00"})).await;
    assert_eq!(row.body[0]["created_at"], "2026-01-02T03:04:05.6");
    let message = "value \"32768\" is out of range for type smallint";
    assert_eq!(insert(json!({"id": 32768})).await.error(), (400, "22003", message));
    let bench = Bench::with(Options { required_texts: true, ..Options::default() }).await;
    let insert = async |body: Value| bench.change(Method::POST, &[], Some(body)).await;
    assert_eq!(insert(json!({"typo": "a"})).await.error().1, "23502");
    assert_eq!(insert(json!({"typo": "", "corrected": "b", "domain": "c"})).await.error().1, "23514");
}

#[tokio::test]
async fn keys_are_admitted_and_refused_as_by_the_gateway() {
    let bench = Bench::start(IdType::BigInt).await;
    let read = async |path: &str, headers: &[(&str, &str)]| {
        let answer = ask(&bench, Method::GET, path, headers, "").await;
        (answer.status, answer.body()["message"].as_str().unwrap_or_default().to_owned())
    };
    let refused = |message: &str| (401, message.to_owned());
    assert_eq!(read(TABLE, &[("apikey", "")]).await, refused("No API key found in request"));
    let secret = bench.supabase.secret_key();
    assert_eq!(read(&format!("{TABLE}?apikey={secret}"), &[("apikey", "")]).await.0, 200);
    assert_eq!(read(TABLE, &[("apikey", "nobody")]).await, refused("Invalid API key"));
    let browser = [("user-agent", "Mozilla/5.0 (X11; Linux x86_64)")];
    assert_eq!(read(TABLE, &browser).await, refused("Forbidden use of secret API key in browser"));
    for (token, message) in
        [("a.b.c", "No suitable key or wrong key type"), ("nobody", "Expected 3 parts in JWT; got 1")]
    {
        let bearer = format!("Bearer {token}");
        assert_eq!(read(TABLE, &[("authorization", &bearer)]).await, refused(message), "{token}");
    }
    let stranger =
        bench.supabase.token("stranger", jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1));
    let bearer = format!("Bearer {stranger}");
    assert_eq!(read(TABLE, &[("authorization", &bearer)]).await, refused("role \"stranger\" does not exist"));
    bench.supabase.faults().disable_legacy_keys(true);
    let legacy = bench.supabase.service_key();
    assert_eq!(read(TABLE, &[("apikey", legacy)]).await, refused("Legacy API keys are disabled"));
    assert_eq!(read(TABLE, &[]).await.0, 200, "the newer keys are left");
    // A legacy key is still a token.
    let bearer = format!("Bearer {legacy}");
    assert_eq!(read(TABLE, &[("authorization", &bearer)]).await.0, 200);
    assert_eq!(read("nowhere/else", &[]).await, (404, "Invalid path specified in request URL".to_owned()));
}

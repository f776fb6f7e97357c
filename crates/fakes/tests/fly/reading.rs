//! Lists, single machines, tokens, and rate limits.

use autovalidate_fakes::fly::{AppToken, MachineSpec, MachineState, Program};
use reqwest::Method;

use crate::support::{APP, Bench, answer, error};

#[tokio::test]
async fn a_machine_reads_like_a_real_one() {
    let bench = Bench::start().await;
    let program = Program::new("/bin/true").arg("serve").env("SECRET", "hidden");
    let id = bench.fly.create(MachineSpec::running(APP, "trainer", program));
    let (status, machine) = bench.get(&format!("/{id}")).await;
    assert_eq!(status, 200);
    assert!(id.len() == 14 && id.bytes().all(|digit| digit.is_ascii_hexdigit()), "{id}");
    assert_eq!(machine["id"], id.as_str());
    assert_eq!(machine["state"], "stopped");
    assert_eq!(machine["region"], "iad");
    assert_eq!(machine["instance_id"].as_str().unwrap().len(), 26);
    assert_eq!(machine["config"]["metadata"]["fly_process_group"], "trainer");
    assert_eq!(machine["config"]["restart"], serde_json::json!({"policy": "on-failure", "max_retries": 10}));
    assert_eq!(machine["config"]["init"]["cmd"], serde_json::json!(["/bin/true", "serve"]));
    assert_eq!(machine["events"][0]["type"], "launch");
    assert!(!machine.to_string().contains("hidden"), "{machine}");
    let (_, events) = bench.get(&format!("/{id}/events")).await;
    assert_eq!(events, machine["events"]);
    let (_, metadata) = bench.get(&format!("/{id}/metadata")).await;
    assert_eq!(metadata, machine["config"]["metadata"]);
}

#[tokio::test]
async fn lists_are_filtered() {
    let bench = Bench::start().await;
    let trainer = bench.bare();
    let mut spec = MachineSpec { region: "lhr".into(), ..MachineSpec::new(APP, "web") };
    spec.metadata.insert("color".into(), "red".into());
    let web = bench.fly.create(spec);
    let gone =
        bench.fly.create(MachineSpec { state: MachineState::Destroyed, ..MachineSpec::new(APP, "web") });
    bench.fly.create(MachineSpec::new("other", "trainer"));
    let listed = async |query: &str| {
        let (status, list) = bench.get(query).await;
        assert_eq!(status, 200, "{list}");
        let mut ids: Vec<String> =
            list.as_array().unwrap().iter().map(|machine| machine["id"].as_str().unwrap().into()).collect();
        ids.sort();
        ids
    };
    let sorted = |ids: &[&String]| {
        let mut ids: Vec<String> = ids.iter().map(|id| (*id).clone()).collect();
        ids.sort();
        ids
    };
    assert_eq!(listed("").await, sorted(&[&trainer, &web]));
    assert_eq!(listed("?include_deleted=true").await, sorted(&[&trainer, &web, &gone]));
    assert_eq!(listed("?metadata.fly_process_group=trainer").await, sorted(&[&trainer]));
    assert_eq!(listed("?metadata.fly_process_group=web&metadata.color=red").await, sorted(&[&web]));
    assert_eq!(listed("?metadata.color=blue").await, sorted(&[]));
    assert_eq!(listed("?region=lhr").await, sorted(&[&web]));
    assert_eq!(listed("?state=started").await, sorted(&[]));
    bench.fly.set_state(&web, MachineState::Started).unwrap();
    assert_eq!(listed("?state=started").await, sorted(&[&web]));
}

#[tokio::test]
async fn tokens_open_their_apps_only() {
    let of_shop = AppToken { token: "fm2_shop".into(), apps: vec![APP.into()] };
    let of_other = AppToken { token: "fm2_other".into(), apps: vec!["other".into()] };
    let bench = Bench::with(|options| autovalidate_fakes::fly::Options {
        app_tokens: vec![of_shop, of_other],
        ..options
    })
    .await;
    let id = bench.bare();
    let ask = async |header: Option<&str>, app: &str, id: &str| {
        let url = format!("{}v1/apps/{app}/machines/{id}", bench.fly.url());
        let request = bench.client.get(url);
        let request = header.into_iter().fold(request, |request, text| request.header("authorization", text));
        answer(request).await
    };
    let valid = [
        "Bearer fm2_local",
        "Bearer fm2_shop",
        "FlyV1 fm2_shop",
        "FlyV1 fm2_wrong,fm2_shop",
        "Bearer FlyV1 fm2_shop",
    ];
    for header in valid {
        assert_eq!(ask(Some(header), APP, &id).await.0, 200, "{header}");
    }
    for header in [None, Some("Bearer wrong"), Some("Basic fm2_shop"), Some("fm2_shop"), Some("")] {
        let (status, body) = ask(header, APP, &id).await;
        assert_eq!((status, error(&body)), (401, "Authenticate: token validation error"), "{header:?}");
    }
    assert_eq!(ask(Some("Bearer fm2_other"), APP, &id).await.0, 403);
    assert_eq!(ask(Some("Bearer fm2_local"), "nobody", &id).await.0, 404);
    assert_eq!(ask(Some("Bearer fm2_local"), APP, "00000000000000").await.0, 404);
    let (status, _) = answer(bench.client.get(format!("{}v2/nothing", bench.fly.url()))).await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn the_rate_limits_are_for_each_action() {
    let bench =
        Bench::with(|options| autovalidate_fakes::fly::Options { rate_limits: true, ..options }).await;
    let id = bench.bare();
    let mut refused = None;
    for _ in 0..1_000 {
        let (status, body) = answer(bench.request(Method::POST, &format!("/{id}/stop"))).await;
        if status == 429 {
            refused = Some(body);
            break;
        }
    }
    assert_eq!(error(&refused.unwrap()), "rate limit exceeded");
    // Another action has a limit of its own.
    assert_eq!(bench.get(&format!("/{id}")).await.0, 200);
}

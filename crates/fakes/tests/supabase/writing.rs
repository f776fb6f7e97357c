//! Inserts, updates and deletions over HTTP, in tables whose ids are uuids or texts.

use std::collections::BTreeSet;

use autovalidate_fakes::supabase::IdType;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Bench, TEXT_TYPES, UUID};

#[tokio::test]
async fn an_insert_may_choose_an_id_of_the_type() {
    let bench = Bench::start(IdType::Uuid).await;
    let insert = |body| bench.change(Method::POST, &[], Some(body));
    let chosen = insert(json!({"id": format!("{{{}}}", UUID.to_uppercase()), "typo": "a"})).await;
    assert_eq!((chosen.status, chosen.ids()), (201, vec![UUID.to_owned()]));
    assert_eq!(insert(json!({"id": UUID})).await.error().1, "23505");
    // The refused insert has taken a number from the sequence.
    let made_up = insert(json!([{"typo": "b"}, {"typo": "c"}])).await.ids();
    assert_eq!(made_up, [3, 4].map(|number| bench.supabase.id_text(number)));
    for (id, literal) in [(json!("0"), "0"), (json!(""), ""), (json!(7), "7"), (json!(true), "true")] {
        let message = format!("invalid input syntax for type uuid: \"{literal}\"");
        assert_eq!(insert(json!({"id": id})).await.error(), (400, "22P02", message.as_str()));
    }
    let message =
        "null value in column \"id\" of relation \"typo_training_dataset\" violates not-null constraint";
    assert_eq!(insert(json!({"id": null})).await.error(), (400, "23502", message));

    let bench = Bench::start(IdType::Text).await;
    let insert = |body| bench.change(Method::POST, &[], Some(body));
    for (id, text) in
        [(json!(UUID.to_uppercase()), UUID.to_uppercase().as_str()), (json!(""), ""), (json!(7), "7")]
    {
        assert_eq!(insert(json!({"id": id})).await.ids(), [text]);
    }
    assert_eq!(insert(json!([{"id": "new"}, {"id": "7"}])).await.error().1, "23505");
    assert_eq!(bench.supabase.ids(), [1, 2, 3], "a refused insert leaves no row behind");
}

#[tokio::test]
async fn a_bigint_may_be_written_as_a_text() {
    let bench = Bench::start(IdType::BigInt).await;
    let insert = |body| bench.change(Method::POST, &[], Some(body));
    assert_eq!(insert(json!({"id": "7"})).await.body[0]["id"], 7);
    let message = "invalid input syntax for type bigint: \"x\"";
    assert_eq!(insert(json!({"id": "x"})).await.error(), (400, "22P02", message));
    assert_eq!((bench.supabase.ids(), bench.supabase.id_text(7)), (vec![7], "7".to_owned()));
}

#[tokio::test]
async fn the_address_of_a_new_row_leads_to_it() {
    for id_type in TEXT_TYPES {
        let bench = Bench::start(id_type).await;
        for _ in 0..15 {
            let answer =
                bench.ask(Method::POST, &[], Some(json!({"typo": "a"})), "return=headers-only").await;
            let location = answer.location.expect("an address");
            let (_, query) = location.split_once('?').expect("a query");
            let (name, filter) = url::form_urlencoded::parse(query.as_bytes()).next().expect("a condition");
            assert_eq!(name, "id");
            let number = *bench.supabase.ids().last().expect("a row");
            assert_eq!(filter, format!("eq.{}", bench.supabase.id_text(number)));
            assert_eq!(bench.get(&[("id", &*filter)]).await.ids().len(), 1);
        }
    }
}

#[tokio::test]
async fn a_row_is_changed_and_deleted_by_its_id() {
    for id_type in TEXT_TYPES {
        let bench = Bench::start(id_type).await;
        let ids = bench.insert(15);
        for (number, id) in (1..).zip(&ids) {
            let filter = format!("eq.{id}");
            let by_id = [("id", filter.as_str())];
            let changed = bench.change(Method::PATCH, &by_id, Some(json!({"typo": "tojota"}))).await;
            assert_eq!((changed.status, changed.ids()), (200, vec![id.clone()]));
            assert_eq!(changed.body[0]["typo"], "tojota");
            if number % 2 == 0 {
                assert_eq!(bench.change(Method::DELETE, &by_id, None).await.ids(), [id.as_str()]);
                assert_eq!(bench.change(Method::DELETE, &by_id, None).await.body, json!([]));
            }
        }
        assert_eq!(bench.supabase.ids(), (1..=15).step_by(2).collect::<Vec<i64>>());
        let left: BTreeSet<_> = ids.iter().step_by(2).cloned().collect();
        assert_eq!(bench.get(&[]).await.ids().into_iter().collect::<BTreeSet<_>>(), left);
    }
}

#[tokio::test]
async fn an_update_may_change_the_id() {
    let bench = Bench::start(IdType::Uuid).await;
    let id = bench.insert(1).remove(0);
    let filter = format!("eq.{id}");
    let by_id = [("id", filter.as_str())];
    let update = |body: Value| bench.change(Method::PATCH, &by_id, Some(body));
    let message = "invalid input syntax for type uuid: \"x\"";
    assert_eq!(update(json!({"id": "x"})).await.error(), (400, "22P02", message));
    assert_eq!(update(json!({"id": null})).await.error().1, "23502");
    assert_eq!(update(json!({"id": UUID.to_uppercase()})).await.ids(), [UUID]);
    assert_eq!((bench.supabase.ids(), bench.supabase.id_text(1)), (vec![1], UUID.to_owned()));
    assert_eq!(update(json!({"typo": "b"})).await.body, json!([]), "the old id is gone");
    let other = format!("eq.{UUID}");
    let message = "invalid input syntax for type uuid: \"0\"";
    assert_eq!(bench.change(Method::DELETE, &[("id", "eq.0")], None).await.error(), (400, "22P02", message));
    assert_eq!(bench.change(Method::DELETE, &[("id", other.as_str())], None).await.ids(), [UUID]);
}

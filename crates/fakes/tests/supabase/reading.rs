//! Reads of tables whose ids are uuids or texts.

use std::time::Duration;

use autovalidate_fakes::supabase::IdType;
use serde_json::json;

use crate::support::{Bench, TEXT_TYPES, UUID, quoted};

/// Number of rows that have every form of a made-up text.
const ROWS: usize = 30;

/// Returns the ids in PostgreSQL's order: of uuids by their bytes, of texts by the collation "C".
fn sorted(ids: &[String]) -> Vec<String> {
    let mut ids = ids.to_vec();
    ids.sort_by(|left, right| left.as_bytes().cmp(right.as_bytes()));
    ids
}

#[tokio::test]
async fn each_row_is_found_by_its_id() {
    for id_type in TEXT_TYPES {
        let bench = Bench::start(id_type).await;
        let ids = bench.insert(ROWS);
        for id in &ids {
            let equal = format!("eq.{id}");
            let found = bench.get(&[("select", "id,typo"), ("id", equal.as_str())]).await;
            assert_eq!(found.body, json!([{"id": id, "typo": "toyta"}]));
            let nested = format!("(typo.eq.nope,and(typo.eq.toyta,id.eq.{}))", quoted(id));
            assert_eq!(bench.get(&[("or", nested.as_str())]).await.ids(), [id.as_str()]);
        }
        let list = ids.iter().map(|id| quoted(id)).collect::<Vec<_>>().join(",");
        let query = [("id", format!("in.({list},{})", quoted(UUID))), ("order", "id.asc".to_owned())];
        let query = query.each_ref().map(|(name, text)| (*name, text.as_str()));
        assert_eq!(bench.get(&query).await.ids(), sorted(&ids));
        let missing = format!("eq.{UUID}");
        assert_eq!(bench.get(&[("id", missing.as_str())]).await.body, json!([]));
    }
}

#[tokio::test]
async fn comparisons_and_orders_are_those_of_postgresql() {
    for id_type in TEXT_TYPES {
        let bench = Bench::start(id_type).await;
        let ids = sorted(&bench.insert(ROWS));
        for (place, id) in ids.iter().enumerate() {
            for (operator, expected) in [
                ("gt", &ids[place + 1..]),
                ("gte", &ids[place..]),
                ("lt", &ids[..place]),
                ("lte", &ids[..=place]),
            ] {
                let filter = format!("{operator}.{id}");
                let found = bench.get(&[("id", filter.as_str()), ("order", "id.asc")]).await;
                assert_eq!(found.ids(), expected, "{filter}");
            }
        }
        let mut backwards = bench.get(&[("order", "id.desc")]).await.ids();
        backwards.reverse();
        assert_eq!(backwards, ids);
    }
}

#[tokio::test]
async fn pages_by_time_and_id_have_every_row_once() {
    for id_type in TEXT_TYPES {
        let bench = Bench::start(id_type).await;
        let pair = || ("toyta".to_owned(), "Toyota".to_owned(), "brand".to_owned());
        let now = jiff::Timestamp::now();
        // Each import is one transaction, so its rows have one time. The second is the oldest.
        for (rows, age) in [(7, 60), (5, 90), (9, 30)] {
            bench.supabase.import((0..rows).map(|_| pair()), now - Duration::from_secs(age));
        }
        let ids: Vec<_> = (1..=21).map(|number| bench.supabase.id_text(number)).collect();
        let (mut seen, mut filter) = (Vec::new(), None::<String>);
        loop {
            let mut query =
                vec![("select", "id,created_at"), ("order", "created_at.asc,id.asc"), ("limit", "4")];
            query.extend(filter.as_ref().map(|filter| ("or", filter.as_str())));
            let page = bench.get(&query).await;
            seen.extend(page.ids());
            let Some(last) = page.body.as_array().and_then(|rows| rows.last()) else { break };
            let value = |name: &str| quoted(last[name].as_str().expect("a text"));
            let (time, id) = (value("created_at"), value("id"));
            filter = Some(format!("(created_at.gt.{time},and(created_at.eq.{time},id.gt.{id}))"));
        }
        let expected = [&ids[7..12], &ids[..7], &ids[12..]].map(sorted).concat();
        assert_eq!(seen, expected);
    }
}

#[tokio::test]
async fn a_literal_that_is_no_uuid_is_refused_in_postgresqls_words() {
    let bench = Bench::start(IdType::Uuid).await;
    let id = bench.insert(1).remove(0);
    for (name, filter, literal) in [
        ("id", "gt.0", "0"),
        ("id", "eq.", ""),
        ("id", "not.eq.x", "x"),
        ("id", &format!("eq.\"{id}\""), &format!("\"{id}\"")),
        ("id", &format!("in.({id}, {id})"), &format!(" {id}")),
        ("or", "(created_at.gt.2026-01-01T00:00:00Z,id.gt.9223372036854775807)", "9223372036854775807"),
    ] {
        let answer = bench.get(&[(name, filter)]).await;
        let message = format!("invalid input syntax for type uuid: \"{literal}\"");
        assert_eq!(answer.error(), (400, "22P02", message.as_str()), "{filter}");
    }
    let other = format!("eq.{{{}}}", id.to_uppercase());
    assert_eq!(bench.get(&[("id", other.as_str())]).await.ids(), [id], "another spelling of the uuid");
}

#[tokio::test]
async fn a_client_that_does_not_quote_gets_other_rows() {
    let bench = Bench::start(IdType::Text).await;
    bench.supabase.insert_values([("id".to_owned(), json!("a,b"))].into_iter().collect());
    bench.supabase.insert_values([("id".to_owned(), json!("a"))].into_iter().collect());
    bench.supabase.insert_values([("id".to_owned(), json!("c(d"))].into_iter().collect());
    assert_eq!(bench.get(&[("id", "in.(a,b)")]).await.ids(), ["a"]);
    assert_eq!(bench.get(&[("id", "in.(\"a,b\")")]).await.ids(), ["a,b"]);
    assert_eq!(bench.get(&[("or", "(id.eq.c(d),id.eq.a)")]).await.ids(), ["c(d"], "the rest is ignored");
    assert_eq!(bench.get(&[("or", "(id.eq.\"c(d\",id.eq.a)")]).await.ids(), ["a", "c(d"]);
}

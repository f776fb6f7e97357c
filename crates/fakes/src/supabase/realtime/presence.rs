//! Who is present on a topic.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};

/// One presence of a client.
#[derive(Debug, Clone)]
struct Presence {
    session: u64,
    meta: Value,
}

/// Presences by topic and by key.
#[derive(Debug, Default)]
pub(super) struct Presences {
    topics: HashMap<String, BTreeMap<String, Vec<Presence>>>,
    references: u64,
}

impl Presences {
    /// Returns everybody who is present on a topic.
    pub(super) fn state(&self, topic: &str) -> Value {
        let keys = self.topics.get(topic).into_iter().flatten();
        let metas = |presences: &[Presence]| presences.iter().map(|one| one.meta.clone()).collect::<Vec<_>>();
        keys.map(|(key, presences)| (key.clone(), json!({"metas": metas(presences)}))).collect()
    }

    /// Makes a client present, or changes what it tells of itself. Returns the difference, or `None` when
    /// there is none.
    pub(super) fn track(&mut self, topic: &str, key: &str, session: u64, told: &Value) -> Option<Value> {
        self.references += 1;
        let reference = format!("local-{}", self.references);
        let presences = self.topics.entry(topic.to_owned()).or_default().entry(key.to_owned()).or_default();
        let mut meta = told.clone();
        meta["phx_ref"] = reference.into();
        let one = |meta: &Value| json!({key: {"metas": [meta]}});
        match presences.iter_mut().find(|one| one.session == session) {
            None => {
                presences.push(Presence { session, meta: meta.clone() });
                Some(json!({"joins": one(&meta), "leaves": {}}))
            }
            Some(known) => {
                let mut before = known.meta.clone();
                let earlier = before["phx_ref"].clone();
                if let Value::Object(fields) = &mut before {
                    fields.retain(|name, _| name != "phx_ref" && name != "phx_ref_prev");
                }
                if before == *told {
                    return None;
                }
                meta["phx_ref_prev"] = earlier;
                let left = std::mem::replace(&mut known.meta, meta.clone());
                Some(json!({"joins": one(&meta), "leaves": one(&left)}))
            }
        }
    }

    /// Ends a client's presence on a topic. Returns the difference, or `None` when it was not present.
    pub(super) fn untrack(&mut self, topic: &str, key: &str, session: u64) -> Option<Value> {
        let keys = self.topics.get_mut(topic)?;
        let presences = keys.get_mut(key)?;
        let place = presences.iter().position(|one| one.session == session)?;
        let left = presences.remove(place).meta;
        if presences.is_empty() {
            keys.remove(key);
        }
        Some(json!({"joins": {}, "leaves": {key: {"metas": [left]}}}))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_comes_changes_and_goes() {
        let mut presences = Presences::default();
        let joined = presences.track("a", "me", 1, &json!({"mood": "good"})).expect("a difference");
        assert_eq!(joined["joins"]["me"]["metas"][0]["mood"], "good");
        assert!(presences.track("a", "me", 1, &json!({"mood": "good"})).is_none(), "nothing new");
        let changed = presences.track("a", "me", 1, &json!({"mood": "bad"})).expect("a difference");
        assert_eq!(changed["leaves"]["me"]["metas"][0]["mood"], "good");
        assert_eq!(
            changed["joins"]["me"]["metas"][0]["phx_ref_prev"],
            joined["joins"]["me"]["metas"][0]["phx_ref"]
        );
        presences.track("a", "me", 2, &json!({"mood": "other"}));
        assert_eq!(presences.state("a")["me"]["metas"].as_array().map(Vec::len), Some(2));
        assert!(presences.untrack("b", "me", 1).is_none());
        presences.untrack("a", "me", 2);
        let left = presences.untrack("a", "me", 1).expect("a difference");
        assert_eq!(
            (&left["leaves"]["me"]["metas"][0]["mood"], presences.state("a")),
            (&json!("bad"), json!({}))
        );
    }
}

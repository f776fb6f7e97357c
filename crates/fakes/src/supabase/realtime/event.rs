//! Payloads of changes.

use serde_json::{Map, Value, json};

use super::super::Shared;
use super::super::keys::Role;
use super::super::postgres::column::COLUMNS;
use super::super::table::{ChangeKind, Commit, Record, commit_timestamp};
use super::binding::Binding;

/// Size in bytes above which a change loses its long values.
const MAX_CHANGE_BYTES: usize = 1 << 20;
/// Size in bytes up to which a value stays in a change that is too large.
const MAX_VALUE_BYTES: usize = 64;

/// Returns the payloads of a change's events: one for each selection of columns that a subscription of
/// the channel has, and none when no subscription asks for the change.
pub(super) fn row_events(shared: &Shared, bindings: &[Binding], role: Role, commit: &Commit) -> Vec<Value> {
    let kind = commit.kind;
    let identity = commit.old.as_ref().map(|old| identity(shared, old));
    // A deletion is judged by the columns that the log has of the row.
    let judged = match (kind, &identity) {
        (ChangeKind::Delete, Some(identity)) => identity,
        _ => &commit.record,
    };
    let wanting: Vec<_> = bindings.iter().filter(|binding| binding.wants(kind, judged)).collect();
    let mut selections: Vec<Option<&[String]>> = Vec::new();
    for binding in &wanting {
        if !selections.contains(&binding.select.as_deref()) {
            selections.push(binding.select.as_deref());
        }
    }
    let event = |select: Option<&[String]>| {
        let ids =
            wanting.iter().filter(|binding| binding.select.as_deref() == select).map(|binding| binding.id);
        json!({"ids": ids.collect::<Vec<_>>(), "data": data(shared, role, commit, identity.as_ref(), select)})
    };
    selections.into_iter().map(event).collect()
}

fn data(
    shared: &Shared,
    role: Role,
    commit: &Commit,
    identity: Option<&Record>,
    select: Option<&[String]>,
) -> Value {
    let (options, kind) = (&shared.options, commit.kind);
    let selected = |record: &Record| {
        let sent = record.iter().filter(|(name, _)| Binding::sends(select, name));
        Value::Object(sent.map(|(name, value)| (name.clone(), value.clone())).collect())
    };
    let types = COLUMNS
        .into_iter()
        .filter(|name| Binding::sends(select, name))
        .filter_map(|name| Some(json!({"name": name, "type": shared.columns().kind(name)?.catalog_name()})));
    let mut data = json!({
        "schema": options.schema, "table": options.table, "type": kind.name(), "errors": null,
        "commit_timestamp": commit_timestamp(commit.at), "columns": types.collect::<Vec<_>>(),
    });
    if kind != ChangeKind::Delete {
        data["record"] = selected(&commit.record);
    }
    match (kind, identity) {
        // No policy can be checked for a row that is gone.
        (ChangeKind::Delete, Some(identity)) if options.row_level_security => {
            data["old_record"] = json!({"id": identity["id"]});
        }
        (_, Some(identity)) => data["old_record"] = selected(identity),
        (_, None) => {}
    }
    let records = ["record", "old_record"].map(|name| data[name].is_object().then_some(name));
    let records: Vec<_> = records.into_iter().flatten().collect();
    let barred = shared.faults.revoked() && role != Role::Service;
    if barred && kind == ChangeKind::Delete {
        // Without a privilege there are no columns to tell of, and this is no error.
        data["columns"] = Value::Null;
        data["old_record"] = Value::Null;
    } else if barred || shared.faults.events_broken() {
        data["errors"] = json!(["Error 401: Unauthorized"]);
        data["columns"] = json!([]);
        records.iter().for_each(|name| data[*name] = json!({}));
        data["commit_timestamp"] = Value::Null;
    } else if records.iter().map(|name| data[*name].to_string().len()).sum::<usize>() > MAX_CHANGE_BYTES {
        data["errors"] = json!(["Error 413: Payload Too Large"]);
        for name in records {
            let Value::Object(record) = data[name].take() else { continue };
            let short = |value: &Value| value.to_string().len() <= MAX_VALUE_BYTES;
            let kept: Map<_, _> = record.into_iter().filter(|(_, value)| short(value)).collect();
            data[name] = Value::Object(kept);
        }
    }
    data
}

/// Returns the columns of the row before a change that the log has: the primary key, or all of them with
/// `replica identity full`.
fn identity(shared: &Shared, old: &Record) -> Record {
    let logged = old.iter().filter(|(name, _)| shared.options.full_replica_identity || *name == "id");
    logged.map(|(name, value)| (name.clone(), value.clone())).collect()
}

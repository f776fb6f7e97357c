//! A joined channel: its subscriptions, its position in the commit log, and the payloads for it.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::Shared;
use super::filter::Filter;
use super::frame::Frame;
use super::keys::Role;
use super::primary_key::IdType;
use super::table::{COLUMNS, ChangeKind, Commit, Record, catalog_type, commit_timestamp};

/// Size in bytes above which a change loses its long values.
const MAX_CHANGE_BYTES: usize = 1 << 20;
/// Size in bytes up to which a value stays in a change that is too large.
const MAX_VALUE_BYTES: usize = 64;

/// A joined channel of one socket.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) join_ref: Value,
    /// Token that authenticates the channel: its own, or the connection's key.
    pub(super) token: String,
    pub(super) bindings: Vec<Binding>,
    pub(super) stage: Stage,
}

/// State of a channel's subscription to row changes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stage {
    /// The channel has joined, and `Subscribed to PostgreSQL` follows at this time.
    Subscribing { ready: Instant },
    /// The channel receives rows from this position of the commit log on.
    Live { position: usize },
    /// The channel receives no rows: it joined without row changes, or its subscription failed. The
    /// server doesn't try again.
    Deaf,
}

/// One entry of `postgres_changes` in a join.
#[derive(Debug)]
pub(super) struct Binding {
    id: u32,
    /// The entry exactly as the client sent it, plus `id`.
    pub(super) echo: Value,
    /// Conditions that a row must satisfy to be sent.
    filters: Vec<Filter>,
}

/// Parses the entries of a join's payload. The error is the server's message about a malformed
/// filter. An entry's id is a hash of the entry, so the same entry always has the same id.
pub(super) fn bindings(id_type: IdType, payload: &Value) -> Result<Vec<Binding>, String> {
    let entries = payload.pointer("/config/postgres_changes").and_then(Value::as_array);
    entries.into_iter().flatten().map(|entry| Binding::of(id_type, entry)).collect()
}

impl Binding {
    fn of(id_type: IdType, entry: &Value) -> Result<Self, String> {
        let hash = Sha256::digest(entry.to_string());
        let id = u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]) & ((1 << 27) - 1);
        let mut echo = entry.clone();
        if let Value::Object(keys) = &mut echo {
            keys.insert("id".to_owned(), id.into());
        }
        let text = entry.get("filter").and_then(Value::as_str).filter(|text| !text.is_empty());
        let filters = text.map_or_else(|| Ok(Vec::new()), |text| filters(id_type, text))?;
        Ok(Self { id, echo, filters })
    }

    fn wants(&self, kind: ChangeKind, schema: &str, table: &str, row: &Record) -> bool {
        let matches = |key: &str, default: &str, wanted: &str| {
            let value = self.echo.get(key).and_then(Value::as_str).unwrap_or(default);
            value == "*" || value == wanted
        };
        matches("event", "*", kind.name())
            && matches("schema", "public", schema)
            && matches("table", "*", table)
            && self.filters.iter().all(|filter| filter.matches(row))
    }
}

/// Parses filters of the form `column=op.value`, separated by commas. The commas inside `in.(a,b)`
/// do not separate filters.
fn filters(id_type: IdType, text: &str) -> Result<Vec<Filter>, String> {
    let parts = members(text).unwrap_or_else(|| vec![text]);
    let parse =
        |part: &str| part.split_once('=').and_then(|(name, test)| Filter::parse(id_type, name, test).ok());
    let parsed: Option<Vec<_>> = parts.into_iter().map(parse).collect();
    parsed.ok_or_else(|| format!("Error parsing 'filter' params: {text}"))
}

/// Splits a text at its commas, but not at those within quotes or parentheses.
fn members(text: &str) -> Option<Vec<&str>> {
    let (mut members, mut begin, mut depth, mut quoted, mut escaped) = (Vec::new(), 0, 0_usize, false, false);
    for (place, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if quoted => {}
            '(' => depth += 1,
            ')' => depth = depth.checked_sub(1)?,
            ',' if depth == 0 => {
                members.push(&text[begin..place]);
                begin = place + 1;
            }
            _ => {}
        }
    }
    members.push(&text[begin..]);
    (!quoted && depth == 0).then_some(members)
}

impl Channel {
    /// Returns a `phx_close` frame with the reference of this channel's join.
    pub(super) fn closed(&self, topic: &str) -> Frame {
        let mut frame = Frame::push(&self.join_ref, topic, "phx_close", json!({}));
        frame.reference = self.join_ref.clone();
        frame
    }

    /// Returns a `system` frame on this channel. Its `channel` is the topic without the prefix
    /// `realtime:`.
    pub(super) fn system(&self, topic: &str, mut payload: Value) -> Frame {
        payload["channel"] = topic.strip_prefix("realtime:").unwrap_or(topic).into();
        Frame::push(&self.join_ref, topic, "system", payload)
    }

    /// Returns the server's message for a table that is not in the publication.
    pub(super) fn unable(&self) -> String {
        let entry = self.bindings.first().map(|binding| &binding.echo);
        let name = |key| entry.and_then(|entry| entry.get(key)).and_then(Value::as_str).unwrap_or("*");
        format!(
            "Unable to subscribe to changes with given parameters. Please check Realtime is enabled for the \
             given connect parameters: [event: {}, schema: {}, table: {}, filters: [], select: nil]",
            name("event"),
            name("schema"),
            name("table"),
        )
    }
}

/// Returns the payload of a `system` message, without its channel.
pub(super) fn system(extension: &str, status: &str, message: &str) -> Value {
    json!({"extension": extension, "status": status, "message": message})
}

/// Returns the payload of a change's event, or `None` when no entry of the channel asks for it.
pub(super) fn row_event(
    shared: &Shared,
    channel: &Channel,
    role: Option<Role>,
    commit: &Commit,
) -> Option<Value> {
    let (schema, table, kind) = (&shared.options.schema, &shared.options.table, commit.kind);
    let wanting =
        channel.bindings.iter().filter(|binding| binding.wants(kind, schema, table, &commit.record));
    let ids: Vec<_> = wanting.map(|binding| binding.id).collect();
    if ids.is_empty() {
        return None;
    }
    let mut data = json!({
        "schema": schema, "table": table, "type": kind.name(), "errors": null,
        "commit_timestamp": commit_timestamp(commit.at),
        "columns": COLUMNS.map(|name| json!({"name": name, "type": catalog_type(shared.options.id_type, name)})),
    });
    if kind != ChangeKind::Delete {
        data["record"] = json!(commit.record);
    }
    if let Some(old) = &commit.old {
        data["old_record"] = json!(known_before(shared, kind, old));
    }
    let records = ["record", "old_record"].map(|name| data[name].is_object().then_some(name));
    let records: Vec<_> = records.into_iter().flatten().collect();
    let barred = shared.faults.revoked() && role != Some(Role::Service);
    if barred || shared.faults.events_broken() {
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
    Some(json!({"ids": ids, "data": data}))
}

/// Returns the columns of the row before a change that the server knows: the primary key, or all of
/// them with `replica identity full`. With row-level security, a delete shows only the key, because
/// no policy can be checked for a row that is gone.
fn known_before(shared: &Shared, kind: ChangeKind, old: &Record) -> Record {
    let options = &shared.options;
    let whole = options.full_replica_identity && !(kind == ChangeKind::Delete && options.row_level_security);
    old.iter()
        .filter(|(name, _)| whole || *name == "id")
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

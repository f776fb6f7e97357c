//! SQL that prepares a Supabase project: table, permissions, publication and webhook.
//!
//! Writes SQL for a person to run; never runs it. Names are quoted, so any table name is safe.

use url::Url;

use super::access::TableAccess;

/// Returns SQL that creates the table, as the app writes it and the worker reads it. Harmless when
/// the table exists.
pub fn table(access: &TableAccess) -> String {
    let name = qualified(access);
    let [id, typo, corrected, domain, created_at] = access.columns.names().map(quoted);
    format!(
        "create table if not exists {name} (\n  \
           {id} bigint generated always as identity primary key,\n  \
           {typo} text not null,\n  \
           {corrected} text not null,\n  \
           {domain} text not null,\n  \
           {created_at} timestamptz not null default now()\n\
         );"
    )
}

/// Returns SQL that adds the missing columns, except for the id, and makes PostgREST reload its
/// schema. Harmless when no column is missing.
pub fn columns(access: &TableAccess) -> String {
    let name = qualified(access);
    let [_, typo, corrected, domain, created_at] = access.columns.names().map(quoted);
    format!(
        "alter table {name}\n  \
           add column if not exists {typo} text not null default '',\n  \
           add column if not exists {corrected} text not null default '',\n  \
           add column if not exists {domain} text not null default '',\n  \
           add column if not exists {created_at} timestamptz not null default now();\n\
         notify pgrst, 'reload schema';"
    )
}

/// Returns SQL that lets the `anon` role read, whether row level security is on or off. A
/// `service_role` key needs none of this.
///
/// The SQL never turns row level security on: on a table without it, that would lock out the app,
/// which inserts.
pub fn policies(access: &TableAccess) -> String {
    let name = qualified(access);
    let policy = quoted(&format!("{} readable by the trainer", access.table));
    format!(
        "grant usage on schema {schema} to anon;\n\
         grant select on {name} to anon;\n\
         drop policy if exists {policy} on {name};\n\
         create policy {policy} on {name} for select to anon using (true);",
        schema = quoted(&access.schema),
    )
}

/// Returns SQL that lets the `anon` role insert, as the app does, and turns row level security on,
/// so that the database refuses everything that no policy allows. For a new table only: a table in
/// use may have readers and writers that need policies of their own.
pub fn protection(access: &TableAccess) -> String {
    let name = qualified(access);
    let policy = quoted(&format!("{} writable by the app", access.table));
    format!(
        "grant insert on {name} to anon;\n\
         drop policy if exists {policy} on {name};\n\
         create policy {policy} on {name} for insert to anon with check (true);\n\
         alter table {name} enable row level security;"
    )
}

/// Returns SQL that adds the table to the publication that Realtime reads. Harmless when the table
/// is already in it.
pub fn publication(access: &TableAccess) -> String {
    let name = qualified(access);
    format!(
        "do $$ begin\n  \
           alter publication supabase_realtime add table {name};\n\
         exception when duplicate_object then null;\n\
         end $$;"
    )
}

/// Returns SQL that calls `endpoint` for every new row, with the secret in the header `header`. The
/// secret is a placeholder: replace it with the value of `WEBHOOK_SECRET`.
pub fn webhook(access: &TableAccess, endpoint: &Url, header: &str) -> String {
    let name = qualified(access);
    let headers = serde_json::json!({"Content-Type": "application/json", header: "<WEBHOOK_SECRET>"});
    format!(
        "drop trigger if exists notify_trainer on {name};\n\
         create trigger notify_trainer after insert on {name} for each row\n\
         execute function supabase_functions.http_request({url}, 'POST', {headers}, '{{}}', '5000');",
        url = literal(endpoint.as_str()),
        headers = literal(&headers.to_string()),
    )
}

/// Returns SQL that calls `endpoint` once an hour, with the secret in the header `header`, so that
/// the database keeps time for a worker that sleeps. The secret is a placeholder, as in
/// [`webhook`]. Running it again replaces the job.
pub fn tick(endpoint: &Url, header: &str) -> String {
    let headers = serde_json::json!({"Content-Type": "application/json", header: "<WEBHOOK_SECRET>"});
    let call = format!(
        "select net.http_post(url := {url}, headers := {headers}::jsonb, body := '{{}}'::jsonb, timeout_milliseconds := 10000)",
        url = literal(endpoint.as_str()),
        headers = literal(&headers.to_string()),
    );
    format!(
        "create extension if not exists pg_cron;\n\
         create extension if not exists pg_net;\n\
         select cron.schedule('autovalidate-tick', '7 * * * *', {call});",
        call = literal(&call),
    )
}

fn qualified(access: &TableAccess) -> String {
    format!("{}.{}", quoted(&access.schema), quoted(&access.table))
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_new_table_gets_row_level_security() {
        let url = Url::parse("https://example.org").expect("an address");
        let access = TableAccess::new(url, "key".to_owned().into());
        assert!(!policies(&access).contains("enable row level security"));
        // Once row level security is on, the app must still be allowed to insert.
        let (insert, enable) = ("for insert to anon", "enable row level security");
        let protection = protection(&access);
        assert!(protection.find(insert).is_some_and(|place| protection.find(enable) > Some(place)));
    }

    #[test]
    fn names_can_not_break_out_of_their_quotes() {
        let url = Url::parse("https://example.org").expect("an address");
        let mut access = TableAccess::new(url, "key".to_owned().into());
        access.table = r#"a"; drop table b; --"#.to_owned();
        let name = r#""public"."a""; drop table b; --""#;
        assert!(table(&access).contains(name) && publication(&access).contains(name));
        assert!(policies(&access).contains(name) && protection(&access).contains(name));
        assert_eq!(literal("it's"), "'it''s'");
    }
}

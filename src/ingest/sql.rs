//! SQL that prepares a Supabase project: table, permissions, publication, and the calls that wake
//! the worker.
//!
//! Writes SQL for a person to run; never runs it. Names are quoted, so any table name is safe.

use url::Url;

use super::access::TableAccess;

/// Text that stands for the secret until a person replaces it.
pub const SECRET_PLACEHOLDER: &str = "<WEBHOOK_SECRET>";

/// Returns SQL that creates the table, as the app writes it and the worker reads it. Harmless when
/// the table exists.
pub fn table(access: &TableAccess) -> String {
    let name = qualified(access);
    let [id, typo, corrected, domain, _] = access.columns.names().map(quoted);
    let created_at = created_at(access, "");
    format!(
        "create table if not exists {name} (\n  \
           {id} bigint generated always as identity primary key,\n  \
           {typo} text not null,\n  \
           {corrected} text not null,\n  \
           {domain} text not null{created_at}\n\
         );"
    )
}

/// Returns SQL that adds the missing columns, except for the id, and makes PostgREST reload its
/// schema. Harmless when no column is missing.
pub fn columns(access: &TableAccess) -> String {
    let name = qualified(access);
    let [_, typo, corrected, domain, _] = access.columns.names().map(quoted);
    let created_at = created_at(access, "add column if not exists ");
    format!(
        "alter table {name}\n  \
           add column if not exists {typo} text not null default '',\n  \
           add column if not exists {corrected} text not null default '',\n  \
           add column if not exists {domain} text not null default ''{created_at};\n\
         notify pgrst, 'reload schema';"
    )
}

/// Returns SQL that lets the `service_role` read, for a worker with a service key. Newer projects
/// grant no role anything on a new table. The role passes policies by, so it needs none.
pub fn service_grants(access: &TableAccess) -> String {
    format!(
        "grant usage on schema {schema} to service_role;\n\
         grant select on {name} to service_role;",
        schema = quoted(&access.schema),
        name = qualified(access),
    )
}

/// Returns SQL that lets the `anon` role read, whether row level security is on or off. Anybody who
/// has the app's key can then read every row, so a `service_role` key is better.
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

/// Returns the name of the policy by which the app inserts into a table that [`protection`] protects.
pub fn app_policy(access: &TableAccess) -> String {
    format!("{} writable by the app", access.table)
}

/// Returns SQL that lets the app insert, with and without a signed-in user (`authenticated` and
/// `anon`), and turns row level security on, so that the database refuses everything that no policy
/// allows. For a new table only: a table in use may have readers and writers that need policies of
/// their own.
///
/// What a project grants by default is taken back first: a role without `delete` can't delete even
/// where a later policy would let it.
pub fn protection(access: &TableAccess) -> String {
    let name = qualified(access);
    let policy = quoted(&app_policy(access));
    format!(
        "grant usage on schema {schema} to anon, authenticated;\n\
         revoke all on {name} from anon, authenticated;\n\
         grant insert on {name} to anon, authenticated;\n\
         drop policy if exists {policy} on {name};\n\
         create policy {policy} on {name} for insert to anon, authenticated with check (true);\n\
         alter table {name} enable row level security;",
        schema = quoted(&access.schema),
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

/// Returns SQL by which the database calls the worker: `webhook` for every new row, and `tick` once
/// an hour, so that it keeps time for a worker that sleeps. Running it again replaces both.
///
/// The secret goes into the header `header`. It is a placeholder: replace it with the value of
/// `WEBHOOK_SECRET`. PostgreSQL does the quoting, because a trigger with headers that are no JSON
/// would make every insert of the app fail.
pub fn calls(access: &TableAccess, webhook: &Url, tick: &Url, header: &str) -> String {
    let name = qualified(access);
    let body = format!(
        "declare\n  \
           secret text := $secret${SECRET_PLACEHOLDER}$secret$;\n  \
           headers text := jsonb_build_object('Content-Type', 'application/json', {header}, secret);\n\
         begin\n  \
           if secret = '' or secret like '<%>' then\n    \
             raise exception 'put the value of WEBHOOK_SECRET in its place';\n  \
           end if;\n  \
           if to_regproc('supabase_functions.http_request') is null then\n    \
             raise exception 'enable Database Webhooks in the project first';\n  \
           end if;\n  \
           drop trigger if exists notify_trainer on {name};\n  \
           execute format(\n    \
             'create trigger notify_trainer after insert or update or delete on %s for each row '\n    \
             'execute function supabase_functions.http_request(%L, ''POST'', %L, ''{{}}'', ''5000'')',\n    \
             {table}, {webhook}, headers);\n  \
           perform cron.schedule({job}, '7 * * * *', format(\n    \
             'select net.http_post(url := %L, headers := %L::jsonb, body := ''{{}}''::jsonb, '\n    \
             'timeout_milliseconds := 10000)',\n    \
             {tick}, headers));\n\
         end",
        header = literal(header),
        table = literal(&name),
        webhook = literal(webhook.as_str()),
        // Each table has a worker and a job of its own.
        job = literal(&format!("autovalidate-tick {}.{}", access.schema, access.table)),
        tick = literal(tick.as_str()),
    );
    format!(
        "create extension if not exists pg_cron with schema pg_catalog;\n\
         create extension if not exists pg_net with schema extensions;\n\
         do {body};",
        body = dollar_quoted(&body),
    )
}

/// Returns a further line for the column of the time of the insert, for a table that is to have one.
fn created_at(access: &TableAccess, before: &str) -> String {
    match access.columns.created_at.as_str() {
        "" => String::new(),
        name => format!(",\n  {before}{} timestamptz not null default now()", quoted(name)),
    }
}

/// Returns the name of the table in SQL, with its schema.
pub fn qualified(access: &TableAccess) -> String {
    format!("{}.{}", quoted(&access.schema), quoted(&access.table))
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Quotes a block of code, with a tag that does not occur in it.
fn dollar_quoted(code: &str) -> String {
    let mut tag = "$call$".to_owned();
    while code.contains(&tag) {
        tag.insert(1, 'x');
    }
    format!("{tag}\n{code}\n{tag}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access() -> TableAccess {
        let url = Url::parse("https://example.org").expect("an address");
        TableAccess::new(url, "key".to_owned().into())
    }

    fn calls_of(access: &TableAccess) -> String {
        let webhook = Url::parse("https://app.example/hooks/supabase").expect("an address");
        let tick = Url::parse("https://app.example/hooks/tick").expect("an address");
        calls(access, &webhook, &tick, "x-webhook-secret")
    }

    #[test]
    fn only_a_new_table_gets_row_level_security() {
        let access = access();
        assert!(!policies(&access).contains("enable row level security"));
        // Once row level security is on, the app must still be allowed to insert.
        let (insert, enable) = ("for insert to anon, authenticated", "enable row level security");
        let protection = protection(&access);
        assert!(protection.find(insert).is_some_and(|place| protection.find(enable) > Some(place)));
    }

    #[test]
    fn a_table_without_the_time_of_the_insert_gets_no_such_column() {
        let mut access = access();
        assert!(columns(&access).contains("add column if not exists \"created_at\" timestamptz"));
        assert!(table(&access).contains("\"created_at\" timestamptz"));
        access.columns.created_at = String::new();
        assert!(!columns(&access).contains("timestamptz") && !table(&access).contains("timestamptz"));
    }

    #[test]
    fn names_can_not_break_out_of_their_quotes() {
        let mut access = access();
        access.table = r#"a"; drop table b; --"#.to_owned();
        let name = r#""public"."a""; drop table b; --""#;
        assert!(table(&access).contains(name) && publication(&access).contains(name));
        assert!(policies(&access).contains(name) && protection(&access).contains(name));
        assert!(service_grants(&access).contains(name));
        assert_eq!(literal("it's"), "'it''s'");
        access.table = "a$call$ 'b' $xcall$".to_owned();
        let calls = calls_of(&access);
        assert!(calls.contains("do $xxcall$\n") && calls.ends_with("\n$xxcall$;"), "{calls}");
        assert!(calls.contains("'autovalidate-tick public.a$call$ ''b'' $xcall$'"), "{calls}");
    }

    /// Supabase refuses the extensions in other schemas, and the secret must be quoted by
    /// PostgreSQL: as plain text in a trigger's arguments, a quote in it would break the app's
    /// inserts.
    #[test]
    fn the_calls_hold_the_secret_once_and_quoted() {
        let calls = calls_of(&access());
        for part in [
            "create extension if not exists pg_cron with schema pg_catalog;",
            "create extension if not exists pg_net with schema extensions;",
            "secret text := $secret$<WEBHOOK_SECRET>$secret$;",
            "jsonb_build_object('Content-Type', 'application/json', 'x-webhook-secret', secret)",
            "http_request(%L, ''POST'', %L, ''{}'', ''5000'')",
            "http_post(url := %L, headers := %L::jsonb, body := ''{}''::jsonb, ",
            "'https://app.example/hooks/supabase', headers)",
            "'https://app.example/hooks/tick', headers)",
        ] {
            assert!(calls.contains(part), "{part} is missing in:\n{calls}");
        }
        assert_eq!(calls.matches(SECRET_PLACEHOLDER).count(), 1);
    }
}

//! `init --apply` on a real PostgreSQL.

use std::process::Output;

use super::{ACCOUNTS, init, succeeded};
use crate::support::certificate;
use crate::support::postgres::Postgres;

const PASSWORD: (&str, &str) = ("PGPASSWORD", "s3cr3t-password");

fn refused(output: &Output) -> String {
    let told = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(!told.contains("s3cr3t"), "{told}");
    told
}

#[test]
fn the_sql_runs_twice_with_the_secret_and_all_of_it_or_nothing() {
    let Some(server) = Postgres::start(None) else { return };
    let folder = tempfile::tempdir().unwrap();
    let url = server.url();
    let apply = |more: &[&str]| {
        let arguments = [&ACCOUNTS[..], &["--no-fly", "--apply", &url], more].concat();
        init(folder.path(), &arguments, &[PASSWORD])
    };
    let told = succeeded(&apply(&["--webhook", "https://x.example/hooks/supabase"]));
    assert!(
        told.contains("applied    the SQL, on localhost/postgres\n") && !told.contains("s3cr3t"),
        "{told}"
    );
    let env = std::fs::read_to_string(folder.path().join(".env")).unwrap();
    let secret = env.lines().find_map(|line| line.strip_prefix("WEBHOOK_SECRET=")).unwrap();
    let trigger = "select pg_get_triggerdef(oid) from pg_trigger where tgname = 'notify_trainer'";
    assert!(server.sql(trigger).contains(secret), "the database shows the secret of .env");
    let job = "select jobname, command from cron.job";
    assert!(server.sql(job).contains("https://x.example/hooks/tick"));
    let state = [
        trigger,
        job,
        "select count(*) from pg_policies",
        "select string_agg(acl::text, ' ' order by acl::text) from pg_class, unnest(relacl) acl where relname = 'typo_training_dataset'",
    ];
    let before = state.map(|question| server.sql(question));
    let told = succeeded(&apply(&["--webhook", "https://x.example/hooks/supabase"]));
    assert!(told.contains("unchanged  supabase/migrations/"), "{told}");
    assert_eq!(state.map(|question| server.sql(question)), before);

    // A part that fails takes back the parts before it.
    server.sql("drop schema supabase_functions cascade");
    let told = refused(&apply(&["--table", "other", "--webhook", "https://x.example/hooks/supabase"]));
    assert!(
        told.contains("enable Database Webhooks in the project first")
            && told.contains("nothing was changed"),
        "{told}"
    );
    assert_eq!(server.sql("select count(*) from pg_class where relname = 'other'"), "0");
}

#[test]
fn a_table_of_others_keeps_its_privileges() {
    let Some(server) = Postgres::start(None) else { return };
    let folder = tempfile::tempdir().unwrap();
    server.sql("create table typos (id bigint primary key, typo text, corrected text, domain text); grant all on typos to anon;");
    let url = server.url();
    let arguments = [&ACCOUNTS[..], &["--no-fly", "--table", "typos", "--apply", &url]].concat();
    let told = refused(&init(folder.path(), &arguments, &[PASSWORD]));
    assert!(told.contains("public.typos exists") && told.contains("--existing-table"), "{told}");
    let may = "select has_table_privilege('anon', 'typos', 'delete'), has_table_privilege('service_role', 'typos', 'select')";
    assert_eq!(server.sql(may), "t|f");
    succeeded(&init(folder.path(), &[&arguments[..], &["--existing-table"]].concat(), &[PASSWORD]));
    assert_eq!(server.sql(may), "t|t");
    assert_eq!(server.sql("select relrowsecurity from pg_class where relname = 'typos'"), "f");
}

#[test]
fn a_server_is_known_by_its_certificate() {
    let certificates = tempfile::tempdir().unwrap();
    let (certificate, key) = certificate::certificate(certificates.path());
    let Some(server) = Postgres::start(Some((&certificate, &key))) else { return };
    let folder = tempfile::tempdir().unwrap();
    let apply = |more: &str, password: &str| {
        let url = format!("{}?{more}", server.url());
        init(
            folder.path(),
            &[&ACCOUNTS[..], &["--no-fly", "--apply", &url]].concat(),
            &[("PGPASSWORD", password)],
        )
    };
    let told = refused(&apply("sslmode=require", PASSWORD.1));
    assert!(told.contains("certificate") && told.contains("sslrootcert"), "{told}");
    refused(&apply("sslmode=disable", PASSWORD.1));
    let with = format!("sslmode=verify-full&sslrootcert={}", certificate.display());
    let told = refused(&apply(&with, "s3cr3t-but-wrong"));
    assert!(told.contains("password authentication failed"), "{told}");
    succeeded(&apply(&with, PASSWORD.1));
    assert_eq!(server.sql("select count(*) from pg_class where relname = 'typo_training_dataset'"), "1");
}

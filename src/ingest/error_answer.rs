//! An answer instead of rows: its kind, the server's own words, and the advice for its kind.

use std::fmt;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, LOCATION};
use secrecy::ExposeSecret;
use url::Url;

use super::access::TableAccess;
use super::answer_kind::AnswerKind;
use super::page_size::SmallerPage;
use super::server_message::ServerMessage;
use super::sql;
use crate::failure::{Failure, RetryDirective};
use crate::retry::retry_after;

/// An answer instead of rows, with the server's own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorAnswer {
    /// Kind of the answer.
    pub kind: AnswerKind,
    /// HTTP status.
    pub status: u16,
    /// The server's own words.
    pub said: ServerMessage,
    /// Wait that the service asks for.
    pub retry_after: Option<Duration>,
    advice: String,
}

impl fmt::Display for ErrorAnswer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} (HTTP {}", self.kind, self.status)?;
        if let Some(code) = &self.said.code {
            write!(formatter, ", code {code}")?;
        }
        match self.said.message {
            Some(_) => write!(formatter, "): {}", self.said),
            None => formatter.write_str(")"),
        }
    }
}

impl std::error::Error for ErrorAnswer {}

impl ErrorAnswer {
    /// Sorts an answer that is not a success, or is a web page.
    pub(crate) fn new(access: &TableAccess, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let (status, key) = (status.as_u16(), access.key.expose_secret());
        let said = ServerMessage::of_json(body, key);
        let kind = AnswerKind::of(status, said.as_ref());
        let said = said.unwrap_or_else(|| ServerMessage::of_page(body, key));
        let location = headers.get(LOCATION).and_then(|value| value.to_str().ok());
        let advice = advice(kind, access, location);
        Self { kind, status, said, retry_after: retry_after(headers), advice }
    }

    /// Returns the remedy of a smaller page.
    pub(super) fn smaller_page(&self) -> SmallerPage {
        self.kind.smaller_page()
    }
}

impl Failure for ErrorAnswer {
    fn directive(&self) -> RetryDirective {
        self.kind.directive()
    }

    fn advice(&self) -> String {
        self.advice.clone()
    }
}

fn advice(kind: AnswerKind, access: &TableAccess, location: Option<&str>) -> String {
    const KEYS: &str = "Project Settings > API Keys";
    match kind {
        AnswerKind::KeyRefused => {
            format!("Check SUPABASE_SERVICE_KEY or SUPABASE_ANON_KEY against {KEYS} of the project in SUPABASE_URL.")
        }
        AnswerKind::LegacyKeysDisabled => format!(
            "Set SUPABASE_SERVICE_KEY to a secret key (sb_secret_...), or SUPABASE_ANON_KEY to a publishable key, \
             from {KEYS}. The keys that begin with eyJ no longer work in this project."
        ),
        AnswerKind::KeyExpired => format!(
            "Set SUPABASE_SERVICE_KEY or SUPABASE_ANON_KEY to a key from {KEYS}. A user's token is no key for a \
             worker: it expires after an hour."
        ),
        AnswerKind::KeyFromFuture => {
            "Check the clocks of the machine that made the key and of the database. The worker tries again; the \
             key becomes valid once the service's clock has reached its time."
                .to_owned()
        }
        AnswerKind::KeyInvalid => format!(
            "Copy the whole key again from {KEYS} of the project in SUPABASE_URL. A key of another project, or \
             one from before its JWT secret was changed, is not valid."
        ),
        AnswerKind::NotPermitted if access.bypasses_policies() => {
            format!(
                "Run in the SQL editor; new tables give no role any permission by themselves:\n{}",
                sql::service_grants(access)
            )
        }
        AnswerKind::NotPermitted => format!(
            "Use a service key, and run in the SQL editor (new tables give no role any permission by \
             themselves):\n{}\nOr, if anybody may read the rows, keep the key and run:\n{}",
            sql::service_grants(access),
            sql::policies(access)
        ),
        AnswerKind::MissingTable => format!(
            "Set SUPABASE_TABLE and SUPABASE_SCHEMA to the table's names. If it exists, run `notify pgrst, 'reload \
             schema';` in the SQL editor. Otherwise, run:\n{}",
            sql::table(access)
        ),
        AnswerKind::MissingSchema => {
            format!("Expose the schema {} under Project Settings > Data API.", access.schema)
        }
        AnswerKind::MissingColumn => format!(
            "Set SUPABASE_COLUMNS to the table's column names, or run in the SQL editor:\n{}",
            sql::columns(access)
        ),
        AnswerKind::ColumnType => format!(
            "Name the primary key and the time of the insert in SUPABASE_COLUMNS, in place of {} and {}. If the type \
             of the primary key has changed, name the column that has the ids of before, or set NATS_NAMESPACE to a \
             name of its own, and the worker starts with empty streams.",
            access.columns.id, access.columns.created_at
        ),
        AnswerKind::PolicyFails => "Mend the policy, view or function of the project that the server's message or \
                                    the project's Postgres log names. A service key passes policies by."
            .to_owned(),
        AnswerKind::ProjectPaused => {
            "Resume the project in Supabase's dashboard. The worker goes on by itself after that.".to_owned()
        }
        AnswerKind::ProjectRestricted => "Look at the organization's usage and billing in Supabase's dashboard: a \
                                          quota is used up, or a bill is unpaid. The worker goes on by itself \
                                          after that."
            .to_owned(),
        AnswerKind::ServiceNotSetUp => {
            "Set PostgREST's jwt-secret (PGRST_JWT_SECRET): without it, it can't check any key.".to_owned()
        }
        AnswerKind::WrongAddress => "Set SUPABASE_URL to the project's API address, such as \
                                     https://<ref>.supabase.co, without a path: PostgREST must answer below it, \
                                     at /rest/v1."
            .to_owned(),
        AnswerKind::Moved => {
            // Only the new host is shown: the rest of an address may hold anything.
            let url = location.and_then(|location| Url::parse(location).ok());
            let host = url.as_ref().and_then(|url| Some(format!("{}://{}", url.scheme(), url.host_str()?)));
            match host {
                Some(host) => format!("Set SUPABASE_URL to the address that it moved to: {host}"),
                None => "Set SUPABASE_URL to the address that answers without a redirect.".to_owned(),
            }
        }
        AnswerKind::Blocked => "Let the firewall or the proxy in front of the project (such as Cloudflare's) pass \
                                this machine's requests to /rest/v1. The key is not the reason."
            .to_owned(),
        AnswerKind::Ambiguous => {
            "Let SUPABASE_TABLE and SUPABASE_COLUMNS name one table or view and its own columns.".to_owned()
        }
        AnswerKind::RangeRefused => "Let no proxy add a Range header or an offset to the requests.".to_owned(),
        AnswerKind::NotAcceptable => {
            "Let no proxy change the requests' Accept header: the worker asks for application/json.".to_owned()
        }
        AnswerKind::Refused => "Check that SUPABASE_URL is the project's address and that SUPABASE_TABLE and \
                                SUPABASE_COLUMNS name a table and its columns; the server's message tells more."
            .to_owned(),
        AnswerKind::StatementTimeout => "Nothing to do at once: the worker asks for fewer rows, and tries again. If \
                                         it goes on, give the id column an index (a primary key has one), or raise \
                                         the statement_timeout of the key's role."
            .to_owned(),
        AnswerKind::PageTooLarge => "Nothing to do: the worker asks for fewer rows.".to_owned(),
        AnswerKind::RowFails => "Nothing to do at once: the worker tries again, and passes by a row that fails each \
                                 time. The project's Postgres log names the damage."
            .to_owned(),
        AnswerKind::RateLimited => {
            "Nothing to do: the worker waits as long as the service asks it to.".to_owned()
        }
        AnswerKind::DatabaseDown => "Nothing to do at once: the worker tries again. If it goes on, look at the \
                                     database's state and number of connections in the dashboard."
            .to_owned(),
        AnswerKind::Unreachable => "Nothing to do at once: the worker tries again. If it goes on, restart the \
                                    project in its dashboard, and look at status.supabase.com."
            .to_owned(),
        AnswerKind::Busy => "Nothing to do: the worker tries again.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use strum::VariantArray;

    fn access(key: &str) -> TableAccess {
        TableAccess::new(Url::parse("https://example.org").expect("an address"), key.to_owned().into())
    }

    fn answer(status: u16, body: &[u8]) -> ErrorAnswer {
        let status = StatusCode::from_u16(status).expect("a status");
        ErrorAnswer::new(&access("the-key"), status, &HeaderMap::new(), body)
    }

    /// Answers as the services write them, each with its kind and a part of its advice.
    const ANSWERS: [(u16, &str, AnswerKind, &str); 44] = {
        use AnswerKind as Kind;
        [
            (
                401,
                r#"{"message":"No API key found in request","hint":"No 'apikey' request header or url param was found."}"#,
                Kind::KeyRefused,
                "API Keys",
            ),
            (
                401,
                r#"{"message":"Invalid API key","hint":"Double check your Supabase `anon` or `service_role` API key."}"#,
                Kind::KeyRefused,
                "API Keys",
            ),
            (
                401,
                r#"{"message":"Legacy API keys are disabled","hint":"Your legacy API keys (anon, service_role) were disabled on 2026-08-03T17:40:12Z. Re-enable them in the Supabase dashboard, or use the new publishable and secret API keys."}"#,
                Kind::LegacyKeysDisabled,
                "sb_secret_",
            ),
            (
                401,
                r#"{"code":"PGRST301","details":null,"hint":null,"message":"JWT expired"}"#,
                Kind::KeyExpired,
                "expires",
            ),
            (
                401,
                r#"{"code":"PGRST303","details":null,"hint":null,"message":"JWT expired"}"#,
                Kind::KeyExpired,
                "expires",
            ),
            (
                401,
                r#"{"code":"PGRST303","details":null,"hint":null,"message":"JWT issued at future"}"#,
                Kind::KeyFromFuture,
                "clock",
            ),
            (
                401,
                r#"{"code":"PGRST303","details":null,"hint":null,"message":"JWT not yet valid"}"#,
                Kind::KeyFromFuture,
                "clock",
            ),
            (
                401,
                r#"{"code":"PGRST301","details":"None of the keys was able to decode the JWT","hint":null,"message":"No suitable key or wrong key type"}"#,
                Kind::KeyInvalid,
                "another project",
            ),
            (
                401,
                r#"{"code":"PGRST301","details":null,"hint":null,"message":"Expected 3 parts in JWT; got 1"}"#,
                Kind::KeyInvalid,
                "another project",
            ),
            (
                401,
                r#"{"code":"PGRST302","details":null,"hint":null,"message":"Anonymous access is disabled"}"#,
                Kind::KeyRefused,
                "API Keys",
            ),
            (
                500,
                r#"{"code":"PGRST300","details":null,"hint":null,"message":"Server lacks JWT secret"}"#,
                Kind::ServiceNotSetUp,
                "PGRST_JWT_SECRET",
            ),
            (
                401,
                r#"{"code":"42501","details":null,"hint":"Grant the required privileges to the current role with: GRANT SELECT ON public.typo_training_dataset TO anon;","message":"permission denied for table typo_training_dataset"}"#,
                Kind::NotPermitted,
                "to service_role",
            ),
            (
                403,
                r#"{"code":"42501","details":null,"hint":null,"message":"permission denied for schema private"}"#,
                Kind::NotPermitted,
                "grant usage on schema",
            ),
            (
                404,
                r#"{"code":"PGRST205","details":null,"hint":"Perhaps you meant the table 'public.typos'","message":"Could not find the table 'public.typo_training_dataset' in the schema cache"}"#,
                Kind::MissingTable,
                "SUPABASE_TABLE",
            ),
            (
                404,
                r#"{"code":"42P01","details":null,"hint":null,"message":"relation \"public.typo_training_dataset\" does not exist"}"#,
                Kind::MissingTable,
                "reload schema",
            ),
            (
                406,
                r#"{"code":"PGRST106","details":null,"hint":"Only the following schemas are exposed: public, graphql_public","message":"Invalid schema: private"}"#,
                Kind::MissingSchema,
                "Data API",
            ),
            (
                400,
                r#"{"code":"42703","details":null,"hint":"Perhaps you meant to reference the column \"typo_training_dataset.typos\".","message":"column typo_training_dataset.typo does not exist"}"#,
                Kind::MissingColumn,
                "SUPABASE_COLUMNS",
            ),
            (
                400,
                r#"{"code":"22P02","details":null,"hint":null,"message":"invalid input syntax for type uuid: \"0\""}"#,
                Kind::ColumnType,
                "primary key has changed",
            ),
            (
                400,
                r#"{"code":"22003","details":null,"hint":null,"message":"value \"9223372036854775807\" is out of range for type integer"}"#,
                Kind::ColumnType,
                "primary key",
            ),
            (
                404,
                r#"{"code":"42883","details":null,"hint":"No operator matches the given name and argument types. You might need to add explicit type casts.","message":"operator does not exist: json > unknown"}"#,
                Kind::ColumnType,
                "primary key",
            ),
            (
                500,
                r#"{"code":"42P17","details":null,"hint":null,"message":"infinite recursion detected in policy for relation \"typo_training_dataset\""}"#,
                Kind::PolicyFails,
                "policy",
            ),
            (
                400,
                r#"{"code":"P0001","details":null,"hint":null,"message":"row of Toyota is bad"}"#,
                Kind::PolicyFails,
                "Postgres log",
            ),
            (
                416,
                r#"{"code":"PGRST103","details":"An offset of 9 was requested, but there are only 5 rows.","hint":null,"message":"Requested range not satisfiable"}"#,
                Kind::RangeRefused,
                "Range",
            ),
            (
                406,
                r#"{"code":"PGRST107","details":null,"hint":null,"message":"None of these media types are available: text/html"}"#,
                Kind::NotAcceptable,
                "Accept",
            ),
            (
                300,
                r#"{"code":"PGRST201","details":[{"cardinality":"many-to-one"}],"hint":"Try changing 'a' to one of the following","message":"Could not embed because more than one relationship was found for 't' and 'a'"}"#,
                Kind::Ambiguous,
                "SUPABASE_TABLE",
            ),
            (
                400,
                r#"{"code":"PGRST100","details":"unexpected \"x\"","hint":null,"message":"\"failed to parse filter (x)\" (line 1, column 1)"}"#,
                Kind::Refused,
                "SUPABASE_URL",
            ),
            (
                402,
                r#"{"message":"Service for this project is restricted due to the following violations: exceed_egress_quota."}"#,
                Kind::ProjectRestricted,
                "billing",
            ),
            (
                540,
                "<!DOCTYPE html><html><head><title>Project paused</title></head></html>",
                Kind::ProjectPaused,
                "Resume",
            ),
            (540, r#"{"message":"project paused"}"#, Kind::ProjectPaused, "Resume"),
            (404, r#"{"error":"requested path is invalid"}"#, Kind::WrongAddress, "SUPABASE_URL"),
            (404, r#"{"message":"no Route matched with those values"}"#, Kind::WrongAddress, "SUPABASE_URL"),
            (404, "<html><title>404 Not Found</title></html>", Kind::WrongAddress, "SUPABASE_URL"),
            (200, "<html><title>Supabase</title></html>", Kind::WrongAddress, "SUPABASE_URL"),
            (
                403,
                "<!DOCTYPE html><title>Attention Required! | Cloudflare</title>",
                Kind::Blocked,
                "firewall",
            ),
            (301, "<html><title>301 Moved Permanently</title></html>", Kind::Moved, "SUPABASE_URL"),
            (
                500,
                r#"{"code":"57014","details":null,"hint":null,"message":"canceling statement due to statement timeout"}"#,
                Kind::StatementTimeout,
                "index",
            ),
            (
                413,
                "<html><title>413 Request Entity Too Large</title></html>",
                Kind::PageTooLarge,
                "fewer rows",
            ),
            (
                500,
                r#"{"code":"XX000","details":null,"hint":null,"message":"missing chunk number 0 for toast value 16442 in pg_toast_16438"}"#,
                Kind::RowFails,
                "Postgres log",
            ),
            (429, r#"{"message":"API rate limit exceeded"}"#, Kind::RateLimited, "waits"),
            (
                503,
                r#"{"code":"PGRST002","details":null,"hint":null,"message":"Could not query the database for the schema cache. Retrying."}"#,
                Kind::DatabaseDown,
                "dashboard",
            ),
            (
                504,
                r#"{"code":"PGRST003","details":null,"hint":null,"message":"Timed out acquiring connection from connection pool."}"#,
                Kind::DatabaseDown,
                "connections",
            ),
            (
                503,
                r#"{"code":"53300","details":null,"hint":null,"message":"remaining connection slots are reserved for roles with the SUPERUSER attribute"}"#,
                Kind::DatabaseDown,
                "connections",
            ),
            (
                522,
                "<!DOCTYPE html><title>example.org | 522: Connection timed out</title>",
                Kind::Unreachable,
                "status.supabase.com",
            ),
            (502, "<html><title>502 Bad Gateway</title></html>", Kind::Busy, "tries again"),
        ]
    };

    #[test]
    fn each_answer_has_its_kind_its_advice_and_the_servers_words() {
        for (status, body, kind, advice) in ANSWERS {
            let answer = answer(status, body.as_bytes());
            assert_eq!(answer.kind, kind, "{status} {body}");
            assert!(answer.advice().contains(advice), "{body}: {}", answer.advice());
            let told = answer.to_string();
            assert!(told.contains(&status.to_string()) && !told.contains("Toyota"), "{told}");
            let words = serde_json::from_str::<serde_json::Value>(body).ok();
            if let Some(words) = words.filter(|_| kind != AnswerKind::PolicyFails || status == 500) {
                let message = words["message"].as_str().or(words["error"].as_str()).expect("a message");
                assert!(told.contains(message.trim_end_matches('.')), "{told}");
                let hint = words["hint"].as_str().filter(|_| !answer.said.code().starts_with("22"));
                assert!(hint.is_none_or(|hint| told.contains(hint.trim_end_matches('.'))), "{told}");
            }
        }
    }

    #[test]
    fn every_kind_is_among_them_and_no_two_differ_in_the_kind_alone() {
        for kind in AnswerKind::VARIANTS {
            assert!(ANSWERS.iter().any(|(_, _, known, _)| known == kind), "{kind:?}");
        }
        let advices: std::collections::BTreeSet<_> =
            AnswerKind::VARIANTS.iter().map(|kind| advice(*kind, &access("k"), None)).collect();
        assert_eq!(advices.len(), AnswerKind::VARIANTS.len(), "each kind has its own advice");
    }

    #[test]
    fn a_redirect_names_the_new_host_only() {
        let mut headers = HeaderMap::new();
        headers.insert(LOCATION, "https://new.example/rest/v1/t?apikey=secret".parse().expect("a value"));
        let moved = ErrorAnswer::new(&access("k"), StatusCode::FOUND, &headers, b"");
        assert!(moved.advice().ends_with("https://new.example"), "{}", moved.advice());
    }

    #[test]
    fn a_service_key_is_told_the_grants_of_its_own_role() {
        let denied = br#"{"code":"42501","message":"permission denied for table t"}"#;
        let answer =
            ErrorAnswer::new(&access("sb_secret_x"), StatusCode::FORBIDDEN, &HeaderMap::new(), denied);
        assert!(answer.advice().contains("to service_role") && !answer.advice().contains("to anon"));
    }

    proptest! {
        #[test]
        fn any_answer_has_a_remedy(status in 200_u16..600, body in proptest::collection::vec(any::<u8>(), 0..80)) {
            let answer = answer(status, &body);
            prop_assert!(answer.directive() != RetryDirective::Never && !answer.advice().is_empty());
        }
    }
}

//! The checks that every request passes, in PostgREST's order.

use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;

use super::super::Shared;
use super::super::faults::RestFault;
use super::super::gateway::{Admission, admit};
use super::super::keys::Role;
use super::super::postgres::column::distance;
use super::super::postgres::sql_error::SqlError;
use super::super::query::{Plan, Query, QueryError, Window};
use super::super::token::{Claims, TokenError};
use super::injected;
use super::media::Media;
use super::preferences::Preferences;
use super::refusal::{Refusal, error};

/// Difference between clocks that PostgREST allows, in seconds.
const SKEW: i64 = 30;

/// A request that has passed the checks up to the table.
pub(super) struct Request<'a> {
    pub(super) shared: &'a Shared,
    pub(super) headers: &'a HeaderMap,
    pub(super) role: Role,
    pub(super) query: Query,
    pub(super) preferences: Preferences,
    pub(super) window: Window,
    table: &'a str,
    schema: &'a str,
    /// True when half of the answer is cut off.
    is_cut: bool,
}

/// Parts of a request that its checks read.
pub(super) struct Parts<'a> {
    pub(super) table: &'a str,
    pub(super) query: Option<&'a str>,
    pub(super) headers: &'a HeaderMap,
    /// Header that names the schema.
    pub(super) profile: &'a str,
    /// True when the header `Range` counts.
    pub(super) ranged: bool,
}

impl<'a> Request<'a> {
    /// Begins a request: applies the injected faults, then checks the key, the token, the schema and the
    /// query. The error is the answer.
    pub(super) async fn begin(shared: &'a Shared, parts: Parts<'a>) -> Result<Self, Response> {
        tokio::time::sleep(shared.faults.rest_latency()).await;
        let fault = shared.faults.take_rest();
        if let Some(response) = fault.and_then(injected::answer) {
            return Err(response);
        }
        let is_cut = fault == Some(RestFault::Truncated);
        match Self::check(shared, parts) {
            Ok(request) => Ok(Self { is_cut, ..request }),
            Err(refusal) if is_cut => Err(injected::truncated(refusal.into_response()).await),
            Err(refusal) => Err(refusal.into_response()),
        }
    }

    /// Ends a request with its answer.
    pub(super) async fn end(self, answer: Result<Response, Refusal>) -> Response {
        let response = answer.unwrap_or_else(Refusal::into_response);
        if self.is_cut { injected::truncated(response).await } else { response }
    }

    fn check(shared: &'a Shared, parts: Parts<'a>) -> Result<Self, Refusal> {
        let Parts { table, query, headers, profile, ranged } = parts;
        let query = query.unwrap_or_default();
        let role = match admit(shared, headers, query)? {
            Admission::As(role) => role,
            Admission::Nobody => Role::Anon,
            Admission::Token(token) => role_of(&token)?,
        };
        let own = shared.options.schema.as_str();
        let schema = text(headers, profile).unwrap_or(own);
        if schema != own {
            let hint = format!("Only the following schemas are exposed: {own}");
            return Err(error(406, "PGRST106", &format!("Invalid schema: {schema}")).hint(hint));
        }
        let refused = |error| Refusal::of_query(error, table, schema, role != Role::Anon);
        let query = Query::parse(query).map_err(|error| refused(QueryError::Syntax(error)))?;
        let range = text(headers, "range").filter(|_| ranged);
        let window = query.window(range).map_err(|error| refused(QueryError::Range(error)))?;
        let preferences = Preferences::read(headers);
        Ok(Self { shared, headers, role, query, preferences, window, table, schema, is_cut: false })
    }

    /// Checks that the table exists.
    pub(super) fn table(&self) -> Result<&'a str, Refusal> {
        let own = &self.shared.options.table;
        if self.table == own {
            return Ok(self.table);
        }
        let text = format!("Could not find the table '{}.{}' in the schema cache", self.schema, self.table);
        let refusal = error(404, "PGRST205", &text);
        let length = own.chars().count().max(self.table.chars().count());
        // The name is told when three quarters of its letters are there.
        match 4 * distance(own, self.table) <= length {
            true => Err(refusal.hint(format!("Perhaps you meant the table '{}.{own}'", self.schema))),
            false => Err(refusal),
        }
    }

    /// Prepares the query.
    pub(super) fn plan(&self) -> Result<Plan, Refusal> {
        let window = self.window.at_most(self.shared.options.max_rows);
        let plan = self.query.plan(self.table, &self.shared.columns(), window);
        plan.map_err(|error| Refusal::of_query(error, self.table, self.schema, self.is_authenticated()))
    }

    /// Returns the form of the answer.
    pub(super) fn media(&self) -> Result<Media, Refusal> {
        let media = Media::negotiate(self.headers)?;
        self.preferences.check()?;
        Ok(media)
    }

    /// Returns PostgreSQL's error as an answer.
    pub(super) fn sql(&self, error: SqlError) -> Refusal {
        Refusal::of_sql(error, self.is_authenticated())
    }

    fn is_authenticated(&self) -> bool {
        self.role != Role::Anon
    }

    /// Checks that the role may read the table.
    pub(super) fn check_reading(&self) -> Result<(), Refusal> {
        match self.role != Role::Service && self.shared.faults.revoked() {
            true => Err(self.sql(SqlError::denied(self.table))),
            false => Ok(()),
        }
    }

    /// Returns true when row-level security hides every row from the role.
    pub(super) fn sees_nothing(&self) -> bool {
        self.role != Role::Service && self.shared.faults.rows_hidden()
    }

    /// Returns true when row-level security lets the role change no row.
    pub(super) fn changes_nothing(&self) -> bool {
        self.role != Role::Service && self.shared.options.row_level_security
    }
}

/// Returns the role of a token.
fn role_of(token: &str) -> Result<Role, Refusal> {
    let undecodable = |text: &str| error(401, "PGRST301", text).invalid_token();
    if token.is_empty() {
        return Err(undecodable("Empty JWT is sent in Authorization header"));
    }
    let claims = Claims::read(token).map_err(|error| match error {
        TokenError::Parts(parts) => undecodable(&format!("Expected 3 parts in JWT; got {parts}")),
        TokenError::Malformed | TokenError::Signature => undecodable("No suitable key or wrong key type")
            .details("None of the keys was able to decode the JWT"),
    })?;
    let refused = |text: &str| error(401, "PGRST303", text).invalid_token();
    let now = Timestamp::now().as_second();
    for (claim, past, text) in [
        ("exp", true, "JWT expired"),
        ("nbf", false, "JWT not yet valid"),
        ("iat", false, "JWT issued at future"),
    ] {
        let Some(value) = claims.get(claim).filter(|value| !value.is_null()) else { continue };
        let Some(time) = value.as_f64() else {
            return Err(refused(&format!("The JWT '{claim}' claim must be a number")));
        };
        let time = time as i64;
        if (past && time < now - SKEW) || (!past && time > now + SKEW) {
            return Err(refused(text));
        }
    }
    let name = claims.role().unwrap_or("anon");
    Role::named(name).ok_or_else(|| {
        Refusal::of_sql(SqlError::new("22023", format!("role \"{name}\" does not exist")), true)
    })
}

/// Returns the text of a header.
pub(super) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

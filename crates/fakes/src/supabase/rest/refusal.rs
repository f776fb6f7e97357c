//! Error answers.

use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::super::postgres::sql_error::SqlError;
use super::super::query::QueryError;
use super::set;

/// An error answer.
#[derive(Debug)]
pub(in crate::supabase) struct Refusal {
    status: u16,
    body: Value,
    /// Value of the header `WWW-Authenticate`.
    challenge: Option<String>,
}

impl Refusal {
    /// Returns an answer of the gateway, which has a form of its own.
    pub(in crate::supabase) fn gateway(status: u16, body: Value) -> Self {
        Self { status, body, challenge: None }
    }

    #[cfg(test)]
    pub(in crate::supabase) fn status(&self) -> u16 {
        self.status
    }

    pub(super) fn details(mut self, details: impl Into<String>) -> Self {
        self.body["details"] = details.into().into();
        self
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.body["hint"] = hint.into().into();
        self
    }

    /// Adds the reason to the header that asks for another token.
    pub(super) fn invalid_token(mut self) -> Self {
        let text = self.body["message"].as_str().unwrap_or_default();
        self.challenge = Some(format!("Bearer error=\"invalid_token\", error_description=\"{text}\""));
        self
    }

    /// Returns PostgreSQL's error as PostgREST answers it.
    pub(super) fn of_sql(sql: SqlError, authenticated: bool) -> Self {
        let status = sql.status(authenticated);
        let body = json!({
            "code": sql.code, "message": sql.message, "details": sql.details, "hint": sql.hint,
        });
        Self { status, body, challenge: (status == 401).then(|| "Bearer".to_owned()) }
    }

    /// Returns the answer to a query that is refused.
    pub(super) fn of_query(query: QueryError, table: &str, schema: &str, authenticated: bool) -> Self {
        match query {
            QueryError::Syntax(syntax) => error(400, "PGRST100", &syntax.message).details(syntax.details),
            QueryError::Range(range) => {
                error(416, "PGRST103", "Requested range not satisfiable").details(range.details())
            }
            QueryError::NotEmbedded(name) => {
                let text = format!("'{name}' is not an embedded resource in this request");
                let hint = format!("Verify that '{name}' is included in the 'select' query parameter.");
                error(400, "PGRST108", &text).hint(hint)
            }
            QueryError::Aggregate => error(400, "PGRST123", "Use of aggregate functions is not allowed"),
            QueryError::NoRelationship(name) => {
                let text = format!(
                    "Could not find a relationship between '{table}' and '{name}' in the schema cache"
                );
                let details = format!(
                    "Searched for a foreign key relationship between '{table}' and '{name}' in the schema \
                     '{schema}', but no matches were found."
                );
                error(400, "PGRST200", &text).details(details)
            }
            QueryError::Sql(sql) => Self::of_sql(sql, authenticated),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let kind = [(header::CONTENT_TYPE, "application/json; charset=utf-8")];
        let mut response = (status, kind, self.body.to_string()).into_response();
        if let Some(code) = self.body["code"].as_str() {
            set(&mut response, HeaderName::from_static("proxy-status"), &format!("PostgREST; error={code}"));
        }
        if let Some(challenge) = self.challenge {
            set(&mut response, header::WWW_AUTHENTICATE, &challenge);
        }
        response
    }
}

/// Returns an error of PostgREST.
pub(super) fn error(status: u16, code: &str, message: &str) -> Refusal {
    let body = json!({"code": code, "message": message, "details": null, "hint": null});
    Refusal { status, body, challenge: None }
}

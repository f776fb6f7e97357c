//! The header `Accept`, and rows in the form that it asks for.

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::super::query::{Projection, Row};
use super::refusal::{Refusal, error};

/// Form of the rows in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Array,
    /// One object, and an error unless there is just one row.
    Object,
    Csv,
}

/// Media type of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Media {
    form: Form,
    /// True when columns that are null are left out.
    stripped: bool,
}

impl Media {
    /// Returns the first media type that the client accepts and the service has.
    pub(super) fn negotiate(headers: &HeaderMap) -> Result<Self, Refusal> {
        let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("*/*");
        let known = |text: &str| {
            let mut parts = text.split(';').map(str::trim);
            let stripped = parts.clone().any(|part| part == "nulls=stripped");
            let form = match parts.next()? {
                "*/*" | "application/json" | "application/*" => Form::Json,
                "application/vnd.pgrst.object" | "application/vnd.pgrst.object+json" => Form::Object,
                "application/vnd.pgrst.array" | "application/vnd.pgrst.array+json" => Form::Array,
                "text/csv" => Form::Csv,
                _ => return None,
            };
            Some(Self { form, stripped: stripped && matches!(form, Form::Object | Form::Array) })
        };
        accepted.split(',').find_map(|text| known(text.trim())).ok_or_else(|| {
            let text = format!("None of these media types are available: {accepted}");
            error(406, "PGRST107", &text)
        })
    }

    fn name(self) -> String {
        let name = match self.form {
            Form::Json => "application/json",
            Form::Array => "application/vnd.pgrst.array+json",
            Form::Object => "application/vnd.pgrst.object+json",
            Form::Csv => "text/csv",
        };
        format!("{name}{}; charset=utf-8", if self.stripped { ";nulls=stripped" } else { "" })
    }

    /// Refuses a number of rows other than one, when the client wants one object.
    pub(super) fn check(self, rows: usize) -> Result<(), Refusal> {
        if self.form != Form::Object || rows == 1 {
            return Ok(());
        }
        let text = "Cannot coerce the result to a single JSON object";
        Err(error(406, "PGRST116", text).details(format!("The result contains {rows} rows")))
    }

    /// Writes rows.
    pub(super) fn write(self, projection: &Projection, rows: Vec<Row>) -> String {
        let rows = match self.stripped {
            true => rows.into_iter().map(Row::without_nulls).collect(),
            false => rows,
        };
        let written = match (self.form, rows.first()) {
            (Form::Csv, _) => return projection.csv(&rows),
            (Form::Object, Some(row)) => serde_json::to_string(row),
            _ => serde_json::to_string(&rows),
        };
        // Names and values of rows are always texts that JSON has.
        written.unwrap_or_default()
    }

    /// Returns an answer with rows that are already written.
    pub(super) fn answer(self, status: StatusCode, body: String) -> Response {
        (status, [(header::CONTENT_TYPE, self.name())], body).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn the_first_known_type_is_taken() {
        let negotiate = |text| {
            let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(text))]);
            Media::negotiate(&headers).map(Media::name).map_err(|refusal| refusal.status())
        };
        assert_eq!(
            Media::negotiate(&HeaderMap::new()).map(Media::name).ok().as_deref(),
            Some("application/json; charset=utf-8")
        );
        assert_eq!(negotiate("text/xml, text/csv").as_deref(), Ok("text/csv; charset=utf-8"));
        assert_eq!(
            negotiate("application/vnd.pgrst.object+json;nulls=stripped").as_deref(),
            Ok("application/vnd.pgrst.object+json;nulls=stripped; charset=utf-8")
        );
        assert_eq!(negotiate("text/xml"), Err(406));
    }
}

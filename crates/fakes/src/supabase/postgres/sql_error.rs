//! Errors of PostgreSQL.

/// An error as PostgreSQL raises it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::supabase) struct SqlError {
    /// SQLSTATE.
    pub(in crate::supabase) code: &'static str,
    pub(in crate::supabase) message: String,
    pub(in crate::supabase) details: Option<String>,
    pub(in crate::supabase) hint: Option<String>,
}

impl SqlError {
    pub(in crate::supabase) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), details: None, hint: None }
    }

    pub(in crate::supabase) fn details(self, details: impl Into<String>) -> Self {
        Self { details: Some(details.into()), ..self }
    }

    pub(in crate::supabase) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Returns the error of a literal that is not of a type.
    pub(in crate::supabase) fn syntax(code: &'static str, kind: &str, text: &str) -> Self {
        Self::new(code, format!("invalid input syntax for type {kind}: \"{text}\""))
    }

    /// Returns the error of an operator that a type does not have. Several types have `<@`, of which
    /// PostgreSQL can't choose one.
    pub(in crate::supabase) fn no_operator(kind: &str, symbol: &str) -> Self {
        if symbol == "<@" {
            let hint =
                "Could not choose a best candidate operator. You might need to add explicit type casts.";
            return Self::new("42725", format!("operator is not unique: {kind} {symbol} unknown")).hint(hint);
        }
        let hint = "No operator matches the given name and argument types. You might need to add explicit type \
                    casts.";
        Self::new("42883", format!("operator does not exist: {kind} {symbol} unknown")).hint(hint)
    }

    /// Returns the error of a role without a privilege.
    pub(in crate::supabase) fn denied(table: &str) -> Self {
        Self::new("42501", format!("permission denied for table {table}"))
    }

    /// Returns the error of a row that no policy lets the role write.
    pub(in crate::supabase) fn policy(table: &str, kind: &str) -> Self {
        Self::new("42501", format!("new row violates row-level security policy{kind} for table \"{table}\""))
    }

    /// Returns the HTTP status that PostgREST gives the error.
    pub(in crate::supabase) fn status(&self, authenticated: bool) -> u16 {
        match self.code {
            "23503" | "23505" => 409,
            "25006" => 405,
            "21000" if !self.message.ends_with("requires a WHERE clause") => 500,
            "42883" | "42P01" => 404,
            "42501" if authenticated => 403,
            "42501" => 401,
            "22023" if self.message.starts_with("role") => 401,
            "42P17" => 500,
            "57P01" => 503,
            "P0001" => 400,
            code => match &code[..2] {
                "08" | "53" => 503,
                "0L" | "0P" | "28" => 403,
                "09" | "25" | "2D" | "38" | "39" | "3B" | "40" | "54" | "55" | "57" | "58" | "F0" | "HV"
                | "P0" | "XX" => 500,
                _ => 400,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_those_of_postgrest() {
        let status = |code, message: &str, authenticated| SqlError::new(code, message).status(authenticated);
        assert_eq!((status("42501", "", false), status("42501", "", true)), (401, 403));
        assert_eq!(
            (status("23505", "", true), status("23502", "", true), status("42703", "", true)),
            (409, 400, 400)
        );
        assert_eq!(status("21000", "DELETE requires a WHERE clause", true), 400);
        assert_eq!(
            status("21000", "ON CONFLICT DO UPDATE command cannot affect row a second time", true),
            500
        );
        assert_eq!(status("22023", "role \"x\" does not exist", true), 401);
        assert_eq!(
            (status("57014", "", true), status("53300", "", true), status("42883", "", true)),
            (500, 503, 404)
        );
    }
}

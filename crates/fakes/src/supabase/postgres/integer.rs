//! Literals of integers.

use super::sql_error::SqlError;

/// Type of an integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::supabase) enum Width {
    Small,
    Normal,
    Big,
}

impl Width {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Small => "smallint",
            Self::Normal => "integer",
            Self::Big => "bigint",
        }
    }

    pub(super) fn holds(self, number: i64) -> bool {
        match self {
            Self::Small => i16::try_from(number).is_ok(),
            Self::Normal => i32::try_from(number).is_ok(),
            Self::Big => true,
        }
    }

    /// Reads a literal: digits with a sign, and blanks around them.
    pub(super) fn read(self, text: &str) -> Result<i64, SqlError> {
        let trimmed = text.trim_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
        let digits = trimmed.strip_prefix(['+', '-']).unwrap_or(trimmed);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(SqlError::syntax("22P02", self.name(), text));
        }
        trimmed.parse().ok().filter(|number| self.holds(*number)).ok_or_else(|| {
            SqlError::new("22003", format!("value \"{text}\" is out of range for type {}", self.name()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_is_read_as_postgresql_reads_it() {
        for (text, number) in [("5", 5), (" +5 ", 5), ("-0", 0), ("-9223372036854775808", i64::MIN)] {
            assert_eq!(Width::Big.read(text), Ok(number));
        }
        for text in ["", "-", "5.0", "1e2", "0x10", "--5", "5 5", "+-5", "１"] {
            assert_eq!(Width::Big.read(text).map_err(|error| error.code), Err("22P02"), "{text}");
        }
        let out = |width: Width, text| width.read(text).expect_err("out of range");
        let message = |kind, text| format!("value \"{text}\" is out of range for type {kind}");
        for (width, kind, text) in [
            (Width::Small, "smallint", "32768"),
            (Width::Normal, "integer", "-2147483649"),
            (Width::Big, "bigint", "9223372036854775808"),
        ] {
            assert_eq!((out(width, text).code, out(width, text).message), ("22003", message(kind, text)));
        }
    }
}

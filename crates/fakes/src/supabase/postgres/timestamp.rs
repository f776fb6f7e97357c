//! Literals of times, and the forms in which PostgreSQL writes them.
//!
//! The session's time zone is UTC, as on every hosted project.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::sql_error::SqlError;

/// Type of the table's column `created_at`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TimeType {
    /// `timestamptz default now()`.
    #[default]
    WithZone,
    /// `timestamp default now()`, which is written without an offset.
    WithoutZone,
}

/// Reason why a text is no time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mistake {
    Syntax,
    /// A month or a day that no month has.
    Month,
    Range,
    Zone,
}

impl TimeType {
    /// Returns the name of the type in messages about operators and casts.
    pub(in crate::supabase) fn name(self) -> &'static str {
        match self {
            Self::WithZone => "timestamp with time zone",
            Self::WithoutZone => "timestamp without time zone",
        }
    }

    pub(in crate::supabase) fn catalog_name(self) -> &'static str {
        match self {
            Self::WithZone => "timestamptz",
            Self::WithoutZone => "timestamp",
        }
    }

    /// Reads a literal: an ISO 8601 date, with or without a time and an offset, or a word such as
    /// `now`. An offset in a time without a zone is ignored.
    pub(in crate::supabase) fn read(self, text: &str) -> Result<Timestamp, SqlError> {
        let kind = match self {
            Self::WithZone => "timestamp with time zone",
            Self::WithoutZone => "timestamp",
        };
        parse(text, self == Self::WithZone).map_err(|mistake| {
            let range = || format!("date/time field value out of range: \"{text}\"");
            match mistake {
                Mistake::Syntax => SqlError::syntax("22007", kind, text),
                Mistake::Month => SqlError::new("22008", range())
                    .hint("Perhaps you need a different \"datestyle\" setting."),
                Mistake::Range => SqlError::new("22008", range()),
                Mistake::Zone => {
                    SqlError::new("22009", format!("time zone displacement out of range: \"{text}\""))
                }
            }
        })
    }

    /// Writes a time as JSON has it, without trailing zeros: `2026-11-22T09:50:04.809501+00:00`.
    pub(in crate::supabase) fn json(self, at: Timestamp) -> String {
        let offset = if self == Self::WithZone { "+00:00" } else { "" };
        format!("{}{offset}", micros(at).strftime("%Y-%m-%dT%H:%M:%S%.f"))
    }

    /// Writes a time as a text: `2026-11-22 09:50:04.809501+00`.
    pub(in crate::supabase) fn text(self, at: Timestamp) -> String {
        let offset = if self == Self::WithZone { "+00" } else { "" };
        format!("{}{offset}", micros(at).strftime("%Y-%m-%d %H:%M:%S%.f"))
    }
}

fn micros(at: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at)
}

/// Reads a time that this table has written, of either type.
pub(in crate::supabase) fn stored(text: &str) -> Option<Timestamp> {
    text.parse().ok().or_else(|| {
        let civil: DateTime = text.parse().ok()?;
        TimeZone::UTC.to_timestamp(civil).ok()
    })
}

fn parse(text: &str, zoned: bool) -> Result<Timestamp, Mistake> {
    let trimmed = text.trim_matches([' ', '\t', '\n', '\r']).to_ascii_lowercase();
    let now = Timestamp::now();
    let midnight = |days: i64| {
        let start = now.as_second().div_euclid(86_400) + days;
        Timestamp::from_second(start * 86_400).map_err(|_| Mistake::Range)
    };
    match trimmed.as_str() {
        "now" => return Ok(now),
        "epoch" => return Ok(Timestamp::UNIX_EPOCH),
        "today" => return midnight(0),
        "tomorrow" => return midnight(1),
        "yesterday" => return midnight(-1),
        _ => {}
    }
    let (date, rest) = date(&trimmed)?;
    let (seconds, nanos, rest) = match rest.strip_prefix('t').or_else(|| rest.strip_prefix(' ')) {
        Some(rest) => time(rest.trim_start())?,
        None => (0, 0, rest),
    };
    let offset = offset(rest.trim_start())?;
    let offset = if zoned { offset } else { 0 };
    let start = TimeZone::UTC.to_timestamp(DateTime::from_parts(date, Time::midnight()));
    // PostgreSQL rounds to microseconds, half to even.
    let micros = (f64::from(nanos) / 1000.0).round_ties_even() as i64;
    let since = SignedDuration::from_secs(seconds - offset) + SignedDuration::from_micros(micros);
    start.and_then(|start| start.checked_add(since)).map_err(|_| Mistake::Range)
}

/// Reads up to `most` digits.
fn digits(text: &str, most: usize) -> Result<(i64, usize, &str), Mistake> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    if end == 0 || end > most {
        return Err(Mistake::Syntax);
    }
    let number = text[..end].parse().map_err(|_| Mistake::Syntax)?;
    Ok((number, end, &text[end..]))
}

fn date(text: &str) -> Result<(Date, &str), Mistake> {
    let (first, length, rest) = digits(text, 8)?;
    let (year, month, day, rest) = match (length, rest.chars().next()) {
        (8, _) => (first / 10_000, first / 100 % 100, first % 100, rest),
        (4.., Some(separator @ ('-' | '/'))) => {
            let (month, _, rest) = digits(&rest[1..], 2)?;
            let (day, _, rest) = digits(rest.strip_prefix(separator).ok_or(Mistake::Syntax)?, 2)?;
            (first, month, day, rest)
        }
        _ => return Err(Mistake::Syntax),
    };
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return Err(Mistake::Month);
    }
    let part = |number: i64| i8::try_from(number).map_err(|_| Mistake::Range);
    let year = i16::try_from(year).map_err(|_| Mistake::Range)?;
    let date = Date::new(year, part(month)?, part(day)?).map_err(|_| Mistake::Range)?;
    Ok((date, rest))
}

/// Reads a time of day. Returns the seconds, the nanoseconds within a second, and the rest.
fn time(text: &str) -> Result<(i64, u32, &str), Mistake> {
    let (hour, minute, second, rest) = match digits(text, 6)? {
        (number, 6, rest) => (number / 10_000, number / 100 % 100, number % 100, rest),
        (hour, 1..=2, rest) => {
            let (minute, _, rest) = digits(rest.strip_prefix(':').ok_or(Mistake::Syntax)?, 2)?;
            match rest.strip_prefix(':') {
                Some(rest) => {
                    let (second, _, rest) = digits(rest, 2)?;
                    (hour, minute, second, rest)
                }
                None => (hour, minute, 0, rest),
            }
        }
        _ => return Err(Mistake::Syntax),
    };
    let (nanos, rest) = match rest.strip_prefix('.') {
        Some(rest) => {
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let nine: String = rest[..end].chars().chain("000000000".chars()).take(9).collect();
            (nine.parse().map_err(|_| Mistake::Syntax)?, &rest[end..])
        }
        None => (0, rest),
    };
    let last = hour == 24 && (minute, second, nanos) == (0, 0, 0);
    if (hour > 23 && !last) || minute > 59 || second > 60 {
        return Err(Mistake::Range);
    }
    Ok((hour * 3600 + minute * 60 + second, nanos, rest))
}

/// Reads an offset from UTC, in seconds.
fn offset(text: &str) -> Result<i64, Mistake> {
    if matches!(text, "" | "z" | "utc" | "gmt") {
        return Ok(0);
    }
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').ok_or(Mistake::Syntax)?),
    };
    let (hour, minute, second) = match rest.split(':').collect::<Vec<_>>().as_slice() {
        [all] => match digits(all, 4)? {
            (hour, 1..=2, "") => (hour, 0, 0),
            (number, 3..=4, "") => (number / 100, number % 100, 0),
            _ => return Err(Mistake::Syntax),
        },
        parts @ ([_, _] | [_, _, _]) => {
            let part = |place: usize| match parts.get(place).map(|part| digits(part, 2)) {
                Some(Ok((number, _, ""))) => Ok(number),
                None => Ok(0),
                _ => Err(Mistake::Syntax),
            };
            (part(0)?, part(1)?, part(2)?)
        }
        _ => return Err(Mistake::Syntax),
    };
    if hour > 15 || minute > 59 || second > 59 {
        return Err(Mistake::Zone);
    }
    Ok(sign * (hour * 3600 + minute * 60 + second))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The readings are those of PostgreSQL 15.
    #[test]
    fn a_literal_is_read_as_postgresql_reads_it() {
        for (text, read) in [
            ("2026-01-02", "2026-01-02 00:00:00+00"),
            ("2026-1-2", "2026-01-02 00:00:00+00"),
            ("2026/01/02", "2026-01-02 00:00:00+00"),
            ("20260102T030405Z", "2026-01-02 03:04:05+00"),
            (" 2026-01-01T10:00:00.1234567Z ", "2026-01-01 10:00:00.123457+00"),
            ("2026-01-01T10:00:00.1234565z", "2026-01-01 10:00:00.123456+00"),
            ("2026-01-01 10:00:00.12 +02:30", "2026-01-01 07:30:00.12+00"),
            ("2026-01-01 10:00-0130", "2026-01-01 11:30:00+00"),
            ("2026-01-01 10:00:00 UTC", "2026-01-01 10:00:00+00"),
            ("2026-01-01 24:00:00", "2026-01-02 00:00:00+00"),
            ("2026-01-01 23:59:60", "2026-01-02 00:00:00+00"),
            ("epoch", "1970-01-01 00:00:00+00"),
        ] {
            let at = TimeType::WithZone.read(text).expect(text);
            assert_eq!(TimeType::WithZone.text(at), read, "{text}");
        }
        for (text, code) in [
            ("", "22007"),
            ("x", "22007"),
            ("2026-01-01T10", "22007"),
            ("2026-01-01T10:00:00 foo", "22007"),
            ("2026-13-01", "22008"),
            ("2026-02-30", "22008"),
            ("2026-01-01 25:00", "22008"),
            ("2026-01-01 00:00+17", "22009"),
        ] {
            assert_eq!(TimeType::WithZone.read(text).map_err(|error| error.code), Err(code), "{text}");
        }
        assert!(TimeType::WithZone.read("2026-13-01").expect_err("no month").hint.is_some());
        let naive = TimeType::WithoutZone.read("2026-01-01 10:00:00+02").expect("a time");
        assert_eq!(TimeType::WithoutZone.json(naive), "2026-01-01T10:00:00");
        let message = "invalid input syntax for type timestamp: \"x\"";
        assert_eq!(TimeType::WithoutZone.read("x").expect_err("no time").message, message);
    }

    #[test]
    fn trailing_zeros_are_cut() {
        let at = Timestamp::from_microsecond(1_795_341_004_809_500).expect("in range");
        assert!(
            TimeType::WithZone.json(at).ends_with("T09:50:04.8095+00:00"),
            "{}",
            TimeType::WithZone.json(at)
        );
        assert!(TimeType::WithoutZone.text(at).ends_with(" 09:50:04.8095"));
        for kind in [TimeType::WithZone, TimeType::WithoutZone] {
            assert_eq!(stored(&kind.json(at)), Some(at));
        }
    }

    proptest! {
        #[test]
        fn any_literal_is_read_without_panic(text in "[0-9TZtz:./ +-]{0,30}|.{0,20}") {
            let _ = TimeType::WithZone.read(&text);
        }
    }
}

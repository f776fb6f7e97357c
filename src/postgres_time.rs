//! A time in the forms that PostgreSQL writes.
//!
//! PostgREST writes `2026-01-02T03:04:05.678+00:00`, Realtime and a CSV export may write
//! `2026-01-02 03:04:05.678+00`, and a column without time zone has no offset at all.

use jiff::Timestamp;
use jiff::civil::{Date, Time};
use jiff::tz::Offset;

/// A time as far as it can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PostgresTime {
    /// The instant. One that no [`Timestamp`] can hold, such as `infinity`, is the nearest that one
    /// can.
    pub(crate) at: Timestamp,
    /// False when the text has no offset. The instant then takes the text to be in UTC.
    pub(crate) zoned: bool,
}

impl PostgresTime {
    /// Reads a time. Returns `None` for a text that PostgreSQL does not write.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        match text {
            "infinity" => return Some(Self { at: Timestamp::MAX, zoned: true }),
            "-infinity" => return Some(Self { at: Timestamp::MIN, zoned: true }),
            _ => {}
        }
        let (text, before_christ) = match text.strip_suffix(" BC") {
            Some(text) => (text, true),
            None => (text.strip_suffix(" AD").unwrap_or(text), false),
        };
        let (date, clock) = match text.split_once(['T', 't', ' ']) {
            Some((date, clock)) => (date, Some(clock)),
            None => (text, None),
        };
        let (clock, zone) = match clock {
            None => (None, None),
            // The date is cut off, so a sign can only begin an offset.
            Some(clock) => match clock.find(['+', '-', 'Z', 'z']) {
                Some(zone) => (Some(clock[..zone].trim_end()), Some(&clock[zone..])),
                None => (Some(clock), None),
            },
        };
        let time = clock.map_or(Some(Time::midnight()), read_time)?;
        let offset = zone.map_or(Some(Offset::UTC), read_offset)?;
        let at = match read_date(date, before_christ)? {
            ReadDate::TooLate => Timestamp::MAX,
            ReadDate::TooEarly => Timestamp::MIN,
            ReadDate::In(date) => match offset.to_timestamp(date.to_datetime(time)) {
                Ok(at) => at,
                Err(_) if date.year() > 0 => Timestamp::MAX,
                Err(_) => Timestamp::MIN,
            },
        };
        Some(Self { at, zoned: zone.is_some() })
    }
}

enum ReadDate {
    In(Date),
    /// A year after the last one that a [`Date`] can hold. PostgreSQL's last year is 294276.
    TooLate,
    /// A year before the first one.
    TooEarly,
}

/// Reads `2026-01-02`. A year has four digits, or more.
fn read_date(text: &str, before_christ: bool) -> Option<ReadDate> {
    let mut parts = text.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || !(4..=6).contains(&year.len()) {
        return None;
    }
    let (year, month, day) = (number::<i32>(year)?, two_digits(month)?, two_digits(day)?);
    // The year before 1 AD is 1 BC, and year 0 of the calendar that `Date` uses.
    let year = if before_christ { 1 - year } else { year };
    match i16::try_from(year) {
        Ok(year) if (-9999..=9999).contains(&year) => Date::new(year, month, day).ok().map(ReadDate::In),
        _ if !(1..=12).contains(&month) || !(1..=31).contains(&day) => None,
        _ if before_christ => Some(ReadDate::TooEarly),
        _ => Some(ReadDate::TooLate),
    }
}

/// Reads `03:04`, `03:04:05` or `03:04:05.678`.
fn read_time(text: &str) -> Option<Time> {
    let (whole, fraction) = text.split_once('.').map_or((text, None), |(whole, part)| (whole, Some(part)));
    let mut parts = whole.split(':');
    let (hour, minute) = (two_digits(parts.next()?)?, two_digits(parts.next()?)?);
    let second = parts.next();
    if parts.next().is_some() || (second.is_none() && fraction.is_some()) {
        return None;
    }
    let nanosecond = match fraction {
        None => 0,
        Some(digits) if (1..=9).contains(&digits.len()) => {
            number::<i32>(digits)? * 10_i32.pow(9 - u32::try_from(digits.len()).ok()?)
        }
        Some(_) => return None,
    };
    Time::new(hour, minute, second.map_or(Some(0), two_digits)?, nanosecond).ok()
}

/// Reads `Z`, `+00`, `+0530`, `+05:30` or `+00:19:32`, the offset of a local mean time.
fn read_offset(text: &str) -> Option<Offset> {
    if text.eq_ignore_ascii_case("z") {
        return Some(Offset::UTC);
    }
    let (sign, digits) = match text.as_bytes().first()? {
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        _ => return None,
    };
    let parts: Vec<&str> = match (digits.contains(':'), digits.len()) {
        (false, 4) if digits.is_ascii() => vec![&digits[..2], &digits[2..]],
        _ => digits.split(':').collect(),
    };
    let mut seconds = 0;
    for (part, unit) in parts.iter().zip([3600, 60, 1]) {
        let part = i32::from(two_digits(part)?);
        if unit < 3600 && part > 59 {
            return None;
        }
        seconds += part * unit;
    }
    if parts.len() > 3 {
        return None;
    }
    Offset::from_seconds(sign * seconds).ok()
}

fn two_digits(text: &str) -> Option<i8> {
    if text.len() == 2 { number(text) } else { None }
}

/// Parses digits. Unlike the parser of the standard library, it accepts no sign.
fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn zoned(text: &str) -> (String, bool) {
        let read = PostgresTime::read(text).unwrap_or_else(|| panic!("{text:?} can't be read"));
        (read.at.to_string(), read.zoned)
    }

    #[test]
    fn every_form_that_postgresql_writes_is_read() {
        for (text, at) in [
            ("2026-01-02T03:04:05.678901+00:00", "2026-01-02T03:04:05.678901Z"),
            ("2026-01-02T03:04:05+00:00", "2026-01-02T03:04:05Z"),
            ("2026-01-02T03:04:05.6Z", "2026-01-02T03:04:05.6Z"),
            ("2026-01-02 03:04:05.678+00", "2026-01-02T03:04:05.678Z"),
            ("2026-01-02 03:04:05+0000", "2026-01-02T03:04:05Z"),
            ("2026-01-02 03:04:05+05:30", "2026-01-01T21:34:05Z"),
            ("2026-01-02 03:04:05 -03", "2026-01-02T06:04:05Z"),
            ("1900-01-02 03:04:05+00:19:32", "1900-01-02T02:44:33Z"),
            (" 2026-01-02T03:04Z ", "2026-01-02T03:04:00Z"),
            // PostgreSQL writes 44 BC like this; astronomers call the year -43.
            ("0044-03-15 12:00:00+00 BC", "-000043-03-15T12:00:00Z"),
            ("0044-03-15T12:00:00+00:00 AD", "0044-03-15T12:00:00Z"),
        ] {
            assert_eq!(zoned(text), (at.to_owned(), true), "{text}");
        }
    }

    #[test]
    fn a_date_without_time_zone_is_utc_and_says_so() {
        for (text, at) in [
            ("2026-01-02T03:04:05.678901", "2026-01-02T03:04:05.678901Z"),
            ("2026-01-02 03:04:05", "2026-01-02T03:04:05Z"),
            ("2026-01-02", "2026-01-02T00:00:00Z"),
        ] {
            assert_eq!(zoned(text), (at.to_owned(), false), "{text}");
        }
    }

    #[test]
    fn dates_beyond_the_calendar_are_its_ends() {
        for text in ["infinity", "294276-12-31T23:59:59+00:00", "9999-12-31T23:59:59-12:00"] {
            assert_eq!(PostgresTime::read(text).map(|read| read.at), Some(Timestamp::MAX), "{text}");
        }
        assert_eq!(PostgresTime::read("-infinity").map(|read| read.at), Some(Timestamp::MIN));
    }

    #[test]
    fn other_texts_are_unreadable() {
        for text in [
            "",
            "now",
            "2026",
            "2026-01",
            "2026-13-01",
            "2026-02-30",
            "26-01-02",
            "2026-1-2",
            "1767322800",
            "2026-01-02T",
            "2026-01-02T03",
            "2026-01-02T25:00:00Z",
            "2026-01-02T03:04:05.Z",
            "2026-01-02T03:04:05+5",
            "2026-01-02T03:04:05+05:99",
            "2026-01-02T03:04:05 CET",
            "02/01/2026",
            "2026-01-02T03:04:05+00:00:00:00",
            "2026-01-02T+1:+2:+3Z",
            "99999-99-99",
        ] {
            assert_eq!(PostgresTime::read(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,40}") {
            let _ = PostgresTime::read(&text);
        }

        #[test]
        fn any_text_of_the_right_signs_is_read_or_refused(text in "[0-9TZBC:+. -]{0,40}") {
            let _ = PostgresTime::read(&text);
        }

        #[test]
        fn an_instant_is_read_back_in_both_styles(second in -60_000_000_000_i64..250_000_000_000) {
            let at = Timestamp::from_second(second).unwrap();
            let iso = at.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string();
            let spaced = at.strftime("%Y-%m-%d %H:%M:%S+00").to_string();
            prop_assume!(!iso.starts_with('-'));
            for text in [iso, spaced] {
                prop_assert_eq!(PostgresTime::read(&text), Some(PostgresTime { at, zoned: true }));
            }
        }
    }
}

//! Times as clients send them: Go's notation, such as `1m30s`, or a number of nanoseconds.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

/// A time in a request's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Time(pub(super) Duration);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Nanoseconds(u64),
            Text(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Nanoseconds(number) => Ok(Self(Duration::from_nanos(number))),
            Written::Text(text) => {
                parse(&text).map(Self).ok_or_else(|| serde::de::Error::custom("invalid duration"))
            }
        }
    }
}

/// Parses Go's notation, and a plain number as seconds.
pub(super) fn parse(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let (number, unit) = rest.split_at(digits);
        let end = unit.find(|letter: char| letter.is_ascii_digit()).unwrap_or(unit.len());
        let (unit, after) = unit.split_at(end);
        let second = match unit {
            "h" => 3_600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        let seconds = number.parse::<f64>().ok()? * second;
        total = total.checked_add(Duration::try_from_secs_f64(seconds).ok()?)?;
        rest = after;
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_times_are_read() {
        assert_eq!(parse("10s"), Some(Duration::from_secs(10)));
        assert_eq!(parse("1m30s"), Some(Duration::from_secs(90)));
        assert_eq!(parse("1.5s"), Some(Duration::from_millis(1500)));
        assert_eq!(parse("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(parse("60"), Some(Duration::from_secs(60)));
        for wrong in ["", "s", "1x", "abc", "1s2", "-1s", "9e999s", "99999999999999999999999s"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}

//! Times, spans and numbers as a person reads them.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};

/// Formats a span of time with its two largest units.
pub(super) fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    let two = |large: u64, unit: &str, small: u64, of: &str| match small {
        0 => format!("{large} {unit}"),
        _ => format!("{large} {unit} {small} {of}"),
    };
    match seconds {
        0..60 if seconds < 10 && time.subsec_millis() >= 100 => format!("{:.1} s", time.as_secs_f64()),
        0..60 => format!("{seconds} s"),
        60..3_600 => two(seconds / 60, "min", seconds % 60, "s"),
        3_600..86_400 => two(seconds / 3_600, "h", seconds % 3_600 / 60, "min"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

/// Formats the distance of a time from now, with one unit.
fn distance(from: Timestamp, now: Timestamp) -> String {
    let apart = now.duration_since(from);
    let seconds = apart.unsigned_abs().as_secs();
    let one = match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..172_800 => format!("{} h", (seconds + 1_800) / 3_600),
        _ => format!("{} d", (seconds + 43_200) / 86_400),
    };
    if apart >= SignedDuration::ZERO { format!("{one} ago") } else { format!("in {one}") }
}

/// Shows a time as its distance from now, with the time itself as a title.
pub(super) fn ago(at: Timestamp, now: Timestamp) -> Markup {
    html! { time datetime=(at) title=(exact(at)) { (distance(at, now)) } }
}

/// Shows a time of day, and its distance from now.
pub(super) fn when(at: Timestamp, now: Timestamp) -> Markup {
    html! { time datetime=(at) { (exact(at)) " (" (distance(at, now)) ")" } }
}

/// Formats a time to the second.
pub(super) fn exact(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// Formats a count with its noun.
pub(super) fn count(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", thousands(number), if number == 1 { one } else { many })
}

/// Formats a number with a thin space between thousands.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_numbers_are_short() {
        let spans = [0.0, 1.5, 42.9, 60.0, 61.0, 3_725.0, 90_000.0].map(|s| span(Duration::from_secs_f64(s)));
        assert_eq!(spans, ["0 s", "1.5 s", "42 s", "1 min", "1 min 1 s", "1 h 2 min", "1 d 1 h"]);
        assert_eq!(thousands(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!((count(1, "pair", "pairs"), thousands(100)), ("1 pair".to_owned(), "100".to_owned()));
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(distance(at(604_790), at(0)), "in 7 d");
        assert_eq!(
            (distance(at(0), at(90)), distance(at(90), at(0))),
            ("1 min ago".into(), "in 1 min".into())
        );
    }
}

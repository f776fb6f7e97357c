//! Oldest version of nats-server that works.

/// Oldest version that works: older servers silently ignore settings that we rely on.
pub(super) const OLDEST_SERVER: &str = "2.10";

/// Returns true when a version such as `2.10.27` or `2.15.0-RC.1` is at least [`OLDEST_SERVER`].
pub(super) fn is_new_enough(version: &str) -> bool {
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().ok());
    let (Some(Some(major)), Some(Some(minor))) = (numbers.next(), numbers.next()) else { return false };
    (major, minor) >= (2, 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        for new in ["2.10.0", "2.10.27", "2.15.0-RC.1", "3.0.0", "10.0"] {
            assert!(is_new_enough(new), "{new}");
        }
        for old in ["2.9.10", "2.9", "1.99.0", "2", "", "v2.10.0", "what"] {
            assert!(!is_new_enough(old), "{old}");
        }
    }
}

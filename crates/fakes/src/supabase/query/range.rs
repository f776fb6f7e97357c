//! The part of the rows that a request asks for: `limit`, `offset`, and the header `Range`.

/// Rows from an offset on, up to a number of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::supabase) struct Window {
    pub(in crate::supabase) offset: usize,
    pub(in crate::supabase) limit: Option<usize>,
}

/// Reason why a request asks for no rows that could exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::supabase) enum RangeError {
    NegativeLimit,
    /// The header's end is before its begin.
    Backwards,
}

impl RangeError {
    pub(in crate::supabase) fn details(self) -> &'static str {
        match self {
            Self::NegativeLimit => "Limit should be greater than or equal to zero.",
            Self::Backwards => {
                "The lower boundary must be lower than or equal to the upper boundary in the Range header."
            }
        }
    }
}

impl Window {
    /// Combines the parameters of the query and the header `Range`: what both ask for. As in PostgREST,
    /// a text that is no number asks for nothing.
    pub(in crate::supabase) fn of(
        limit: Option<&str>,
        offset: Option<&str>,
        header: Option<&str>,
    ) -> Result<Self, RangeError> {
        let number = |text: &str| text.trim().parse::<i64>().ok();
        let limit = limit.and_then(number);
        let begin = offset.and_then(number).unwrap_or(0).max(0);
        let (first, last) = match header.and_then(header_range) {
            Some((first, Some(last))) if last < first => return Err(RangeError::Backwards),
            Some(range) => range,
            None => (0, None),
        };
        if limit == Some(0) {
            return Ok(Self { offset: 0, limit: Some(0) });
        }
        if limit.is_some_and(i64::is_negative) {
            return Err(RangeError::NegativeLimit);
        }
        let ends = [limit.map(|limit| begin.saturating_add(limit)), last.map(|last| last.saturating_add(1))];
        let (begin, end) = (begin.max(first), ends.into_iter().flatten().min());
        if end.is_some_and(|end| end <= begin) {
            return Err(RangeError::NegativeLimit);
        }
        let size = |number: i64| usize::try_from(number).unwrap_or(usize::MAX);
        Ok(Self { offset: size(begin), limit: end.map(|end| size(end - begin)) })
    }

    /// Returns the window up to a number of rows.
    pub(in crate::supabase) fn at_most(self, rows: usize) -> Self {
        Self { limit: Some(self.limit.unwrap_or(rows).min(rows)), ..self }
    }
}

/// Reads `<first>-<last>` or `<first>-`. Any other text is ignored.
fn header_range(text: &str) -> Option<(i64, Option<i64>)> {
    let (first, last) = text.split_once('-')?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if first.is_empty() || !digits(first) || !digits(last) {
        return None;
    }
    let first = first.parse().unwrap_or(i64::MAX);
    Some((first, if last.is_empty() { None } else { Some(last.parse().unwrap_or(i64::MAX)) }))
}

/// Writes the header `Content-Range`.
pub(in crate::supabase) fn content_range(offset: usize, rows: usize, total: Option<usize>) -> String {
    let rows = match rows {
        0 => "*".to_owned(),
        _ if total == Some(0) => "*".to_owned(),
        rows => format!("{offset}-{}", offset + rows - 1),
    };
    let total = total.map_or_else(|| "*".to_owned(), |total| total.to_string());
    format!("{rows}/{total}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parameters_and_the_header_are_combined() {
        let window =
            |limit, offset, header| Window::of(limit, offset, header).map(|own| (own.offset, own.limit));
        assert_eq!(window(None, None, None), Ok((0, None)));
        assert_eq!(window(Some("3"), Some("2"), None), Ok((2, Some(3))));
        assert_eq!(window(None, None, Some("5-9")), Ok((5, Some(5))));
        assert_eq!(window(None, None, Some("5-")), Ok((5, None)));
        assert_eq!(window(Some("3"), None, Some("1-9")), Ok((1, Some(2))));
        assert_eq!(window(Some("0"), Some("7"), None), Ok((0, Some(0))));
        for ignored in ["items=0-9", "x", "-5", "1-x"] {
            assert_eq!(window(Some("x"), Some("-7"), Some(ignored)), Ok((0, None)), "{ignored}");
        }
        assert_eq!(window(Some("-1"), None, None), Err(RangeError::NegativeLimit));
        assert_eq!(window(None, None, Some("9-5")), Err(RangeError::Backwards));
    }

    #[test]
    fn the_answers_range_is_written_as_postgrest_does() {
        assert_eq!(content_range(0, 0, None), "*/*");
        assert_eq!(content_range(5, 3, None), "5-7/*");
        assert_eq!(content_range(5, 0, Some(5)), "*/5");
        assert_eq!(content_range(0, 2, Some(9)), "0-1/9");
    }
}

//! Columns that a caller wants, and their places among the columns of a file.

use super::error::Problem;
use crate::text::normalize;

/// Column that a caller wants.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Names that the column may have in a file, the preferred one first.
    pub names: &'static [&'static str],
    /// True when a file without the column is refused.
    pub required: bool,
}

impl Column {
    /// Returns a column that a file must have.
    pub const fn required(names: &'static [&'static str]) -> Self {
        Self { names, required: true }
    }

    /// Returns a column that a file may lack.
    pub const fn optional(names: &'static [&'static str]) -> Self {
        Self { names, required: false }
    }

    /// Returns the preferred name.
    pub(super) fn name(&self) -> &'static str {
        self.names.first().copied().unwrap_or_default()
    }
}

/// Columns that a caller wants of each record.
#[derive(Debug, Clone, Copy)]
pub struct Columns {
    /// The wanted columns, in the order of a record's values.
    pub wanted: &'static [Column],
    /// Wanted column that a file's only column stands for, whatever its name, and a JSON text that
    /// is in no object.
    pub lone: Option<usize>,
}

impl Columns {
    /// Returns the place of each wanted column among the columns of a file. The case of names and
    /// the white space around them don't count.
    pub(super) fn find(&self, columns: &[&str]) -> Result<Vec<Option<usize>>, Problem> {
        let names: Vec<String> = columns.iter().map(|name| normalize(name)).collect();
        let place = |wanted: &Column| {
            for name in wanted.names {
                let mut places = names.iter().enumerate().filter(|(_, other)| other == name);
                if let Some((place, _)) = places.next() {
                    return if places.next().is_some() {
                        Err(Problem::Twice { name })
                    } else {
                        Ok(Some(place))
                    };
                }
            }
            Ok(None)
        };
        let mut places: Vec<Option<usize>> = self.wanted.iter().map(place).collect::<Result<_, _>>()?;
        if let (Some(lone), 1) = (self.lone, columns.len())
            && let Some(place) = places.get_mut(lone)
        {
            *place = Some(0);
        }
        let missing =
            self.wanted.iter().zip(&places).find(|(wanted, place)| wanted.required && place.is_none());
        match missing {
            Some((wanted, _)) => Err(Problem::Missing { name: wanted.name(), columns: columns.len() }),
            None => Ok(places),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{COLUMNS, NAMES};
    use super::*;

    #[test]
    fn columns_are_found_by_their_names_in_any_case_and_order() {
        let places = COLUMNS.find(&["note", " Corrected ", "\u{feff}TYPO"]).unwrap();
        assert_eq!(places, [Some(2), Some(1), None]);
        let missing = COLUMNS.find(&["typo", "correct"]);
        assert!(matches!(missing, Err(Problem::Missing { name: "corrected", columns: 2 })));
        assert!(matches!(COLUMNS.find(&["typo", "corrected", "Typo"]), Err(Problem::Twice { name: "typo" })));
        assert_eq!(NAMES.find(&["corrected", "name"]).unwrap(), [Some(1), None], "the preferred name wins");
        assert_eq!(NAMES.find(&["brands"]).unwrap(), [Some(0), None]);
        assert!(NAMES.find(&["a", "b"]).is_err());
    }
}

//! Columns that a caller wants, and their places among the columns of a file.

use serde::{Deserialize, Serialize};

use super::error::Problem;
use crate::text::normalize;

/// Column that a caller wants.
#[derive(Debug, Clone, Copy)]
pub struct Column<'c> {
    /// Names that the column may have in a file, the preferred one first.
    pub names: &'c [&'c str],
    /// Need for the column.
    pub need: Need,
}

/// Need for a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Need {
    /// A file without the column is refused.
    Required,
    /// A file must have at least one column of this kind.
    Alternative,
    /// A file may lack the column.
    Optional,
}

impl<'c> Column<'c> {
    /// Returns a column that a file must have.
    pub const fn required(names: &'c [&'c str]) -> Self {
        Self { names, need: Need::Required }
    }

    /// Returns one of the columns of which a file must have at least one.
    pub const fn alternative(names: &'c [&'c str]) -> Self {
        Self { names, need: Need::Alternative }
    }

    /// Returns a column that a file may lack.
    pub const fn optional(names: &'c [&'c str]) -> Self {
        Self { names, need: Need::Optional }
    }

    /// Returns the preferred name.
    pub(super) fn name(&self) -> &'c str {
        self.names.first().copied().unwrap_or_default()
    }
}

/// Columns that a caller wants of each record.
#[derive(Debug, Clone, Copy)]
pub struct Columns<'c> {
    /// The wanted columns, in the order of a record's values.
    pub wanted: &'c [Column<'c>],
    /// Wanted column that a file's only column stands for, whatever its name, and a JSON text that
    /// is in no object.
    pub lone: Option<usize>,
}

impl Columns<'_> {
    /// Returns the place of each wanted column among the columns of a file. The case of names and
    /// the white space around them don't count.
    pub(super) fn find(&self, columns: &[&str]) -> Result<Vec<Option<usize>>, Problem> {
        let names: Vec<String> = columns.iter().map(|name| normalize(name)).collect();
        let place = |wanted: &Column<'_>| {
            for name in wanted.names {
                let mut places = names.iter().enumerate().filter(|(_, other)| other == name);
                if let Some((place, _)) = places.next() {
                    return if places.next().is_some() {
                        Err(Problem::Twice { name: (*name).to_owned() })
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
        let found = || self.wanted.iter().zip(&places);
        let has_alternative =
            found().any(|(wanted, place)| wanted.need == Need::Alternative && place.is_some());
        let missing = found().filter(|(_, place)| place.is_none()).find(|(wanted, _)| match wanted.need {
            Need::Required => true,
            Need::Alternative => !has_alternative,
            Need::Optional => false,
        });
        match missing {
            Some((wanted, _)) => {
                Err(Problem::Missing { name: wanted.name().to_owned(), columns: columns.len() })
            }
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
        assert!(matches!(missing, Err(Problem::Missing { name, columns: 2 }) if name == "corrected"));
        let twice = COLUMNS.find(&["typo", "corrected", "Typo"]);
        assert!(matches!(twice, Err(Problem::Twice { name }) if name == "typo"));
        assert_eq!(NAMES.find(&["corrected", "name"]).unwrap(), [Some(1), None], "the preferred name wins");
        assert_eq!(NAMES.find(&["brands"]).unwrap(), [Some(0), None]);
        assert!(NAMES.find(&["a", "b"]).is_err());
        let wanted = [["name"], ["brand"], ["model"]];
        let wanted = wanted.each_ref().map(|names| Column::alternative(names));
        let alternatives = Columns { wanted: &wanted, lone: None };
        assert_eq!(alternatives.find(&["id", "Model"]).unwrap(), [None, None, Some(1)]);
        let missing = alternatives.find(&["id", "make"]);
        assert!(matches!(missing, Err(Problem::Missing { name, columns: 2 }) if name == "name"));
    }
}

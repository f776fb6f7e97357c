//! The catalog: names that a correction may have, from a file or from a table of the project.
//!
//! Reads the names. Never keeps them: the caller that screens rows keeps them, and reads them again
//! from time to time, since a catalog grows.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::access::TableAccess;
use super::rest::Table;
use super::rest_error::RestError;
use crate::failure::{Failure, RetryDirective};
use crate::table_file::{Column, Columns, ENDINGS, Problem, TableFileError, ending, read};
use crate::text::normalize;

/// Columns of a file of names. A file of corrections is one, too.
const COLUMNS: Columns = Columns {
    wanted: &[Column::required(&["name", "corrected"]), Column::optional(&["domain"])],
    lone: Some(0),
};

/// Location of the catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CatalogSource {
    /// A CSV, JSON or Parquet file. The columns are `name`, else `corrected`, and, if names belong to
    /// domains, `domain`. A file with a single column may call it anything.
    File(PathBuf),
    /// A table of the project.
    Table {
        /// Name of the table, in the same schema.
        table: String,
        /// Column of names.
        name: String,
        /// Column of domains, if the table has one.
        domain: Option<String>,
    },
}

/// A setting that names no catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "neither a .csv, .tsv, .txt, .json, .jsonl, .ndjson or .parquet file nor table:<table>.<column>[.<domain column>]"
)]
pub struct NoCatalog;

impl FromStr for CatalogSource {
    type Err = NoCatalog;

    fn from_str(text: &str) -> Result<Self, NoCatalog> {
        if let Some(place) = text.strip_prefix("table:") {
            let mut parts = place.split('.').map(str::to_owned);
            let (table, name, domain) = (parts.next(), parts.next(), parts.next());
            let named = |part: &str| !part.is_empty() && !part.contains([',', '(', ')', '&', ' ']);
            return match (table, name, parts.next()) {
                (Some(table), Some(name), None)
                    if named(&table) && named(&name) && domain.as_deref().is_none_or(named) =>
                {
                    Ok(Self::Table { table, name, domain })
                }
                _ => Err(NoCatalog),
            };
        }
        let path = PathBuf::from(text);
        match ENDINGS.contains(&ending(&path).as_str()) {
            true => Ok(Self::File(path)),
            false => Err(NoCatalog),
        }
    }
}

/// Reason why the catalog can't be read.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The file can't be read, or a record of it holds no name.
    #[error("the catalog can't be read")]
    File(#[source] TableFileError),
    /// The thread that read the file ended without a result.
    #[error("the reading of the catalog has ended without a result")]
    Lost(#[source] tokio::task::JoinError),
    /// The catalog holds no name: every pair would be kept out of training.
    #[error("the catalog is empty")]
    Empty,
    /// The catalog is a table, and no project is set.
    #[error("the catalog is a table, but no Supabase project is set")]
    NoProject,
    /// The table can't be read.
    #[error("the catalog's table can't be read")]
    Table(#[source] RestError),
}

impl Failure for CatalogError {
    fn directive(&self) -> RetryDirective {
        match self {
            Self::File(_) | Self::Empty | Self::NoProject => RetryDirective::Person,
            Self::Lost(_) => RetryDirective::Retry,
            Self::Table(error) => error.directive(),
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::File(error) => format!("{} Or let CATALOG name another file.", error.advice()),
            Self::Lost(_) => "This is a bug: report it together with the log.".to_owned(),
            Self::Empty => {
                "Set CATALOG to a file or a table with a name in its column name, or unset it.".to_owned()
            }
            Self::NoProject => "Set SUPABASE_URL and a key, or let CATALOG name a file.".to_owned(),
            Self::Table(error) => format!("Check the table that CATALOG names. {}", error.advice()),
        }
    }
}

impl CatalogSource {
    /// Reads every `(domain, name)`; the domain is empty for a name that belongs to none.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub async fn read(&self, access: &TableAccess) -> Result<Vec<(String, String)>, CatalogError> {
        self.read_in(Some(access)).await
    }

    /// Reads the names as [`read`](Self::read) does, for a project that may not be set. Only a
    /// catalog in a table needs a project.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub async fn read_in(&self, access: Option<&TableAccess>) -> Result<Vec<(String, String)>, CatalogError> {
        let names = match self {
            Self::File(path) => {
                let path = path.clone();
                let read = tokio::task::spawn_blocking(move || read_names(&path, true)).await;
                read.map_err(CatalogError::Lost)?.map_err(CatalogError::File)?
            }
            Self::Table { table, name, domain } => {
                let access = access.ok_or(CatalogError::NoProject)?;
                let access = TableAccess { table: table.clone(), ..access.clone() };
                let table = Table::new(&access).map_err(CatalogError::Table)?;
                table.texts(name, domain.as_deref()).await.map_err(CatalogError::Table)?
            }
        };
        if names.is_empty() { Err(CatalogError::Empty) } else { Ok(names) }
    }
}

/// Reads every `(domain, name)` of a file; the domain is empty for a name that belongs to none. A record
/// without a name is an error if `strict`, else it is left out: a file of corrections may have such.
///
/// # Errors
/// [`TableFileError`], naming the first record that can't be read.
pub fn read_names(path: &Path, strict: bool) -> Result<Vec<(String, String)>, TableFileError> {
    let mut names = Vec::new();
    for record in read(path, &COLUMNS)? {
        let mut values = record.values.into_iter();
        let name = values.next().flatten().unwrap_or_default();
        let domain = values.next().flatten().unwrap_or_default();
        match normalize(&name).is_empty() {
            false => names.push((domain, name)),
            true if strict => {
                let (path, place) = (path.to_owned(), record.place);
                return Err(TableFileError::Record { path, place, problem: Problem::NoName });
            }
            true => {}
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pair(domain: &str, name: &str) -> (String, String) {
        (domain.to_owned(), name.to_owned())
    }

    fn names(file: &str, text: &str) -> Result<Vec<(String, String)>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(file);
        std::fs::write(&path, text).unwrap();
        read_names(&path, true).map_err(|error| error.to_string().replace(&*path.to_string_lossy(), file))
    }

    #[test]
    fn files_are_read_by_their_header() {
        let text = "\u{feff}domain,id,Name\r\nbrand,1,Toyota\r\n\r\nmodel,2,\"A \"\"4\"\", long\"\n";
        assert_eq!(names("a.csv", text), Ok(vec![pair("brand", "Toyota"), pair("model", "A \"4\", long")]));
        assert_eq!(names("a.csv", "brands\nToyota\n"), Ok(vec![pair("", "Toyota")]));
        assert_eq!(names("a.csv", "typo;corrected;domain\nx;Kia;brand\n"), Ok(vec![pair("brand", "Kia")]));
        assert!(names("a.csv", "a,b\n1,2\n").is_err_and(|error| error.contains("line 1 of a.csv")));
        assert!(names("a.csv", "name\n\"x\n").is_err_and(|error| error.contains("line 2")));
        assert!(
            names("a.csv", "name,domain\nKia,brand\n ,brand\n").is_err_and(|error| error.contains("line 3"))
        );
        let text = "{\"name\":\"Toyota\",\"domain\":\"brand\"}\n\"Audi\"\n";
        assert_eq!(names("a.jsonl", text), Ok(vec![pair("brand", "Toyota"), pair("", "Audi")]));
        assert_eq!(names("a.json", "[\"Audi\", \"Kia\"]"), Ok(vec![pair("", "Audi"), pair("", "Kia")]));
        assert!(names("a.jsonl", "{}\n").is_err_and(|error| error.contains("line 1")));
    }

    #[test]
    fn a_record_without_a_name_is_left_out_where_it_may_be() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pairs.csv");
        std::fs::write(&path, "typo,corrected\na,\nb,Kia\n").unwrap();
        assert_eq!(read_names(&path, false).unwrap(), [pair("", "Kia")]);
    }

    #[test]
    fn places_are_told_apart() {
        let table = |domain: Option<&str>| CatalogSource::Table {
            table: "cars".to_owned(),
            name: "name".to_owned(),
            domain: domain.map(str::to_owned),
        };
        assert_eq!("table:cars.name".parse(), Ok(table(None)));
        assert_eq!("table:cars.name.kind".parse(), Ok(table(Some("kind"))));
        for file in ["a/b.csv", "B.CSV", "names.txt", "x.parquet", "x.ndjson"] {
            assert_eq!(file.parse(), Ok(CatalogSource::File(file.into())));
        }
        for wrong in ["table:cars", "table:.name", "table:a.b.c.d", "names.xlsx", "names", ""] {
            assert_eq!(wrong.parse::<CatalogSource>(), Err(NoCatalog), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_setting_is_read_without_panic(text in "(?s).{0,120}") {
            let _ = text.parse::<CatalogSource>();
        }
    }
}

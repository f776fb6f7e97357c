//! The catalog: names that a correction may have, from a file or from a table of the project.
//!
//! Reads the names. Never keeps them: the caller that screens rows keeps them, and reads them again
//! from time to time, since a catalog grows.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::access::TableAccess;
use super::rest::Table;
use super::rest_error::RestError;
use crate::catalog_row::CatalogRow;
use crate::failure::{Failure, RetryDirective};
use crate::table_file::{Column, Columns, ENDINGS, ParquetReader, Problem, TableFileError, ending, read};
use crate::text::normalize;

/// Names of the column of names in a file. A file of corrections is a file of names, too.
const NAME: [&str; 2] = ["name", "corrected"];
/// Name of the column of their domains.
const DOMAIN: [&str; 1] = ["domain"];

/// Location of the catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CatalogSource {
    /// A CSV, JSON or Parquet file. The columns are `name`, else `corrected`, and, if names belong to
    /// domains, `domain`. A file with a single column may call it anything. Names that belong together, as
    /// a brand and its model do, stand in columns that are called as their domains.
    File(PathBuf),
    /// A table of the project.
    Table {
        /// Name of the table, in the same schema.
        table: String,
        /// Column of names, and that of domains if there is one. `None` for a table with a column for each
        /// domain.
        name: Option<(String, Option<String>)>,
    },
}

/// A setting that names no catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "neither a .csv, .tsv, .txt, .json, .jsonl, .ndjson or .parquet file nor table:<table>[.<column>[.<domain column>]]"
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
                (Some(table), name, None)
                    if [Some(&table), name.as_ref(), domain.as_ref()]
                        .iter()
                        .flatten()
                        .all(|part| named(part)) =>
                {
                    Ok(Self::Table { table, name: name.map(|name| (name, domain)) })
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
    /// The catalog is a table with a column for each domain, and no domain has such a column.
    #[error("the catalog is a table without a column, and no text of the index has a name in it")]
    NoColumns,
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
            Self::File(_) | Self::Empty | Self::NoColumns | Self::NoProject => RetryDirective::Person,
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
            Self::NoColumns => "Write CATALOG as table:<table>.<column>, or name a domain in braces in \
                                [serve_templates] of autovalidate.toml."
                .to_owned(),
            Self::NoProject => "Set SUPABASE_URL and a key, or let CATALOG name a file.".to_owned(),
            Self::Table(error) => format!("Check the table that CATALOG names. {}", error.advice()),
        }
    }
}

impl CatalogSource {
    /// Reads every row of names. `domains` are those whose names may stand in columns of their own.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub async fn read(
        &self,
        access: &TableAccess,
        domains: &[String],
    ) -> Result<Vec<CatalogRow>, CatalogError> {
        self.read_in(Some(access), domains).await
    }

    /// Reads the names as [`read`](Self::read) does, for a project that may not be set. Only a
    /// catalog in a table needs a project.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub async fn read_in(
        &self,
        access: Option<&TableAccess>,
        domains: &[String],
    ) -> Result<Vec<CatalogRow>, CatalogError> {
        let names = match self {
            Self::File(path) => {
                let (path, domains) = (path.clone(), domains.to_vec());
                let read = tokio::task::spawn_blocking(move || {
                    read_names(&path, &domains, true, &ParquetReader::of_this_program())
                })
                .await;
                read.map_err(CatalogError::Lost)?.map_err(CatalogError::File)?
            }
            Self::Table { table, name } => {
                let access = access.ok_or(CatalogError::NoProject)?;
                let access = TableAccess { table: table.clone(), ..access.clone() };
                let table = Table::new(&access).map_err(CatalogError::Table)?;
                read_table(&table, name.as_ref(), domains).await?
            }
        };
        if names.is_empty() { Err(CatalogError::Empty) } else { Ok(names) }
    }
}

/// Reads the names of a table: of one column, or of a column for each domain.
async fn read_table(
    table: &Table,
    name: Option<&(String, Option<String>)>,
    domains: &[String],
) -> Result<Vec<CatalogRow>, CatalogError> {
    if let Some((name, domain)) = name {
        let further: Vec<&str> = domain.as_deref().into_iter().collect();
        let rows = table.texts(name, &further).await.map_err(CatalogError::Table)?;
        return Ok(rows.into_iter().filter_map(alone).collect());
    }
    let Some((first, further)) = domains.split_first() else { return Err(CatalogError::NoColumns) };
    let further: Vec<&str> = further.iter().map(String::as_str).collect();
    let rows = table.texts(first, &further).await.map_err(CatalogError::Table)?;
    let together = |names: Vec<String>| CatalogRow::together(domains.iter().zip(names));
    Ok(rows.into_iter().map(together).filter(|row| row.names().len() > 0).collect())
}

/// Returns the row of a name, which is followed by its domain if it has one.
fn alone(values: Vec<String>) -> Option<CatalogRow> {
    let mut values = values.into_iter();
    let (name, domain) = (values.next()?, values.next().unwrap_or_default());
    (!normalize(&name).is_empty()).then(|| CatalogRow::alone(domain, name))
}

/// Reads every row of names of a file. `domains` are those whose names may stand in columns of their own. A
/// record without a name is an error if `strict`, else it is left out: a file of corrections may have such.
///
/// # Errors
/// [`TableFileError`], naming the first record that can't be read.
pub fn read_names(
    path: &Path,
    domains: &[String],
    strict: bool,
    parquet: &ParquetReader,
) -> Result<Vec<CatalogRow>, TableFileError> {
    let names: Vec<[&str; 1]> = domains.iter().map(|domain| [domain.as_str()]).collect();
    let of_domains = names.iter().map(|names| Column::alternative(names));
    let wanted: Vec<Column<'_>> =
        [Column::alternative(&NAME), Column::optional(&DOMAIN)].into_iter().chain(of_domains).collect();
    let mut rows = Vec::new();
    for record in read(path, &Columns { wanted: &wanted, lone: Some(0) }, parquet)? {
        let mut values = record.values.into_iter().map(Option::unwrap_or_default);
        let named = alone(values.by_ref().take(2).collect());
        let row = named.unwrap_or_else(|| CatalogRow::together(domains.iter().zip(values)));
        if row.names().len() > 0 {
            rows.push(row);
        } else if strict {
            let (path, place) = (path.to_owned(), record.place);
            return Err(TableFileError::Record { path, place, problem: Problem::NoName });
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pair(domain: &str, name: &str) -> CatalogRow {
        CatalogRow::alone(domain, name)
    }

    fn names(file: &str, text: &str) -> Result<Vec<CatalogRow>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(file);
        std::fs::write(&path, text).unwrap();
        let domains = ["brand", "model"].map(str::to_owned);
        read_names(&path, &domains, true, &ParquetReader::in_this_process())
            .map_err(|error| error.to_string().replace(&*path.to_string_lossy(), file))
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
    fn a_file_may_have_a_column_for_each_domain() {
        let corolla = CatalogRow::together([("brand", "Toyota"), ("model", "Corolla")]);
        let text = "id,Model,Brand\n1,Corolla,Toyota\n2,,Audi\n";
        let expected = Ok(vec![corolla.clone(), pair("brand", "Audi")]);
        assert_eq!(names("a.csv", text), expected);
        let text = "{\"brand\":\"Toyota\",\"model\":\"Corolla\"}\n{\"brand\":\"Audi\"}\n";
        assert_eq!(names("a.jsonl", text), expected);
        assert!(names("a.csv", "brand,model\n,\n").is_err_and(|error| error.contains("line 2")));
        let text = "name,brand\nCorolla,Toyota\n";
        assert_eq!(names("a.csv", text), Ok(vec![pair("", "Corolla")]), "a column of names is enough");
    }

    #[test]
    fn a_record_without_a_name_is_left_out_where_it_may_be() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pairs.csv");
        std::fs::write(&path, "typo,corrected\na,\nb,Kia\n").unwrap();
        assert_eq!(
            read_names(&path, &[], false, &ParquetReader::in_this_process()).unwrap(),
            [pair("", "Kia")]
        );
    }

    #[test]
    fn places_are_told_apart() {
        let table = |name: Option<(&str, Option<&str>)>| CatalogSource::Table {
            table: "cars".to_owned(),
            name: name.map(|(name, domain)| (name.to_owned(), domain.map(str::to_owned))),
        };
        assert_eq!("table:cars".parse(), Ok(table(None)));
        assert_eq!("table:cars.name".parse(), Ok(table(Some(("name", None)))));
        assert_eq!("table:cars.name.kind".parse(), Ok(table(Some(("name", Some("kind"))))));
        for file in ["a/b.csv", "B.CSV", "names.txt", "x.parquet", "x.ndjson"] {
            assert_eq!(file.parse(), Ok(CatalogSource::File(file.into())));
        }
        for wrong in ["table:", "table:cars.", "table:.name", "table:a.b.c.d", "names.xlsx", "names", ""] {
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

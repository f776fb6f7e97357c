//! The catalog: names that a correction may have, from a file or from a table of the project.
//!
//! Reads the names. Never keeps them: the caller that screens rows keeps them, and reads them again
//! from time to time, since a catalog grows.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde_json::Value;

use super::access::TableAccess;
use super::rest::Table;
use super::rest_error::RestError;
use crate::failure::{Failure, RetryDirective};

/// Largest catalog file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// Location of the catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CatalogSource {
    /// A CSV file with a header, or a file with one JSON value per line. The columns are `name`
    /// and, if names belong to domains, `domain`. A CSV file with a single column may call it
    /// anything.
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
#[error("neither a .csv or .jsonl file nor table:<table>.<column>[.<domain column>]")]
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
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("csv" | "jsonl") => Ok(Self::File(path)),
            _ => Err(NoCatalog),
        }
    }
}

/// Reason why the catalog can't be read.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The file can't be read.
    #[error("the catalog {} can't be read", .path.display())]
    File {
        /// Path of the file.
        path: PathBuf,
        /// Error from the operating system.
        source: std::io::Error,
    },
    /// A line of the file holds no name.
    #[error("line {line} of the catalog {} holds no name", .path.display())]
    Line {
        /// Path of the file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
    },
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
            Self::File { .. } | Self::Line { .. } | Self::Empty | Self::NoProject => RetryDirective::Person,
            Self::Table(error) => error.directive(),
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::File { .. } | Self::Line { .. } | Self::Empty => {
                "Set CATALOG to a CSV file with the columns name and domain, or to a .jsonl file with one JSON \
                 object per line; or unset it."
                    .to_owned()
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
                let owned = path.clone();
                let read = tokio::task::spawn_blocking(move || read_file(&owned)).await;
                read.map_err(|gone| CatalogError::File { path: path.clone(), source: gone.into() })??
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

fn read_file(path: &Path) -> Result<Vec<(String, String)>, CatalogError> {
    let failed = |source| CatalogError::File { path: path.to_owned(), source };
    let length = std::fs::metadata(path).map_err(failed)?.len();
    if length > MAX_FILE_BYTES {
        return Err(failed(std::io::ErrorKind::FileTooLarge.into()));
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    let parsed = match path.extension().is_some_and(|extension| extension == "jsonl") {
        true => json_lines(&text),
        false => csv(&text),
    };
    parsed.map_err(|line| CatalogError::Line { path: path.to_owned(), line })
}

fn json_lines(text: &str) -> Result<Vec<(String, String)>, usize> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(index, line)| {
            let value: Value = serde_json::from_str(line).map_err(|_| index + 1)?;
            let field = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
            let name = value.as_str().map(str::to_owned).or_else(|| field("name")).ok_or(index + 1)?;
            Ok((field("domain").unwrap_or_default(), name))
        })
        .collect()
}

fn csv(text: &str) -> Result<Vec<(String, String)>, usize> {
    let mut lines = text.trim_start_matches('\u{feff}').lines().enumerate();
    let Some((_, header)) = lines.next() else { return Ok(Vec::new()) };
    let header: Vec<_> = fields(header).ok_or(1_usize)?;
    let place = |name: &str| header.iter().position(|column| column.trim().eq_ignore_ascii_case(name));
    let name = place("name").or((header.len() == 1).then_some(0)).ok_or(1_usize)?;
    let domain = place("domain");
    lines
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(index, line)| {
            let fields = fields(line).ok_or(index + 1)?;
            let name = fields.get(name).filter(|name| !name.trim().is_empty()).ok_or(index + 1)?;
            let domain = domain.and_then(|domain| fields.get(domain));
            Ok((domain.cloned().unwrap_or_default(), name.clone()))
        })
        .collect()
}

/// Splits a CSV line into its fields, with the quoting of RFC 4180. A name holds no line break, so
/// each line is one record. Returns `None` when a quote is not closed.
fn fields(line: &str) -> Option<Vec<String>> {
    let (mut fields, mut field, mut quoted) = (Vec::new(), String::new(), false);
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(std::mem::take(&mut field)),
            other => field.push(other),
        }
    }
    fields.push(field);
    (!quoted).then_some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pair(domain: &str, name: &str) -> (String, String) {
        (domain.to_owned(), name.to_owned())
    }

    #[test]
    fn files_are_read_by_their_header() {
        let text = "\u{feff}domain,id,Name\r\nbrand,1,Toyota\r\n\r\nmodel,2,\"A \"\"4\"\", long\"\n";
        assert_eq!(csv(text), Ok(vec![pair("brand", "Toyota"), pair("model", "A \"4\", long")]));
        assert_eq!(csv("brands\nToyota\n"), Ok(vec![pair("", "Toyota")]));
        assert_eq!(csv("a,b\n1,2\n"), Err(1));
        assert_eq!(csv("name\n\"x\n"), Err(2));
        let text = "{\"name\":\"Toyota\",\"domain\":\"brand\"}\n\"Audi\"\n";
        assert_eq!(json_lines(text), Ok(vec![pair("brand", "Toyota"), pair("", "Audi")]));
        assert_eq!(json_lines("{}\n"), Err(1));
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
        assert_eq!("a/b.csv".parse(), Ok(CatalogSource::File("a/b.csv".into())));
        for wrong in ["table:cars", "table:.name", "table:a.b.c.d", "names.txt", ""] {
            assert_eq!(wrong.parse::<CatalogSource>(), Err(NoCatalog), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_file_is_read_without_panic(text in "(?s).{0,120}") {
            let _ = csv(&text);
            let _ = json_lines(&text);
            let _ = text.parse::<CatalogSource>();
        }
    }
}

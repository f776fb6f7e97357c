//! A row of the catalog: names that belong together.

use serde::{Deserialize, Serialize};

use crate::text::normalize;

/// Names of the catalog that belong together, each with its domain: a brand and one of its models, or one
/// name alone. A name with an empty domain belongs to all domains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Form", into = "Form")]
pub struct CatalogRow(Vec<(String, String)>);

/// Form in records: earlier versions wrote names that stand alone.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Form {
    Alone(String, String),
    Together(Vec<(String, String)>),
}

impl From<Form> for CatalogRow {
    fn from(form: Form) -> Self {
        match form {
            Form::Alone(domain, name) => Self::alone(domain, name),
            Form::Together(names) => Self(names),
        }
    }
}

impl From<CatalogRow> for Form {
    fn from(CatalogRow(mut names): CatalogRow) -> Self {
        match (names.len(), names.pop()) {
            (1, Some((domain, name))) => Self::Alone(domain, name),
            (_, last) => Self::Together(names.into_iter().chain(last).collect()),
        }
    }
}

impl CatalogRow {
    /// Returns a row of one name.
    pub fn alone(domain: impl Into<String>, name: impl Into<String>) -> Self {
        Self(vec![(domain.into(), name.into())])
    }

    /// Returns a row of names with their domains. Names without a visible character are left out.
    pub fn together(names: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>) -> Self {
        let names = names.into_iter().map(|(domain, name)| (domain.into(), name.into()));
        Self(names.filter(|(_, name)| !normalize(name).is_empty()).collect())
    }

    /// Returns the `(domain, name)` pairs.
    pub fn names(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(domain, name)| (domain.as_str(), name.as_str()))
    }

    /// Returns the name of a normalized domain.
    pub fn name_of(&self, domain: &str) -> Option<&str> {
        self.names().find(|(of, _)| *of == domain || normalize(of) == domain).map(|(_, name)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_stand_alone_are_written_as_earlier_versions_did() {
        let rows = [
            CatalogRow::alone("brand", "Kia"),
            CatalogRow::together([("brand", "Kia"), ("model", "Ceed"), ("trim", " \u{200b}")]),
            CatalogRow::together([("", "")]),
        ];
        let written = serde_json::to_string(&rows).unwrap();
        assert_eq!(written, r#"[["brand","Kia"],[["brand","Kia"],["model","Ceed"]],[]]"#);
        assert_eq!(serde_json::from_str::<Vec<CatalogRow>>(&written).unwrap(), rows);
        assert_eq!((rows[1].name_of("model"), rows[1].name_of("trim")), (Some("Ceed"), None));
    }
}

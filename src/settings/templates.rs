//! Settings of the templates, which only the file can hold.

use std::collections::BTreeMap;

use super::reader::SettingsReader;
use crate::templates::Templates;
use crate::text::normalize;

/// Reads the templates of the texts that the model sees: as they are typed, and as the backend indexes
/// them.
pub(super) fn templates(reader: &mut SettingsReader<'_>) -> Templates {
    let typed = typed(reader);
    let templates = with_indexed(reader, typed);
    reader.note_table("[templates]", "templates", table(templates.typed()));
    reader.note_table("[serve_templates]", "serve_templates", table(templates.indexed()));
    templates
}

/// Returns templates by domain as TOML writes a table on one line.
fn table<'a>(templates: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let entries = templates.map(|(domain, template)| (domain.to_owned(), template.into()));
    toml::Value::Table(entries.collect()).to_string()
}

/// Reads the templates of typed texts.
fn typed(reader: &mut SettingsReader<'_>) -> Templates {
    let Some(entries) = reader.table("templates") else { return Templates::default() };
    let mut templates = BTreeMap::new();
    for (domain, template) in entries {
        if !template.contains("{text}") {
            reader.problem(&format!("templates.{domain}"), "must contain {text}");
        }
        if templates.insert(normalize(&domain), template).is_some() {
            reader.problem(
                &format!("templates.{domain}"),
                "is the same domain as another one, spelled differently",
            );
        }
    }
    match templates.remove("default") {
        Some(fallback) => Templates::new(templates, fallback),
        None => Templates::default().with_domains(templates),
    }
}

/// Reads the templates of the texts that the backend indexes.
fn with_indexed(reader: &mut SettingsReader<'_>, templates: Templates) -> Templates {
    let Some(entries) = reader.table("serve_templates") else { return templates };
    for (domain, template) in &entries {
        if !template.contains(&format!("{{{domain}}}")) {
            reader.problem(
                &format!("serve_templates.{domain}"),
                format!("must contain {{{domain}}}, which stands for the name"),
            );
        }
    }
    templates.with_indexed(entries)
}

//! Settings of the two accounts: the Supabase project that corrections come from, and the Hub
//! repository that models are published to.

use url::Url;

use crate::hub::RepoName;

use super::reader::SettingsReader;

/// Reads the access to the table of corrections. Reports a problem when it is needed and not set.
pub(super) fn supabase(reader: &mut SettingsReader<'_>, needed: bool) -> Option<crate::ingest::TableAccess> {
    let url = url(reader, "SUPABASE_URL", "https://<project>.supabase.co");
    let (anonymous, service) = (reader.secret("SUPABASE_ANON_KEY"), reader.secret("SUPABASE_SERVICE_KEY"));
    let schema = reader.parse_or("SUPABASE_SCHEMA", "a schema", "public".to_owned(), |_| true);
    let table = reader.parse_or("SUPABASE_TABLE", "a table", "typo_training_dataset".to_owned(), |_| true);
    let columns = super::ingest::columns(reader);
    // The service key sees every row; the anonymous key sees only the rows that policies allow.
    let key = service.or(anonymous);
    if needed && url.is_none() && !reader.problems.iter().any(|problem| problem.setting == "SUPABASE_URL") {
        reader.problem("SUPABASE_URL", "is not set; it is the project's URL, https://<project>.supabase.co");
    }
    if needed && key.is_none() {
        reader.problem("SUPABASE_ANON_KEY", "is not set, nor is SUPABASE_SERVICE_KEY; one of them is needed");
    }
    Some(crate::ingest::TableAccess { url: url?, key: key?, schema, table, columns })
}

/// Reads the access to the model repository. Reports a problem when it is needed and not set.
pub(super) fn hub(reader: &mut SettingsReader<'_>, needed: bool) -> Option<crate::hub::HubAccess> {
    let endpoint = url(reader, "HF_ENDPOINT", "https://huggingface.co");
    let token = reader.secret("HF_TOKEN");
    let repo = reader.text("HF_REPO");
    if needed && token.is_none() {
        reader.problem("HF_TOKEN", "is not set; create a token with write access in the Hub's settings");
    }
    let repo = match repo {
        None => {
            if needed {
                reader.problem("HF_REPO", "is not set; it is the model repository, owner/name");
            }
            None
        }
        Some(name) => match name.parse::<RepoName>() {
            Ok(repo) => Some(repo),
            Err(_) => {
                reader.problem("HF_REPO", format!("is {name:?}; it must be owner/name"));
                None
            }
        },
    };
    let endpoint = endpoint.or_else(|| Url::parse("https://huggingface.co").ok())?;
    Some(crate::hub::HubAccess { endpoint, token, repo: repo? })
}

/// Reads a setting that must be an `http` or `https` URL.
fn url(reader: &mut SettingsReader<'_>, name: &'static str, example: &str) -> Option<Url> {
    let text = reader.text(name)?;
    match Url::parse(&text) {
        Ok(url) if ["http", "https"].contains(&url.scheme()) && url.host().is_some() => Some(url),
        _ => {
            reader.problem(name, format!("is {text:?}; it must be a URL such as {example}"));
            None
        }
    }
}

//! Settings of the two accounts: the Supabase project that corrections come from, and the Hub
//! repository that models are published to.

use url::Url;

use crate::hub::RepoName;
use crate::ingest::{DEFAULT_SCHEMA, DEFAULT_TABLE};

use super::reader::SettingsReader;

/// Address of the Hub.
const HUB: &str = "https://huggingface.co";

/// Reads the access to the table of corrections. Reports a problem when it is needed and not set.
pub(super) fn supabase(reader: &mut SettingsReader<'_>, needed: bool) -> Option<crate::ingest::TableAccess> {
    let url = url(reader, "SUPABASE_URL", "https://<project>.supabase.co");
    let (anonymous, service) = (reader.secret("SUPABASE_ANON_KEY"), reader.secret("SUPABASE_SERVICE_KEY"));
    let schema = reader.parse_or("SUPABASE_SCHEMA", "a schema", DEFAULT_SCHEMA.to_owned(), |_| true);
    let table = reader.parse_or("SUPABASE_TABLE", "a table", DEFAULT_TABLE.to_owned(), |_| true);
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
    let endpoint = reader.text_or("HF_ENDPOINT", HUB);
    let endpoint = checked_url(reader, "HF_ENDPOINT", &endpoint, HUB);
    let token = reader.secret("HF_TOKEN");
    if needed && token.is_none() {
        reader.problem("HF_TOKEN", "is not set; create a token with write access in the Hub's settings");
    }
    if needed && !reader.is_set("HF_REPO") {
        reader.problem("HF_REPO", "is not set; it is the model repository, owner/name");
    }
    let repo = reader.parse_if_set("HF_REPO", "owner/name", |name| name.parse::<RepoName>().ok());
    Some(crate::hub::HubAccess { endpoint: endpoint?, token, repo: repo? })
}

/// Reads a setting that must be an `http` or `https` URL.
pub(super) fn url(reader: &mut SettingsReader<'_>, name: &'static str, example: &str) -> Option<Url> {
    let text = reader.text(name)?;
    checked_url(reader, name, &text, example)
}

/// Returns the URL that a setting holds. Anything but the address alone is a problem.
fn checked_url(reader: &mut SettingsReader<'_>, name: &str, text: &str, example: &str) -> Option<Url> {
    match Url::parse(text) {
        Ok(url) if is_http(&url) && is_plain(&url) => Some(url),
        Ok(url) if is_http(&url) => {
            let problem = format!(
                "has a user, a query or a fragment; it must be the address alone, such as {example}, and keys have settings of their own"
            );
            reader.problem(name, problem);
            None
        }
        _ => {
            reader.refuse(name, text, format_args!("a URL such as {example}"));
            None
        }
    }
}

/// Returns true for a URL of HTTP.
pub(super) fn is_http(url: &Url) -> bool {
    ["http", "https"].contains(&url.scheme()) && url.host().is_some()
}

/// Returns true for a URL that is an address alone, and so can't hold a key.
pub(super) fn is_plain(url: &Url) -> bool {
    url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none()
}

//! Project that corrections come from, as the streams' owner mark names it.

use sha2::{Digest, Sha256};
use url::Url;

use crate::hex::hex;

/// Number of bytes of the hash that a fingerprint keeps: enough that no two projects share one.
const FINGERPRINT_BYTES: usize = 16;

/// A project: a table of one schema behind one URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    fingerprint: String,
    description: String,
}

impl Project {
    /// Describes the table `schema.table` behind this URL. Two ways to write one address are one
    /// project: case of scheme and host, default port, a dot or slash at the end. A user, password,
    /// query and fragment in the URL are left out.
    pub fn new(url: &Url, schema: &str, table: &str) -> Self {
        let host = url.host_str().unwrap_or_default().trim_end_matches('.').to_ascii_lowercase();
        let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
        let address = format!("{}://{host}{port}{}", url.scheme(), url.path().trim_end_matches('/'));
        // JSON keeps the three texts apart, whatever characters they hold.
        let identity = serde_json::json!([address, schema, table]).to_string();
        let hash = Sha256::digest(identity);
        let fingerprint = hex(&hash[..FINGERPRINT_BYTES]);
        Self { fingerprint, description: format!("{schema}.{table} at {address}") }
    }

    /// Returns the stable hash that identifies the project.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Returns the project in words, without secrets.
    pub fn description(&self) -> &str {
        &self.description
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(url: &str) -> Project {
        Project::new(&url.parse().unwrap(), "public", "pairs")
    }

    #[test]
    fn one_address_is_one_project_however_it_is_written() {
        let one = project("https://abc.supabase.co");
        assert_eq!(one.description(), "public.pairs at https://abc.supabase.co");
        assert_eq!(one.fingerprint().len(), 32);
        for same in [
            "HTTPS://ABC.supabase.co/",
            "https://abc.supabase.co:443//",
            "https://user:secret@abc.supabase.co./?apikey=secret#x",
        ] {
            assert_eq!(project(same), one, "{same}");
        }
        for other in ["http://abc.supabase.co", "https://abd.supabase.co", "https://abc.supabase.co:8443"] {
            assert_ne!(project(other).fingerprint(), one.fingerprint(), "{other}");
        }
    }

    #[test]
    fn another_table_or_schema_is_another_project() {
        let url = "https://abc.supabase.co".parse().unwrap();
        let one = Project::new(&url, "public", "pairs");
        assert_ne!(Project::new(&url, "public", "pairs2").fingerprint(), one.fingerprint());
        assert_ne!(Project::new(&url, "staging", "pairs").fingerprint(), one.fingerprint());
    }

    /// Streams carry the fingerprint for as long as they exist.
    #[test]
    fn the_fingerprint_never_changes() {
        assert_eq!(project("https://abc.supabase.co").fingerprint(), "2d6a0768edb957f48aa4b6212f17524c");
    }
}

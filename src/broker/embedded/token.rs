//! Token of the embedded server, made by the worker that first uses a store.
//!
//! Without a token, every account of the machine could read pairs and order a run that publishes a
//! refused model. The file lets commands and scripts of the same account in without a setting.

use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use autovalidate_finetune::durable;
use secrecy::SecretString;

use crate::broker::error::BrokerError;
use crate::hex::hex;

/// Token that clients of the embedded server present.
#[derive(Debug, Clone)]
pub enum ClientToken {
    /// The store's own: the content of the file `token` in the store folder, which only its owner
    /// can read. The server's first start makes it.
    Stored,
    /// A token that the operator chose.
    Given(SecretString),
    /// None: everybody who can reach the address can use the server. Only for tests.
    NotNeeded,
}

/// Length of the shortest token that a file may hold, in bytes.
const SHORTEST: usize = 16;
/// Length of the longest token that a file may hold, in bytes.
const LONGEST: usize = 256;

/// Returns the path of the file with the token of the store in this folder.
pub(crate) fn path(store: &Path) -> PathBuf {
    store.join("token")
}

/// Returns the token of the store in this folder, or `None` when no worker has made one yet.
///
/// # Errors
/// [`BrokerError::Store`] when the file can't be read or holds no token.
pub(crate) fn stored(store: &Path) -> Result<Option<SecretString>, BrokerError> {
    let path = path(store);
    match read(&path) {
        Ok(token) => Ok(Some(token)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(BrokerError::Store { path, source }),
    }
}

/// Returns the token of the store in this folder, and makes it from `fresh` if there is none yet.
/// The caller holds the store's lock.
pub(super) fn stored_or_new(store: &Path, fresh: [u8; 32]) -> Result<SecretString, BrokerError> {
    let path = path(store);
    if let Some(token) = stored(store)? {
        // A copy or a backup of the folder may have lost the permissions.
        fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(BrokerError::store(&path))?;
        return Ok(token);
    }
    let token = hex(&fresh);
    let written = durable::replace(&path, |file| {
        file.set_permissions(Permissions::from_mode(0o600))?;
        writeln!(file, "{token}")
    });
    written.map_err(BrokerError::store(&path))?;
    Ok(SecretString::from(token))
}

/// Reads a token: one line without spaces. nats-server takes one that begins with `$2` for a hash.
fn read(path: &Path) -> io::Result<SecretString> {
    let mut text = String::new();
    // A byte more than a token with its line break may have tells a longer file apart.
    File::open(path)?.take(LONGEST as u64 + 2).read_to_string(&mut text)?;
    let token = text.trim_end_matches(['\r', '\n']);
    let fits = (SHORTEST..=LONGEST).contains(&token.len());
    if !fits || !token.bytes().all(|byte| byte.is_ascii_graphic()) || token.starts_with("$2") {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!(
                "it must hold one line of {SHORTEST} to {LONGEST} letters and digits; remove the file, and the worker's next start makes a new one"
            ),
        ));
    }
    Ok(SecretString::from(token))
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    #[test]
    fn a_token_is_made_once_and_only_for_its_owner() {
        let store = tempfile::tempdir().unwrap();
        assert!(stored(store.path()).unwrap().is_none());
        let first = stored_or_new(store.path(), [7; 32]).unwrap();
        assert_eq!(first.expose_secret(), "07".repeat(32));
        let file = store.path().join("token");
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        let again = stored_or_new(store.path(), [8; 32]).unwrap();
        assert_eq!(again.expose_secret(), first.expose_secret());
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(stored(store.path()).unwrap().unwrap().expose_secret(), first.expose_secret());
    }

    #[test]
    fn a_file_that_holds_no_token_is_refused() {
        let store = tempfile::tempdir().unwrap();
        let long = "a".repeat(LONGEST + 1);
        for text in ["", "short", "sixteen letters!", "two\nlines of a text\n", "$2a$11$abcdefghijkl", &long]
        {
            fs::write(store.path().join("token"), text).unwrap();
            let error = stored(store.path()).unwrap_err();
            assert!(matches!(error, BrokerError::Store { .. }), "{text:?}: {error:?}");
        }
        fs::write(store.path().join("token"), "a".repeat(LONGEST) + "\r\n").unwrap();
        assert!(stored(store.path()).unwrap().is_some());
    }
}

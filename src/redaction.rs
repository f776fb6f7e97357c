//! Removal of secrets from texts that are printed, logged or recorded.
//!
//! Settings that are secrets never get here: they are wrapped, and print as `***`. This is for a
//! secret that sits where none belongs: a password in a URL, a key that was pasted into the wrong
//! setting, a token in the answer of a service. It is recognized by its form, so a short plain word
//! that happens to be a password is not.

use std::borrow::Cow;
use std::io;

/// Text that stands in place of a secret.
pub const HIDDEN: &str = "***";

/// Number of bytes from which a known secret is searched for in other texts. A shorter one, as tests
/// have, is part of ordinary words.
pub const SHORTEST_SECRET: usize = 6;

/// Largest number of characters of a refused value that a message repeats.
const LONGEST_QUOTE: usize = 80;

/// Prefixes that only keys have, whatever follows: Supabase, Fly.io, and private keys as PEM.
const KEY_PREFIXES: [&str; 7] =
    ["sb_secret_", "sb_publishable_", "sbp_", "fm1r_", "fm2_", "FlyV1 ", "-----BEGIN"];
/// Those that are in no word.
const SUPABASE_PREFIXES: [&str; 2] = ["sb_secret_", "sb_publishable_"];
/// Prefixes that keys share with ordinary words, which are shorter or have no digit and no capital:
/// Hugging Face, JWTs, bcrypt hashes, GitHub.
const LIKELY_PREFIXES: [&str; 6] = ["hf_", "eyJ", "$2", "ghp_", "gho_", "github_pat_"];
/// Names before a secret, in any case.
const NAMES: [&str; 6] = ["apikey=", "api_key=", "token=", "password=", "secret=", "bearer "];
/// Number of characters after one of [`LIKELY_PREFIXES`] from which a text counts as a key.
const SHORTEST_KEY: usize = 8;
/// Number of characters from which a run of letters and digits may count as random.
const SHORTEST_RANDOM: usize = 16;

/// Returns the text with everything that has the form of a secret replaced by [`HIDDEN`]: keys and
/// tokens of the services around this program, the user and password of a URL, and values whose
/// name says that they are secret. Hashes stay: they look random, but tell which file is meant.
pub fn redact(text: &str) -> Cow<'_, str> {
    scan(text, false)
}

/// Redacts a text, and with `random` also long runs of letters and digits that look random.
fn scan(text: &str, random: bool) -> Cow<'_, str> {
    let mut out = String::new();
    let mut rest = text;
    let mut before = None;
    while let Some(next) = rest.chars().next() {
        let found = match rest.strip_prefix("://") {
            Some(authority) => userinfo(authority).map(|length| Found { name: 3, length: 3 + length }),
            None if begins_word(before) => secret(rest).or_else(|| random_run(rest).filter(|_| random)),
            // A key that was pasted behind other letters.
            None if SUPABASE_PREFIXES.iter().any(|prefix| rest.starts_with(prefix)) => secret(rest),
            None => None,
        };
        let length = match found {
            Some(Found { name, length }) => {
                out.push_str(&rest[..name]);
                out.push_str(HIDDEN);
                length
            }
            None => {
                out.push(next);
                next.len_utf8()
            }
        };
        before = rest[..length].chars().next_back();
        rest = &rest[length..];
    }
    if out == text { Cow::Borrowed(text) } else { Cow::Owned(out) }
}

/// Place of a secret at the start of a text: lengths in bytes.
struct Found {
    /// Length of what stays visible before it, such as `://` or `password=`.
    name: usize,
    /// Length of the name and the secret.
    length: usize,
}

/// Returns a setting's value without its secrets. Stricter than [`redact`], because the text is
/// known to be one value: all that stands before an `@` may be a password with any characters, and
/// all of a URL's query and fragment may be a key, and so may every argument of a command.
pub fn redact_value(value: &str) -> String {
    if let Some(command) = value.strip_prefix("exec:") {
        return format!("exec:{}", program(command.trim()));
    }
    // A list is cut only when each part is a URL by itself: a password may have a comma.
    let is_url = |part: &str| url::Url::parse(part.trim()).is_ok_and(|url| url.has_host());
    if value.contains(',') && value.split(',').all(is_url) {
        return value.split(',').map(|part| redact_one(part.trim())).collect::<Vec<_>>().join(",");
    }
    redact_one(value)
}

/// Returns the program of a command, with a mark that arguments follow.
fn program(command: &str) -> String {
    let program = command.split_whitespace().next().unwrap_or_default();
    let plain = program.chars().all(|c| c.is_alphanumeric() || matches!(c, '/' | '.' | '_' | '-'));
    match (plain, program.len() == command.len()) {
        (true, true) => scan(program, true).into_owned(),
        (true, false) => format!("{} {HIDDEN}", scan(program, true)),
        (false, _) => HIDDEN.to_owned(),
    }
}

fn redact_one(value: &str) -> String {
    let (scheme, rest) = match value.split_once("://") {
        Some((scheme, rest)) => (format!("{}://", scan(scheme, true)), rest),
        None => (String::new(), value),
    };
    let (user, rest) = match rest.rsplit_once('@') {
        // Either the password has such a character, or the `@` is part of a path or a query.
        Some((before, _)) if !scheme.is_empty() && before.contains(['/', '?', '#']) => {
            return format!("{scheme}{HIDDEN}");
        }
        Some((_, rest)) => (format!("{HIDDEN}@"), rest),
        None => (String::new(), rest),
    };
    let (rest, query) = match rest.find(['?', '#']) {
        Some(at) if !scheme.is_empty() => (&rest[..at], format!("{}{HIDDEN}", &rest[at..=at])),
        _ => (rest, String::new()),
    };
    format!("{scheme}{user}{}{query}", scan(rest, true))
}

/// Returns a refused value in quotation marks, without its secrets. A value that is longer than a
/// line is told by its length alone: no setting needs such a value, but keys often have that length.
pub fn quote(value: &str) -> String {
    let shown = redact_value(value);
    match shown.chars().count() {
        count if count <= LONGEST_QUOTE => format!("{shown:?}"),
        count => format!("a text of {count} characters"),
    }
}

/// Returns true when a value as a whole is a key or token of a service.
pub fn is_key(value: &str) -> bool {
    secret(value).is_some_and(|found| found.name == 0 && found.length == value.len())
}

/// Returns true when a secret may begin after this character: not in the middle of a word.
fn begins_word(before: Option<char>) -> bool {
    before.is_none_or(|before| !before.is_ascii_alphanumeric())
}

/// Returns the length of the user and password that an authority begins with.
fn userinfo(authority: &str) -> Option<usize> {
    let end = authority
        .find(|c: char| {
            c.is_whitespace() || matches!(c, '/' | '?' | '#' | '"' | '\'' | '`' | '<' | '>' | ',')
        })
        .unwrap_or(authority.len());
    authority[..end].rfind('@')
}

/// Returns the secret that a text begins with.
fn secret(text: &str) -> Option<Found> {
    if let Some(prefix) = KEY_PREFIXES.into_iter().find(|prefix| text.starts_with(prefix)) {
        let length = match prefix {
            // The key's lines follow.
            "-----BEGIN" => text.len(),
            prefix => prefix.len() + span(&text[prefix.len()..], is_of_key),
        };
        return Some(Found { name: 0, length });
    }
    if let Some(prefix) = LIKELY_PREFIXES.into_iter().find(|prefix| text.starts_with(prefix)) {
        let key = &text[prefix.len()..];
        let key = &key[..span(key, is_of_key)];
        let mixed = key.contains(|c: char| c.is_ascii_digit() || c.is_ascii_uppercase());
        if key.len() >= SHORTEST_KEY && mixed {
            return Some(Found { name: 0, length: prefix.len() + key.len() });
        }
    }
    let name = NAMES
        .into_iter()
        .find(|name| text.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name)))?;
    let ends = |c: char| c.is_whitespace() || matches!(c, '&' | '"' | '\'' | '`');
    let value = span(&text[name.len()..], |c| !ends(c));
    (value > 0).then_some(Found { name: name.len(), length: name.len() + value })
}

/// Returns the random run of letters and digits that a text begins with.
fn random_run(text: &str) -> Option<Found> {
    let run = span(text, |c| c.is_ascii_alphanumeric() || matches!(c, '_' | '+' | '='));
    (run >= SHORTEST_RANDOM && is_random(&text[..run]))
        .then(|| Found { name: 0, length: span(text, is_of_key) })
}

/// Returns the length of the run of characters that a text begins with.
fn span(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    text.find(|c: char| !belongs(c)).unwrap_or(text.len())
}

/// Returns true for the characters of keys: base64 of both alphabets, and the dots of a JWT.
fn is_of_key(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+' | '/' | '=' | '.' | '$' | '~')
}

/// Returns true when letters and digits change places too often for a name: a word keeps to one
/// kind of character, a random text changes every second one.
fn is_random(run: &str) -> bool {
    let kind = |c: u8| match c {
        b'0'..=b'9' => Some(0),
        b'a'..=b'z' => Some(1),
        b'A'..=b'Z' => Some(2),
        _ => None,
    };
    let kinds: Vec<_> = run.bytes().map(kind).collect();
    let changes = kinds.windows(2).filter(|pair| pair[0] != pair[1] && !pair.contains(&None)).count();
    let has = |wanted: u8| kinds.contains(&Some(wanted));
    has(0) && (has(1) || has(2)) && changes * 6 >= run.len()
}

/// Writer of a log that removes secrets from each record, and sets off the lines after a record's first:
/// a line break in a text from outside must not begin what looks like a record.
#[derive(Debug, Clone, Copy, Default)]
pub struct Redacting<W>(pub W);

impl<W: io::Write> io::Write for Redacting<W> {
    /// Writes a whole record: the log hands over each in one call.
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(record);
        let redacted = redact(text.trim_end_matches('\n'));
        self.0.write_all(format!("{}\n", redacted.replace('\n', "\n  ")).as_bytes())?;
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn keys_and_passwords_go_and_the_rest_of_the_sentence_stays() {
        for (text, expected) in [
            ("connecting to nats://worker:s3cr3t@host:4222 now", "connecting to nats://***@host:4222 now"),
            ("tried tls://token@a:1, tls://u:p@b:2", "tried tls://***@a:1, tls://***@b:2"),
            (r#"{"url":"https://u:p%40x@h/path"}"#, r#"{"url":"https://***@h/path"}"#),
            (
                "wss://h/socket?apikey=eyJhbGciOiJIUzI1NiJ9.eyJ4Ijoi.x&vsn=1",
                "wss://h/socket?apikey=***&vsn=1",
            ),
            ("the key sb_secret_abc is refused", "the key *** is refused"),
            ("keysb_secret_abc, sb_sesb_secret_abc-", "key***, sb_se***"),
            ("hf_AbCdEfGhIjKlMnOpQrStUvWxYz012345", "***"),
            ("Authorization: Bearer abc.def", "Authorization: Bearer ***"),
            ("FlyV1 fm2_lJPE,fm2_x==", "***,***"),
            ("-----BEGIN USER NKEY SEED-----\nSUA\n", "***"),
        ] {
            assert_eq!(redact(text), expected);
        }
    }

    #[test]
    fn names_hashes_and_addresses_stay() {
        for text in [
            "hf_endpoint in autovalidate.toml is not a setting",
            "sentence-transformers/all-MiniLM-L6-v2",
            "https://abcdefghijklmnopqrst.supabase.co/rest/v1/x",
            "commit 5f70bf18a086007016e948b04aed3b82103a36be of you/model",
            "write to someone@example.com",
            "ingest: 20 rows, key bearer",
            "ängström 🦀 ://",
        ] {
            assert_eq!(redact(text), text);
            assert!(matches!(redact(text), Cow::Borrowed(_)));
        }
    }

    #[test]
    fn a_value_is_redacted_more_strictly() {
        for (value, expected) in [
            ("nats://u:pa,ss@host", "nats://***@host"),
            ("nats://u:p/ss#x?@host:1", "nats://***"),
            ("https://x.supabase.co/?apikey=a@b", "https://***"),
            ("nats://a:1,nats://u:p@b:2", "nats://a:1,nats://***@b:2"),
            ("worker:s3cr3t@host:4222", "***@host:4222"),
            ("https://x.supabase.co/?apikey=abc", "https://x.supabase.co/?***"),
            ("https://x.supabase.co#key", "https://x.supabase.co#***"),
            ("Zx3kLq9PzR8wYt2vBn7m", "***"),
            ("/data/Zx3kLq9PzR8wYt2vBn7m/x", "/data/***"),
            ("SUAEL6GG2L2HIF7DUGZJGMRUFKXELGGYFMHF76UO2AYBG3K4YLWR3FKC2Q", "***"),
            ("/usr/lib/libonnxruntime_1_31_0.so", "/usr/lib/libonnxruntime_1_31_0.so"),
            ("exec: systemctl start --no-block x", "exec:systemctl ***"),
            ("exec:TOKEN=abc /bin/start", "exec:***"),
            ("BAAI/bge-small-en-v1.5", "BAAI/bge-small-en-v1.5"),
            ("abcdefghijklmnopqrst", "abcdefghijklmnopqrst"),
        ] {
            assert_eq!(redact_value(value), expected);
        }
        assert_eq!(quote("a\"b"), r#""a\"b""#);
        assert_eq!(quote(&"x".repeat(100)), "a text of 100 characters");
    }

    #[test]
    fn a_record_of_the_log_is_redacted() {
        let mut log = Redacting(Vec::new());
        log.write_all(b"connecting to nats://u:p@host\n").expect("written");
        log.write_all(b"one\nerror: two\n").expect("written");
        assert_eq!(log.0, b"connecting to nats://***@host\none\n  error: two\n");
    }
}

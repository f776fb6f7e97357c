//! Addresses of a NATS server, as the official clients take them: several with commas, each with an
//! optional user and password or token before the host.

use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::broker::UserLogin;
use crate::redaction::quote;

/// Proof that stands in a URL.
#[derive(Debug, Clone)]
pub(super) enum UrlLogin {
    /// `user:password@`.
    User(UserLogin),
    /// `token@`.
    Token(SecretString),
}

impl UrlLogin {
    fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::User(one), Self::User(two)) => {
                one.name == two.name && one.password.expose_secret() == two.password.expose_secret()
            }
            (Self::Token(one), Self::Token(two)) => one.expose_secret() == two.expose_secret(),
            (Self::User(_), Self::Token(_)) | (Self::Token(_), Self::User(_)) => false,
        }
    }
}

/// Returns the addresses without users, and the one user or token that they name. The client
/// presents it to every server of the list, and to those of the cluster that it learns about.
///
/// # Errors
/// The problem, as a part of a sentence after the setting's name.
pub(super) fn parse(text: &str) -> Result<(Vec<String>, Option<UrlLogin>), String> {
    let mut urls = Vec::new();
    let mut found: Option<UrlLogin> = None;
    let mut websockets = None;
    for part in text.split(',') {
        // The whole text is quoted: a part may be a piece of a password.
        let refused = || {
            format!(
                "is {}; it must be `embedded` alone, or a list of URLs such as nats://host:4222, with user:password@ before the host where it is needed, and their special characters percent-encoded",
                quote(text)
            )
        };
        let mut url = Url::parse(part.trim()).map_err(|_| refused())?;
        let known = ["nats", "tls", "ws", "wss"].contains(&url.scheme());
        if !known || !url.has_host() || url.query().is_some() || url.fragment().is_some() {
            return Err(refused());
        }
        let websocket = url.scheme().starts_with("ws");
        if websockets.replace(websocket).is_some_and(|before| before != websocket) {
            return Err("mixes websocket addresses and others; the client can use one kind".to_owned());
        }
        let login = login(&url).ok_or_else(refused)?;
        match (&found, login) {
            (Some(one), Some(other)) if !one.same(&other) => {
                return Err("has several users or tokens; one must hold for all servers".to_owned());
            }
            (_, Some(login)) => found = Some(login),
            (_, None) => {}
        }
        url.set_password(None).and_then(|()| url.set_username("")).map_err(|()| refused())?;
        urls.push(url.to_string());
    }
    Ok((urls, found))
}

/// Returns the proof in a URL; `None` when it can't be decoded.
fn login(url: &Url) -> Option<Option<UrlLogin>> {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8().ok().map(|text| text.into_owned());
    let name = decoded(url.username())?;
    Some(match url.password() {
        Some(password) => {
            Some(UrlLogin::User(UserLogin { name, password: SecretString::from(decoded(password)?) }))
        }
        None if name.is_empty() => None,
        None => Some(UrlLogin::Token(SecretString::from(name))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Addresses, and the name and secret of the login.
    type Read = (Vec<String>, Option<(String, String)>);

    fn read(text: &str) -> Result<Read, String> {
        let (urls, login) = parse(text)?;
        Ok((
            urls,
            login.map(|login| match login {
                UrlLogin::User(user) => (user.name, user.password.expose_secret().to_owned()),
                UrlLogin::Token(token) => ("token".to_owned(), token.expose_secret().to_owned()),
            }),
        ))
    }

    #[test]
    fn users_and_tokens_are_taken_out_of_the_addresses_and_decoded() {
        let pair = |name: &str, secret: &str| Some((name.to_owned(), secret.to_owned()));
        for (text, urls, login) in [
            ("nats://host:4222", &["nats://host:4222"][..], None),
            ("tls://one, tls://two:1", &["tls://one", "tls://two:1"], None),
            ("nats://worker:simple@host", &["nats://host"], pair("worker", "simple")),
            ("nats://s3cr3t@host:1", &["nats://host:1"], pair("token", "s3cr3t")),
            ("nats://a%40b:p%2Fq%2Cr%25@host", &["nats://host"], pair("a@b", "p/q,r%")),
            ("nats://u:p@ss@[::1]:4222", &["nats://[::1]:4222"], pair("u", "p@ss")),
            ("nats://u:p@a:1,nats://b:2", &["nats://a:1", "nats://b:2"], pair("u", "p")),
            ("nats://u:p@a:1,nats://u:p@b:2", &["nats://a:1", "nats://b:2"], pair("u", "p")),
            ("wss://u:p@host/nats", &["wss://host/nats"], pair("u", "p")),
        ] {
            let urls: Vec<String> = urls.iter().map(ToString::to_string).collect();
            assert_eq!(read(text), Ok((urls, login)), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_without_its_password() {
        for (text, told) in [
            ("http://worker:s3cr3t@h:4222", "http://***@h:4222"),
            ("nats://u:s3,cr3t@host", "nats://***@host"),
            ("nats://u:1,s3cr3t@host", "nats://***@host"),
            ("nats://u:s3/cr3t@host", "nats://***"),
            ("nats://u:%ff@host", "nats://***@host"),
            ("nats://host?token=s3cr3t", "nats://host?***"),
            ("host:4222", "host:4222"),
            ("nats://a:p@h,nats://b:p@h", "several users"),
            ("nats://h,ws://h", "mixes websocket"),
            ("", "is \"\""),
        ] {
            let problem = read(text).expect_err(text);
            assert!(
                problem.contains(told) && !problem.contains("s3") && !problem.contains("cr3t"),
                "{problem}"
            );
        }
    }
}

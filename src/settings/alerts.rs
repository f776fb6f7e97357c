//! Settings of alerts: their receiver, their form, and the console that they link to.

use secrecy::ExposeSecret;
use url::Url;

use super::accounts::{is_http, url};
use super::reader::SettingsReader;
use crate::alert::{AlertFormat, AlertReceiver};

/// Reads the receiver of alerts, if there is one.
pub(super) fn alerts(reader: &mut SettingsReader<'_>) -> Option<AlertReceiver> {
    let format = reader.parse_or("ALERT_FORMAT", "json or slack", AlertFormat::default(), |_| true);
    let console = url(reader, "CONSOLE_URL", "https://trainer.example.org");
    let url = reader.secret("ALERT_URL")?;
    if Url::parse(url.expose_secret()).is_ok_and(|url| is_http(&url)) {
        return Some(AlertReceiver { url, format, console });
    }
    // The address may hold a key, so it is not shown.
    reader.problem("ALERT_URL", "must be a URL that begins with https:// or http://");
    None
}

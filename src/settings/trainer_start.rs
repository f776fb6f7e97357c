//! Setting of how a listener starts a trainer.

use secrecy::ExposeSecret;
use url::Url;

use super::accounts::{is_http, is_plain};
use super::reader::SettingsReader;
use crate::launcher::FlyApp;

/// Address of the Machines API inside Fly's private network.
const PRIVATE_API: &str = "http://_api.internal:4280";
/// Address of the Machines API elsewhere.
const PUBLIC_API: &str = "https://api.machines.dev";

/// The way in which a listener starts a trainer when a job waits and none is up.
#[derive(Debug, Clone, Default)]
pub enum TrainerStart {
    /// Trainers are started by somebody else.
    #[default]
    None,
    /// A machine of a Fly app is started.
    Fly(FlyApp),
    /// A command is run with `sh -c`.
    Command(String),
}

/// Reads the way to start a trainer.
pub(super) fn trainer_start(reader: &mut SettingsReader<'_>) -> TrainerStart {
    let token = reader.secret("FLY_API_TOKEN");
    if token
        .as_ref()
        .is_some_and(|token| token.expose_secret().chars().any(|c| !c.is_ascii_graphic() && c != ' '))
    {
        reader.problem("FLY_API_TOKEN", "has a line break or another character that no token has");
    }
    let default = if reader.variable("FLY_APP_NAME").is_some() { PRIVATE_API } else { PUBLIC_API };
    let api = reader.parse_or(
        "FLY_API_HOSTNAME",
        "the URL of the Machines API, such as https://api.machines.dev",
        default.to_owned(),
        |url: &String| Url::parse(url).is_ok_and(|url| is_http(&url) && is_plain(&url)),
    );
    let text = reader.text_or("TRAINER_START", "none");
    match text.split_once(':') {
        None if text == "none" => TrainerStart::None,
        Some(("exec", command)) if !command.trim().is_empty() => {
            TrainerStart::Command(command.trim().to_owned())
        }
        Some(("fly", name)) if is_fly_name(name) => {
            let (app, group) = match name.split_once('/') {
                Some((app, group)) => (app.to_owned(), Some(group.to_owned())),
                None => (name.to_owned(), None),
            };
            let own_machine = reader.variable("FLY_MACHINE_ID");
            match (token, Url::parse(&api)) {
                (Some(token), Ok(api)) => TrainerStart::Fly(FlyApp { api, token, app, group, own_machine }),
                (None, _) => {
                    let problem = format!(
                        "is not set, and TRAINER_START needs it to start machines; create one with `fly tokens create deploy --app {app}`"
                    );
                    reader.problem("FLY_API_TOKEN", problem);
                    TrainerStart::None
                }
                // The address has been reported above.
                (Some(_), Err(_)) => TrainerStart::None,
            }
        }
        _ => {
            let expected = "none, fly:<app>, fly:<app>/<process group>, or exec:<command>";
            reader.refuse("TRAINER_START", &text, expected);
            TrainerStart::None
        }
    }
}

/// Returns true for an app's name, alone or with a process group.
fn is_fly_name(name: &str) -> bool {
    let is_name = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    };
    match name.split_once('/') {
        Some((app, group)) => is_name(app) && is_name(group),
        None => is_name(name),
    }
}

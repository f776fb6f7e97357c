//! The new installation: what arguments, the file `.env`, the environment and a person say about it.

use url::Url;

use super::env_file::{self, Values, is_plain};
use super::fly::{self, FlyApp};
use super::migration::Parts;
use super::questions::Questions;
use super::{Args, hook};
use crate::cli::CliError;
use crate::hex::hex;
use crate::hub::RepoName;
use crate::ingest::webhook::PATH;
use crate::ingest::{DEFAULT_SCHEMA, DEFAULT_TABLE};

/// Image that this program was released with, for Fly.io, if a release has built it.
const IMAGE: Option<&str> = option_env!("AUTOVALIDATE_IMAGE");

/// Number of random bytes in a secret that is made.
const SECRET_BYTES: usize = 32;

/// Everything that the files say.
pub(super) struct Installation {
    /// Parts of the SQL.
    pub(super) parts: Parts,
    /// Values of the settings.
    pub(super) values: Values,
    /// Names of settings whose values are from the environment.
    pub(super) of_environment: Vec<&'static str>,
    /// The app on Fly.io, if there is to be one.
    pub(super) fly: Option<FlyApp>,
}

impl Installation {
    /// Collects what is known, and asks for the rest. An argument comes first, then `.env`, then the
    /// environment, then the person.
    pub(super) fn new(args: &Args, old: Values, questions: &Questions) -> Result<Self, CliError> {
        let mut values = old;
        let mut of_environment = Vec::new();
        let given = [
            ("SUPABASE_URL", args.supabase_url.as_ref().map(bare)),
            ("HF_REPO", args.hf_repo.as_ref().map(ToString::to_string)),
            ("SUPABASE_SCHEMA", args.schema.clone()),
            ("SUPABASE_TABLE", args.table.clone()),
        ];
        for (name, value) in given {
            values.extend(value.map(|value| (name.to_owned(), value)));
        }
        for name in env_file::names().filter(|name| is_taken_over(name)) {
            let found = std::env::var(name).ok().filter(|value| !value.trim().is_empty());
            if let (false, Some(value)) = (values.contains_key(name), found) {
                values.insert(name.to_owned(), value.trim().to_owned());
                of_environment.push(name);
            }
        }
        ask_accounts(args, &mut values, questions)?;
        let existing = args.existing_table
            || questions
                .yes("Does the table of corrections exist already, with rows or readers of its own?")?;
        let fly = fly_app(args, questions)?;
        let webhook = match (&args.webhook, &fly) {
            (Some(webhook), _) => Some(webhook.clone()),
            // The recipe's machine sleeps, so something must wake it.
            (None, Some(app)) if is_chosen(args, questions) => of_app(&app.name)?,
            (None, _) => {
                let question = "URL of the worker's webhook, ending with /hooks/supabase (empty: none)";
                let answer = questions.text(question, |text| hook(text).map(drop))?;
                answer.and_then(|text| hook(&text).ok())
            }
        };
        if let Some(origin) = webhook.as_ref().filter(|_| !values.contains_key("CONSOLE_URL")) {
            values.insert("CONSOLE_URL".to_owned(), origin.origin().ascii_serialization());
        }
        for name in ["WEBHOOK_SECRET", "CONSOLE_TOKEN"] {
            values.entry(name.to_owned()).or_insert_with(secret);
        }
        check(&values)?;
        let name = |setting: &str, default: &str| values.get(setting).map_or(default, |name| name).to_owned();
        let parts = Parts {
            schema: name("SUPABASE_SCHEMA", DEFAULT_SCHEMA),
            table: name("SUPABASE_TABLE", DEFAULT_TABLE),
            existing,
            public_read: args.public_read,
            webhook,
        };
        Ok(Self { parts, values, of_environment, fly })
    }
}

/// Returns true for a setting whose value is taken over from the environment: an account. What else is
/// set there may be about this machine only.
fn is_taken_over(name: &str) -> bool {
    ["SUPABASE_", "HF_"].iter().any(|prefix| name.starts_with(prefix))
}

/// Asks for the accounts that are not known.
fn ask_accounts(args: &Args, values: &mut Values, questions: &Questions) -> Result<(), CliError> {
    let mut ask = |name: &str, answer: &dyn Fn() -> Result<Option<String>, CliError>| {
        if !values.contains_key(name) {
            values.extend(answer()?.map(|answer| (name.to_owned(), answer)));
        }
        Ok::<(), CliError>(())
    };
    ask("SUPABASE_URL", &|| {
        let check = |text: &str| project(text).map(drop);
        let answer = questions.text("Supabase project's URL, https://<project>.supabase.co", check)?;
        Ok(answer.and_then(|text| project(&text).ok()).as_ref().map(bare))
    })?;
    match args.public_read {
        true => ask("SUPABASE_ANON_KEY", &|| questions.key("Its publishable or anon key"))?,
        false => {
            ask("SUPABASE_SERVICE_KEY", &|| questions.key("Its secret or service_role key (not shown)"))?
        }
    }
    ask("HF_TOKEN", &|| questions.key("Hugging Face token with write access (not shown)"))?;
    ask("HF_REPO", &|| {
        let check = |text: &str| text.parse::<RepoName>().map(drop).map_err(|error| error.to_string());
        questions.text("Model repository, owner/name", check)
    })
}

/// Returns the app on Fly.io, if there is to be one.
fn fly_app(args: &Args, questions: &Questions) -> Result<Option<FlyApp>, CliError> {
    if args.no_fly {
        return Ok(None);
    }
    let name = match (&args.fly_app, questions.can_ask()) {
        (Some(name), _) => Some(name.clone()),
        (None, false) => Some(fly::RECIPE_APP.to_owned()),
        (None, true) => questions.text("App on Fly.io (empty: none)", |text| fly::app(text).map(drop))?,
    };
    let Some(name) = name else { return Ok(None) };
    let given_or_asked =
        |given: Option<String>, question: &str, parse: fn(&str) -> Result<String, String>| match given {
            Some(given) => Ok(Some(given)),
            None => questions.text(question, |text| parse(text).map(drop)),
        };
    let region = given_or_asked(
        args.fly_region.clone(),
        "Region of the app, near the Supabase project (empty: fra, Frankfurt)",
        fly::region,
    )?;
    let region = region.unwrap_or_else(|| fly::RECIPE_REGION.to_owned());
    let image = given_or_asked(
        args.image.clone().or_else(|| IMAGE.map(str::to_owned)),
        "Image to run there, ending with -fly (empty: built from a checkout)",
        fly::image,
    )?;
    Ok(Some(FlyApp { name, region, image }))
}

/// Returns true when a person has named the app on Fly.io.
fn is_chosen(args: &Args, questions: &Questions) -> bool {
    args.fly_app.is_some() || questions.can_ask()
}

/// Returns the webhook of an app on Fly.io.
fn of_app(name: &str) -> Result<Option<Url>, CliError> {
    hook(&format!("https://{name}.fly.dev{PATH}"))
        .map(Some)
        .map_err(|problem| CliError::argument(problem, "Give the webhook's URL with --webhook."))
}

/// Parses the URL of a Supabase project.
pub(super) fn project(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let is_bare = |url: &Url| {
        url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    };
    url.filter(is_bare).ok_or_else(|| "give the project's URL, https://<project>.supabase.co".to_owned())
}

/// Returns a URL without the slash that every URL without a path gets.
fn bare(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

/// Makes a secret. The generator of a thread is a cryptographic one, seeded by the operating system.
fn secret() -> String {
    hex(&rand::random::<[u8; SECRET_BYTES]>())
}

/// Refuses values that readers of `.env` would read differently. The message has no value.
fn check(values: &Values) -> Result<(), CliError> {
    let special = values
        .iter()
        .filter(|(name, value)| env_file::names().any(|known| known == *name) && !is_plain(value));
    let special: Vec<&str> = special.map(|(name, _)| name.as_str()).collect();
    match special.is_empty() {
        true => Ok(()),
        false => Err(CliError::argument(
            format!(
                "{} has a space, a quote or another character that shells, Docker and Fly.io read differently in a .env file",
                special.join(", ")
            ),
            "Leave it out here, and set it in autovalidate.toml under the same name in lower case.",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_long_and_never_the_same() {
        let secrets = [secret(), secret(), secret()];
        assert!(secrets.iter().all(|secret| secret.len() == 2 * SECRET_BYTES && is_plain(secret)));
        assert!(secrets[0] != secrets[1] && secrets[1] != secrets[2]);
    }
}

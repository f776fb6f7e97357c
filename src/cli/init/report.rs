//! The closing lines of `init`: what became of each file, and the next commands.

use serde_json::{Value, json};

use super::env_file;
use super::files::{Outcome, Placed};
use super::fly::RECIPE_APP;
use super::installation::Installation;

/// Result of the command.
pub(super) struct Report<'a> {
    pub(super) installation: &'a Installation,
    pub(super) files: Vec<Placed>,
    /// Place of the database on which the SQL ran.
    pub(super) applied: Option<String>,
}

impl Report<'_> {
    /// Returns what scripts read.
    pub(super) fn json(&self) -> Value {
        json!({ "files": self.files, "missing": self.missing(), "applied": self.applied.is_some() })
    }

    /// Returns the lines that a person reads.
    pub(super) fn text(&self) -> String {
        let mut text: String = self.files.iter().map(lines).collect();
        if let Some(place) = &self.applied {
            text += &format!("applied    the SQL, on {place}\n");
        }
        let taken = &self.installation.of_environment;
        if !taken.is_empty() {
            text += &format!("{} as in the environment\n", taken.join(", "));
        }
        let missing = self.missing();
        if !missing.is_empty() {
            text += &format!("\nStill empty in .env: {}\n", missing.join(", "));
        }
        text + "\nNext:\n" + &self.steps()
    }

    fn missing(&self) -> Vec<&'static str> {
        env_file::missing(&self.installation.values, self.installation.parts.public_read)
    }

    fn steps(&self) -> String {
        let mut steps = String::new();
        if self.applied.is_none() {
            let migration = self.files.get(1).map(|file| file.path.display().to_string());
            steps += &format!(
                "  Prepare the database, with the same arguments and --apply 'postgres://postgres@<host>:5432/postgres' \
                 (password in PGPASSWORD).\n  Or run {} in the project's SQL editor, or with supabase db push{}.\n",
                migration.unwrap_or_default(),
                match &self.installation.parts.webhook {
                    Some(_) =>
                        "; put WEBHOOK_SECRET's value in its place first, which --apply does by itself",
                    None => "",
                }
            );
        }
        steps += "  Check and run it here:     set -a; . ./.env; set +a; autovalidate doctor && autovalidate worker\n";
        steps += "  Or in a container:         docker run --env-file .env --volume autovalidate:/data <image> worker\n";
        if let Some(app) = &self.installation.fly {
            steps +=
                "  Or on Fly.io:              fly secrets import --stage < .env && fly deploy --ha=false\n";
            if app.name == RECIPE_APP {
                steps +=
                    "    Names of apps are unique: put your app's in fly.toml, or give it with --fly-app.\n";
            }
            if app.image.is_none() {
                steps += "    fly.toml builds the image from a checkout of the repository; --image names a published one.\n";
            }
        }
        steps
    }
}

/// Returns the lines about a file.
fn lines(file: &Placed) -> String {
    let path = file.path.display();
    match &file.outcome {
        Outcome::Written => format!("written    {path}\n"),
        Outcome::Unchanged => format!("unchanged  {path}\n"),
        Outcome::Kept { diff } => {
            let diff: String = diff.lines().map(|line| format!("  {line}\n")).collect();
            format!("kept       {path}, which differs from what would be written:\n{diff}")
        }
    }
}

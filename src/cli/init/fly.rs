//! The file `fly.toml` of a new installation: recipe 1 of this repository, for an image that is published.

/// Name of the file.
pub(super) const NAME: &str = "fly.toml";

/// The recipe, of which everything but its head and its build stays.
const RECIPE: &str = include_str!("../../../fly.toml");
/// App of the recipe.
pub(super) const RECIPE_APP: &str = "autovalidate-trainer";
/// Region of the recipe.
pub(super) const RECIPE_REGION: &str = "fra";
/// First line after the recipe's head.
const AFTER_HEAD: &str = "# Names of apps are unique";
/// First line of the recipe's build.
const BUILD: &str = "[build]\n";
/// First line after the recipe's build.
const AFTER_BUILD: &str = "# Arguments to the image's entry point.";

const HEAD: &str = "\
# One machine on Fly.io that does everything and sleeps when there is nothing to do.
#
# A webhook or the hourly tick of the database wakes the machine. The worker ends by itself when it is idle.
# Secrets: fly secrets import --stage < .env. Deploy: fly deploy --ha=false

";

/// An app on Fly.io.
#[derive(Debug, Clone)]
pub(super) struct FlyApp {
    /// Name of the app.
    pub(super) name: String,
    /// Code of the region that the machine and its volume are in.
    pub(super) region: String,
    /// Image to run: the variant for Fly.io, whose tag ends with `-fly`. Without one, the machine is built
    /// from a checkout of the repository.
    pub(super) image: Option<String>,
}

/// Parses the name of an app.
pub(super) fn app(text: &str) -> Result<String, String> {
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    match !text.is_empty() && !text.starts_with('-') && text.chars().all(is_name) {
        true => Ok(text.to_owned()),
        false => Err("give the name of an app: lower-case letters, digits and `-`".to_owned()),
    }
}

/// Parses the code of a region.
pub(super) fn region(text: &str) -> Result<String, String> {
    match text.len() == 3 && text.chars().all(|c| c.is_ascii_lowercase()) {
        true => Ok(text.to_owned()),
        false => Err("give the code of a region, such as fra: `fly platform regions` lists them".to_owned()),
    }
}

/// Parses the reference of an image.
pub(super) fn image(text: &str) -> Result<String, String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | ':' | '.' | '-' | '_' | '@');
    match !text.is_empty() && text.chars().all(is_part) {
        true => Ok(text.to_owned()),
        false => Err("give an image, such as registry/owner/name:tag".to_owned()),
    }
}

/// Returns the text of the file.
pub(super) fn text(app: &FlyApp) -> String {
    let (_, body) = RECIPE.split_once(AFTER_HEAD).unwrap_or(("", RECIPE));
    let body = [("app", RECIPE_APP, &app.name), ("primary_region", RECIPE_REGION, &app.region)]
        .into_iter()
        .fold(format!("{HEAD}{AFTER_HEAD}{body}"), |body, (key, of_recipe, value)| {
            body.replacen(&format!("{key} = \"{of_recipe}\""), &format!("{key} = \"{value}\""), 1)
        });
    let Some(image) = &app.image else { return body };
    let build = format!(
        "[build]\n# Variant of the image that starts as root, because a new volume belongs to root, and then drops root for good.\nimage = \"{image}\"\n\n"
    );
    let (before, rest) = body.split_once(BUILD).unwrap_or((&body, ""));
    let (_, after) = rest.split_once(AFTER_BUILD).unwrap_or(("", rest));
    format!("{before}{build}{AFTER_BUILD}{after}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recipe_keeps_everything_but_its_head_its_app_its_region_and_its_build() {
        let recipe: toml::Table = RECIPE.parse().unwrap();
        let read = |image: Option<&str>| -> toml::Table {
            let (name, region) = ("mine".to_owned(), "ams".to_owned());
            let app = FlyApp { name, region, image: image.map(str::to_owned) };
            let text = text(&app);
            assert!(text.starts_with("# One machine") && !text.contains("docs/how-to"), "{text}");
            assert!(text.lines().all(|line| line.chars().count() <= 130), "{text}");
            text.parse().unwrap()
        };
        let built = read(None);
        assert_eq!((built["app"].as_str(), built["primary_region"].as_str()), (Some("mine"), Some("ams")));
        let pulled = read(Some("registry.example/owner/trainer:1.2.3-fly"));
        assert_eq!(pulled["build"].to_string(), "{ image = \"registry.example/owner/trainer:1.2.3-fly\" }");
        for (key, value) in &recipe {
            let is_ours = ["app", "primary_region", "build"].contains(&key.as_str());
            assert!(is_ours || pulled[key] == *value && built[key] == *value, "{key}");
        }
        assert_eq!((pulled.len(), &built["build"]), (recipe.len(), &recipe["build"]));
    }

    #[test]
    fn names_can_not_break_out_of_their_quotes() {
        for wrong in ["", "a\"b", "A", "-a", "a b", "a\nb"] {
            assert!(
                app(wrong).is_err() && (image(wrong).is_err() || wrong == "A" || wrong == "-a"),
                "{wrong:?}"
            );
        }
        for wrong in ["", "fr", "fran", "FRA", "f\"a"] {
            assert!(region(wrong).is_err(), "{wrong:?}");
        }
        assert!(
            app("my-trainer-2").is_ok()
                && region("ams").is_ok()
                && image("ghcr.io/a/b:1.0.0-fly@sha256:ab").is_ok()
        );
    }
}

//! `autovalidate suggest`: the nearest names to a typo, by one or several models side by side.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::correction::normalise;
use crate::evaluate::fuzzy_ratio;
use crate::job::{JobError, read_rows};
use crate::model::ModelFolder;
use crate::onnx::Runtime;
use crate::settings::{Needs, Settings};
use crate::train::Encoder;

use super::{CliError, Ending, print_json};

/// Shows which names a model finds nearest to a typo.
///
/// Example: autovalidate suggest toyta --domain brand --names pairs.csv --model my-model
#[derive(clap::Args)]
pub(super) struct Args {
    /// What was typed.
    typo: String,
    /// The field it was typed into.
    #[arg(long, default_value = "brand")]
    domain: String,
    /// File of corrections (as for `train`) whose names are searched.
    #[arg(long)]
    names: PathBuf,
    /// A model folder; give it again for each further model. BASE_MODEL when not given.
    #[arg(long)]
    model: Vec<PathBuf>,
    /// How many names are shown.
    #[arg(long, default_value_t = 5)]
    top: usize,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<Ending, CliError> {
    let settings = Settings::from_process(Needs { runtime: true, ..Needs::default() })?;
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    for row in read_rows(&args.names).map_err(JobError::from)? {
        if row.domain == args.domain {
            names.entry(normalise(&row.corrected)).or_insert(row.corrected);
        }
    }
    let names: Vec<String> = names.into_values().collect();
    if names.is_empty() {
        let what = format!("{} has no name of the domain {:?}", args.names.display(), args.domain);
        return Err(CliError::plain(what, "Give the right --domain or --names."));
    }
    let runtime = Runtime::load(&settings.runtime_library, settings.threads).map_err(JobError::from)?;
    let models = match args.model.is_empty() {
        true => vec![PathBuf::from(&settings.base_model)],
        false => args.model.clone(),
    };
    let mut texts = vec![settings.templates.render(&args.domain, &args.typo)];
    texts.extend(names.iter().map(|name| settings.templates.render(&args.domain, name)));
    let mut answers: BTreeMap<String, Vec<(String, f32)>> = BTreeMap::new();
    let fuzzy = names.iter().map(|name| (name.clone(), fuzzy_ratio(&args.typo, name) as f32)).collect();
    answers.insert("fuzzy ratio".to_owned(), best(fuzzy, args.top));
    for model in models {
        let folder = ModelFolder::open(&model).map_err(JobError::from)?;
        let rows = Encoder::embed_with(&runtime, &folder, &texts).map_err(JobError::from)?;
        let typo = rows.row(0);
        let cosine = |place: usize| {
            let name = rows.row(place + 1);
            typo.dot(&name) / (typo.dot(&typo).sqrt() * name.dot(&name).sqrt())
        };
        let scored = names.iter().enumerate().map(|(place, name)| (name.clone(), cosine(place))).collect();
        answers.insert(model.display().to_string(), best(scored, args.top));
    }
    if args.json {
        print_json(&answers)?;
        return Ok(Ending::Done);
    }
    for (who, answers) in answers {
        println!("{who}");
        for (name, score) in answers {
            println!("  {score:>8.3}  {name}");
        }
    }
    Ok(Ending::Done)
}

/// The best by score; what is no number comes last.
fn best(mut scored: Vec<(String, f32)>, top: usize) -> Vec<(String, f32)> {
    let key = |score: f32| if score.is_nan() { f32::NEG_INFINITY } else { score };
    scored.sort_by(|a, b| key(b.1).total_cmp(&key(a.1)).then_with(|| a.0.cmp(&b.0)));
    scored.truncate(top);
    scored
}

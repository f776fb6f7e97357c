//! `autovalidate suggest`: the nearest names to a typo, by several models side by side.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::catalog_row::CatalogRow;
use crate::correction::normalize;
use crate::evaluate::{Catalog, fuzzy_ratio};
use crate::hub::{Repository, Serving};
use crate::ingest::read_names;
use crate::run::{ModelFinder, RunError, Scorer};
use crate::settings::{Needs, Settings};
use crate::templates::Templates;
use autovalidate_finetune::onnx::Runtime;

use super::{CliError, CommandOutcome, handles, print_json, print_text};

/// Shows the names that models find nearest to a typo, side by side with the fuzzy matcher.
///
/// The names come from --names, else from CATALOG, else from the corrections of the running worker.
///
/// Example: autovalidate suggest "car brand: toyta" --names pairs.csv --model live --model my-model
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// Typo, plain or as the model sees it ("car brand: toyta", which also names the domain).
    text: String,
    /// Field that the typo was typed into; brand when neither this option nor the text names one.
    #[arg(long)]
    domain: Option<String>,
    /// File whose names are searched: corrections as for `train`, or names as for CATALOG; may be
    /// repeated.
    #[arg(long, value_name = "FILE")]
    names: Vec<PathBuf>,
    /// Model: `live`, `base`, a release's version, or a model folder; may be repeated. When not
    /// given: `live`, if HF_REPO is set and has a release, and `base`.
    #[arg(long)]
    model: Vec<String>,
    /// Number of names to show.
    #[arg(long, default_value_t = 5)]
    top: usize,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

/// Names that one model or the fuzzy matcher answers, best first.
#[derive(Serialize)]
struct Answer {
    by: String,
    names: Vec<(String, f32)>,
}

pub(super) async fn run(args: Args) -> Result<CommandOutcome, CliError> {
    let settings = Settings::from_process(Needs { runtime: true, ..Needs::default() })?;
    let (of_text, typo) = settings.templates.parse(&args.text).unwrap_or((Some("brand"), &args.text));
    let domain = args.domain.as_deref().or(of_text).map(normalize);
    let domain = domain.as_deref();
    // A text in the fallback template says only that its domain has no template of its own.
    let wanted = |of: &str| match domain {
        Some(domain) => of == domain,
        None => !settings.templates.has(of),
    };
    let rows = Box::pin(known(&args, &settings)).await?;
    let mut known: BTreeMap<String, (String, String)> = BTreeMap::new();
    for (of, name) in rows.iter().flat_map(CatalogRow::names) {
        let of = normalize(of);
        if of.is_empty() || wanted(&of) {
            let of = if of.is_empty() { domain.unwrap_or_default().to_owned() } else { of };
            known.entry(normalize(name)).or_insert((of, name.to_owned()));
        }
    }
    if known.is_empty() {
        let of = domain.map_or("outside the domains with a template".to_owned(), |domain| {
            format!("of the domain {domain:?}")
        });
        return Err(CliError::plain(
            format!("there is no name {of}"),
            "Give --names or set CATALOG, and check --domain.",
        ));
    }
    if let Some(domain) = domain.filter(|domain| !settings.templates.covers(domain)) {
        let fallback = settings.templates.fallback();
        eprintln!("the domain {domain:?} has no template: its texts are rendered as {fallback:?}");
    }
    let finder = ModelFinder {
        repository: settings.hub.clone().map(Repository::open).transpose()?,
        data_dir: settings.data_dir.clone(),
        base_model: settings.base_model.clone(),
    };
    let runtime = Runtime::load(&settings.runtime_library, settings.threads)
        .and_then(|runtime| runtime.on(settings.device))
        .map_err(RunError::from)?;
    let (names, mut texts) = indexed(
        Catalog::new(known.into_values()).with_indexed(&rows, &settings.templates),
        &settings.templates,
    );
    let ratios: Vec<f32> = names.iter().map(|(_, name)| fuzzy_ratio(typo, name) as f32).collect();
    let ranked =
        |scores: Vec<f32>| best(names.iter().map(|(_, name)| name.clone()).zip(scores).collect(), args.top);
    let mut answers = vec![Answer { by: "fuzzy ratio".to_owned(), names: ranked(ratios.clone()) }];
    let models = match (args.model.is_empty(), &settings.hub) {
        (false, _) => args.model.clone(),
        (true, Some(_)) => vec!["live".to_owned(), "base".to_owned()],
        (true, None) => vec!["base".to_owned()],
    };
    let of_typo = domain.or(names.first().map(|(of, _)| of.as_str())).unwrap_or_default();
    texts.push((0, settings.templates.render(of_typo, typo)));
    let (owners, texts): (Vec<usize>, Vec<String>) = texts.into_iter().unzip();
    for model in models {
        let folder = match finder.find(&model).await {
            Err(RunError::NoSuchModel { .. }) if args.model.is_empty() && model == "live" => continue,
            Err(error @ RunError::NoSuchModel { .. }) if !args.model.is_empty() => {
                let advice = "Give live, base, a release's version, or a model folder with --model.";
                return Err(CliError::plain(error.to_string(), advice));
            }
            found => found?,
        };
        let rows = Scorer::open(&runtime, &folder, &texts)?.embed(&texts).map_err(RunError::from)?;
        let typo = rows.row(texts.len() - 1);
        let mut cosines = vec![f32::NEG_INFINITY; names.len()];
        for (text, owner) in rows.rows().into_iter().zip(&owners).take(texts.len() - 1) {
            let cosine = typo.dot(&text) / (typo.dot(&typo).sqrt() * text.dot(&text).sqrt());
            cosines[*owner] = cosines[*owner].max(cosine);
        }
        answers.push(Answer { by: model.clone(), names: ranked(cosines.clone()) });
        if let (true, Some(repository)) = (model == "live", &finder.repository)
            && let Some(serving) = advice(repository).await?
        {
            let mixed = cosines.iter().zip(&ratios).map(|(cosine, ratio)| {
                serving.cosine_weight as f32 * cosine + serving.ratio_weight as f32 * ratio / 100.0
            });
            answers.push(Answer { by: "live, as advised".to_owned(), names: ranked(mixed.collect()) });
        }
    }
    if args.json {
        print_json(&answers)?;
    } else {
        print_text(&side_by_side(&answers))?;
    }
    Ok(CommandOutcome::Done)
}

/// Returns the `(domain, name)` pairs of a catalog, and the texts that the backend indexes for them, each
/// with the place of its name.
fn indexed(catalog: Catalog, templates: &Templates) -> (Vec<(String, String)>, Vec<(usize, String)>) {
    let (mut names, mut texts) = (Vec::new(), Vec::new());
    for (domain, spelled) in catalog.domains() {
        let first = names.len();
        let of_domain = catalog.texts(domain, templates).into_iter();
        texts.extend(of_domain.map(|(position, text)| (first + position, text)));
        names.extend(spelled.iter().map(|name| (domain.to_owned(), name.clone())));
    }
    (names, texts)
}

/// Returns the advice on serving the live model.
async fn advice(repository: &Repository) -> Result<Option<Serving>, CliError> {
    let (index, live) = tokio::try_join!(repository.index(), repository.newest()).map_err(RunError::from)?;
    Ok(live.and_then(|live| index.entry_of(&live)?.serving))
}

/// Returns the rows of names that can be suggested.
async fn known(args: &Args, settings: &Settings) -> Result<Vec<CatalogRow>, CliError> {
    if !args.names.is_empty() {
        let domains = settings.templates.indexed_domains();
        let files = args.names.iter().map(|file| read_names(file, &domains, false));
        let files: Result<Vec<_>, _> = files.collect();
        return Ok(files.map_err(RunError::from)?.concat());
    }
    if let Some(source) = settings.names() {
        return Ok(source.read().await.map_err(RunError::from)?);
    }
    let handles = handles().await?;
    let snapshot = handles.corrections.snapshot(u64::MAX).await?;
    handles.streams.connection().close().await;
    Ok(snapshot.rows.into_iter().map(|(_, row)| CatalogRow::alone(row.domain, row.corrected)).collect())
}

/// Formats the answers as columns, one per model.
fn side_by_side(answers: &[Answer]) -> String {
    const SCORE: usize = 8;
    let width = |answer: &Answer| {
        let names = answer.names.iter().map(|(name, _)| name.chars().count() + SCORE);
        names.chain([heading(&answer.by).chars().count()]).max().unwrap_or_default()
    };
    let columns: Vec<(&Answer, usize)> = answers.iter().map(|answer| (answer, width(answer))).collect();
    let line = |cell: &dyn Fn(&Answer) -> String| {
        let cells: Vec<String> =
            columns.iter().map(|(answer, width)| format!("{:width$}", cell(answer))).collect();
        cells.join("   ").trim_end().to_owned() + "\n"
    };
    let longest = answers.iter().map(|answer| answer.names.len()).max().unwrap_or_default();
    let mut text = line(&|answer| heading(&answer.by));
    for place in 0..longest {
        text += &line(&|answer| {
            answer.names.get(place).map_or(String::new(), |(name, score)| {
                let digits = if answer.by == "fuzzy ratio" { 1 } else { 3 };
                format!("{score:>6.digits$}  {name}")
            })
        });
    }
    text
}

/// Returns the heading of a column: for a path only its last part, because paths are long.
fn heading(by: &str) -> String {
    Path::new(by).file_name().map_or_else(|| by.to_owned(), |name| name.to_string_lossy().into_owned())
}

/// Returns the `top` best names by score. A score that is not a number comes last.
fn best(mut scored: Vec<(String, f32)>, top: usize) -> Vec<(String, f32)> {
    let key = |score: f32| if score.is_nan() { f32::NEG_INFINITY } else { score };
    scored.sort_by(|a, b| key(b.1).total_cmp(&key(a.1)).then_with(|| a.0.cmp(&b.0)));
    scored.truncate(top);
    scored
}

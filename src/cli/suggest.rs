//! `autovalidate suggest`: the nearest names to a typo, by several models side by side.

use std::path::{Path, PathBuf};

use crate::catalog_row::CatalogRow;
use crate::correction::normalize;
use crate::hub::{Repository, Serving};
use crate::ingest::read_names;
use crate::run::{ModelFinder, RunError, Suggestion, SuggestionQuery};
use crate::settings::{Needs, Settings};
use crate::table_file::ParquetReader;
use autovalidate_finetune::onnx::Runtime;

use super::config::settings;
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
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    top: u16,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args) -> Result<CommandOutcome, CliError> {
    let settings = settings(Needs { runtime: true, ..Needs::default() })?;
    let (of_text, typo) = settings.templates.parse(&args.text).unwrap_or((Some("brand"), &args.text));
    let domain = args.domain.as_deref().or(of_text).map(normalize);
    let domain = domain.as_deref();
    let rows = Box::pin(known(&args, &settings)).await?;
    let query = SuggestionQuery::new(typo, domain, &rows, &settings.templates, settings.gate.fuzzy);
    if query.names() == 0 {
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
    let mut answers = vec![query.by_ratio(args.top.into())];
    let models = match (args.model.is_empty(), &settings.hub) {
        (false, _) => args.model.clone(),
        (true, Some(_)) => vec!["live".to_owned(), "base".to_owned()],
        (true, None) => vec!["base".to_owned()],
    };
    for model in models {
        let folder = match finder.find(&model).await {
            Err(RunError::NoSuchModel { .. }) if args.model.is_empty() && model == "live" => continue,
            Err(error @ RunError::NoSuchModel { .. }) if !args.model.is_empty() => {
                let advice = "Give live, base, a release's version, or a model folder with --model.";
                return Err(CliError::plain(error.to_string(), advice));
            }
            found => found?,
        };
        let cosines = query.cosines(&runtime, &folder)?;
        answers.push(query.by_model(&model, &cosines, args.top.into()));
        if let (true, Some(repository)) = (model == "live", &finder.repository)
            && let Some(serving) = advice(repository).await?
        {
            answers.push(query.by_mixture("live, as advised", &cosines, &serving, args.top.into()));
        }
    }
    if args.json {
        print_json(&answers)?;
    } else {
        print_text(&side_by_side(&answers))?;
    }
    Ok(CommandOutcome::Done)
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
        let parquet = ParquetReader::of_this_program();
        let files = args.names.iter().map(|file| read_names(file, &domains, false, &parquet));
        let files: Result<Vec<_>, _> = files.collect();
        return Ok(files.map_err(RunError::from)?.concat());
    }
    if let Some(source) = settings.names() {
        return Ok(source.read().await.map_err(RunError::from)?);
    }
    let handles = handles().await?;
    let snapshot = handles.corrections.snapshot(u64::MAX).await?;
    handles.streams.connection().close().await;
    Ok(snapshot.rows.iter().map(|row| CatalogRow::alone(row.domain, row.corrected)).collect())
}

/// Formats the answers as columns, one per model.
fn side_by_side(answers: &[Suggestion]) -> String {
    const SCORE: usize = 8;
    let width = |answer: &Suggestion| {
        let names = answer.names.iter().map(|(name, _)| name.chars().count() + SCORE);
        names.chain([heading(&answer.by).chars().count()]).max().unwrap_or_default()
    };
    let columns: Vec<(&Suggestion, usize)> = answers.iter().map(|answer| (answer, width(answer))).collect();
    let line = |cell: &dyn Fn(&Suggestion) -> String| {
        let cells: Vec<String> =
            columns.iter().map(|(answer, width)| format!("{:width$}", cell(answer))).collect();
        cells.join("   ").trim_end().to_owned() + "\n"
    };
    let longest = answers.iter().map(|answer| answer.names.len()).max().unwrap_or_default();
    let mut text = line(&|answer| heading(&answer.by));
    for place in 0..longest {
        text += &line(&|answer| {
            answer.names.get(place).map_or(String::new(), |(name, score)| {
                let digits = if answer.by == SuggestionQuery::FUZZY { 1 } else { 3 };
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

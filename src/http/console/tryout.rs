//! The page `/try`: a typo, and what the backend would answer with each model.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use tokio::sync::Mutex;

use autovalidate_finetune::onnx::Runtime;

use super::Console;
use super::access::Visitor;
use super::form::{OwnForm, token_field};
use super::layout::{Page, trouble};
use super::words::thousands;
use crate::catalog_row::CatalogRow;
use crate::evaluate::FuzzyRule;
use crate::failure::{Failure, chain};
use crate::http::Views;
use crate::run::{ModelFinder, NameSource, RunError, Suggestion, SuggestionQuery};
use crate::templates::Templates;

/// Number of names that are shown of each model.
const TOP: usize = 5;
/// Largest number of names that are embedded for one question.
const MOST_NAMES: usize = 5_000;
/// Number of the newest pairs whose corrections are the names, where no catalog is set.
const NEWEST_PAIRS: u64 = 20_000;
/// Longest typo, in characters.
const LONGEST: usize = 256;

/// Models to try, on a worker that can run them.
pub struct Tryout {
    /// Runtime of the models.
    pub runtime: Runtime,
    /// Finder of the models.
    pub finder: ModelFinder,
    /// Templates that turn a text into a model's input.
    pub templates: Templates,
    /// Rule of the fuzzy matcher that answers before the model.
    pub fuzzy: FuzzyRule,
    /// Source of the names; `None` takes the corrections of the newest pairs.
    pub names: Option<NameSource>,
    /// One question at a time: each loads its models.
    pub asking: Mutex<()>,
}

/// Question of a visitor.
struct Question<'a> {
    typo: &'a str,
    domain: &'a str,
    version: &'a str,
}

/// Answers of the fuzzy matcher and of each model.
struct Answers {
    names: usize,
    fuzzy: Suggestion,
    models: Vec<Suggestion>,
}

/// Shows the form.
pub(super) async fn show(State(views): State<Arc<Views>>, Extension(visitor): Extension<Visitor>) -> Markup {
    let question = Question { typo: "", domain: "brand", version: "" };
    page(&views.console, &visitor, &question, html! {})
}

/// Shows the answers to a typo.
pub(super) async fn ask(
    State(views): State<Arc<Views>>,
    Extension(visitor): Extension<Visitor>,
    form: OwnForm,
) -> Response {
    let console = &views.console;
    let typo: String = form.field("typo").trim().chars().take(LONGEST).collect();
    let question =
        Question { typo: &typo, domain: form.field("domain").trim(), version: form.field("version").trim() };
    let answered = match &console.tryout {
        Some(tryout) if visitor.logged_in && !typo.is_empty() => {
            match Box::pin(console.answers(tryout, &question)).await {
                Ok(answers) => shown(&question, &answers, tryout.fuzzy),
                Err(error) => trouble("There is no answer.", &chain(&error), &error.advice()),
            }
        }
        Some(_) | None => html! {},
    };
    page(console, &visitor, &question, answered).into_response()
}

impl Console {
    async fn answers(&self, tryout: &Tryout, question: &Question<'_>) -> Result<Answers, RunError> {
        let _one_at_a_time = tryout.asking.lock().await;
        let names = match &tryout.names {
            Some(source) => source.read().await?,
            None => {
                let pairs = self.corrections.newest_pairs(NEWEST_PAIRS).await?;
                pairs.into_iter().map(|pair| CatalogRow::alone(pair.row.domain, pair.row.corrected)).collect()
            }
        };
        let domain = Some(question.domain).filter(|domain| !domain.is_empty());
        let query = SuggestionQuery::new(question.typo, domain, &names, &tryout.templates, tryout.fuzzy);
        let mut answers = Answers { names: query.names(), fuzzy: query.by_ratio(TOP), models: Vec::new() };
        if query.names() == 0 || query.names() > MOST_NAMES {
            return Ok(answers);
        }
        let mut models = vec!["live", "base"];
        models.extend(Some(question.version).filter(|version| !version.is_empty()));
        for model in models {
            let folder = match tryout.finder.find(model).await {
                // Before the first release.
                Err(RunError::NoSuchModel { .. }) if model == "live" => continue,
                found => found?,
            };
            let (asked, runtime) = (query.clone(), tryout.runtime.clone());
            let cosines = crate::run::blocking(move || asked.cosines(&runtime, &folder)).await?;
            answers.models.push(query.by_model(model, &cosines, TOP));
        }
        Ok(answers)
    }
}

fn page(console: &Console, visitor: &Visitor, question: &Question<'_>, answered: Markup) -> Markup {
    let page = Page { access: &console.access, visitor, path: "/try", title: "Try", live: None };
    let off = match (&console.tryout, visitor.logged_in) {
        (None, _) => Some(
            html! { "This worker runs no models. Open the console of a trainer, or use " code { "autovalidate suggest" } "." },
        ),
        (Some(_), false) => Some(
            html! { "Names are shown only to somebody who has logged in: set " code { "CONSOLE_TOKEN" } " on the worker." },
        ),
        (Some(_), true) => None,
    };
    page.show(html! {
        h1 { "Try a typo" }
        @if let Some(off) = off { p { (off) } } @else {
            section.card {
                form.fields method="post" action="/try" {
                    (token_field(&console.access, visitor))
                    div { label for="typo" { "Typo" } input #typo name="typo" required maxlength=(LONGEST) value=(question.typo) autocomplete="off"; }
                    div { label for="domain" { "Domain" } input #domain name="domain" maxlength="64" value=(question.domain); }
                    div { label for="version" { "Another version (optional)" } input #version name="version" maxlength="64" value=(question.version); }
                    button type="submit" { "Ask" }
                }
                p.hint { "Loads the models, which takes some seconds." }
            }
            div aria-live="polite" { (answered) }
        }
    })
}

fn shown(question: &Question<'_>, answers: &Answers, rule: FuzzyRule) -> Markup {
    let Answers { names, fuzzy, models } = answers;
    let best = fuzzy.names.first().map_or(0.0, |(_, ratio)| f64::from(*ratio));
    let sure = best >= rule.threshold;
    let first =
        |suggestion: &Suggestion| suggestion.names.first().map_or("–".to_owned(), |(name, _)| name.clone());
    html! {
        @if *names == 0 {
            (trouble("There is no name of this domain.", "", "Set CATALOG, or choose a domain that has pairs."))
        } @else {
            section.card {
                h2 { "What the backend would answer to " q { (question.typo) } }
                p.hint {
                    "The fuzzy matcher's best ratio is " (format!("{best:.0}")) ". "
                    @if sure { "From " (rule.threshold) " on it answers, and the model is not asked." }
                    @else { "It answers from " (rule.threshold) " on, so the model is asked." }
                    " " (thousands(*names as u64)) " names."
                }
                @if *names > MOST_NAMES { (trouble("Too many names for this page.", "", "Use `autovalidate suggest`, which takes any number of names.")) }
            }
            div.parts {
                @for model in models {
                    section.card {
                        h2 { (model.by) }
                        p.headline { @if sure { (first(fuzzy)) } @else { (first(model)) } }
                        (list(model, 3))
                    }
                }
                section.card { h2 { "Fuzzy matcher" } p.headline { (first(fuzzy)) } (list(fuzzy, 0)) }
            }
        }
    }
}

fn list(suggestion: &Suggestion, digits: usize) -> Markup {
    html! {
        table.bars {
            tbody {
                @for (name, score) in &suggestion.names {
                    tr { th scope="row" { (name) } td.number { (format!("{score:.digits$}")) } }
                }
            }
        }
    }
}

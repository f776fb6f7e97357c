//! Actions: each is asked once on a page of its own, then done by the same code as the command of its
//! name, and the page says what was done.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use maud::{Markup, html};

use super::Console;
use super::access::Visitor;
use super::form::{OwnForm, token_field};
use super::layout::{Page, trouble};
use super::pairs::row_id;
use crate::broker::{BrokerError, JobId, JobRequest, RunState};
use crate::corrections::{Decided, Forgotten, Quarantined};
use crate::failure::{Failure, chain};
use crate::http::Views;
use crate::row_identity::RowId;
use crate::run::{RollbackError, RunError, erase_snapshots, roll_back};

/// Reason that the record of a requested run has.
const REASON: &str = "console";

/// An action, as the address names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumString, strum::Display)]
#[strum(serialize_all = "lowercase")]
enum Action {
    Train,
    Cancel,
    Retry,
    Release,
    Drop,
    Forget,
    Rollback,
}

/// Text of an action's page: the question, its consequence, the answer's label, and its target.
struct Question {
    title: String,
    told: &'static str,
    yes: &'static str,
    /// Name of the field with the target, if there is one.
    field: Option<&'static str>,
    /// Page to return to.
    back: &'static str,
}

impl Action {
    fn question(self, target: &str) -> Question {
        let question = |title: String, told, yes, field, back| Question { title, told, yes, field, back };
        match self {
            Self::Train => question(
                "Train now?".to_owned(),
                "A run starts through the queue, on all pairs that are stored by then. It publishes its model only if the gate accepts it.",
                "Train now",
                None,
                "/",
            ),
            Self::Cancel => question(
                format!("Cancel run {target}?"),
                "A waiting run ends at once. One in progress ends as soon as it can, and not at all if its model is being published. It can be retried.",
                "Cancel the run",
                Some("run"),
                "/runs",
            ),
            Self::Retry => question(
                format!("Retry run {target}?"),
                "The run goes back on the queue, and continues from what it has recorded.",
                "Retry",
                Some("run"),
                "/runs",
            ),
            Self::Release => question(
                format!("Release row {target}?"),
                "The row is trained on from the next run on, wins over conflicting rows, and is never quarantined again. This can't be undone.",
                "Release",
                Some("row"),
                "/pairs#quarantine",
            ),
            Self::Drop => question(
                format!("Drop row {target}?"),
                "The row's text is deleted here for good; only its id and the reason stay. This can't be undone.",
                "Drop",
                Some("row"),
                "/pairs#quarantine",
            ),
            Self::Forget => question(
                format!("Forget row {target}?"),
                "The row's text is erased for good, no later model learns from it, and no sweep brings it back. Runs on this machine that learned from it can't be repeated any more. The table itself stays as it is: delete the row there, too.",
                "Forget",
                Some("row"),
                "/pairs",
            ),
            Self::Rollback => question(
                format!("Roll back to version {target}?"),
                "The version is published once more under a new name, so that the backend loads it. The version that is live now stays on the Hub. Vectors have to be computed again.",
                "Roll back",
                Some("version"),
                "/models",
            ),
        }
    }
}

/// Shows the question before an action.
pub(super) async fn confirm(
    State(views): State<Arc<Views>>,
    Extension(visitor): Extension<Visitor>,
    Path(action): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let access = &views.console.access;
    let Ok(action) = action.parse::<Action>() else { return unknown(&views, &visitor) };
    let target = |field: &str| query.get(field).map_or("", |target| target.trim());
    let question = action.question(action.question("").field.map_or("", target));
    let given = question.field.map(|field| (field, target(field)));
    if given.is_some_and(|(_, target)| target.is_empty()) {
        return unknown(&views, &visitor);
    }
    let content = html! {
        section.card.question {
            h1 { (question.title) }
            p { (question.told) }
            form method="post" action={ "/actions/" (action) } {
                (token_field(access, &visitor))
                @if let Some((field, target)) = given { input type="hidden" name=(field) value=(target); }
                @if action == Action::Train {
                    p.choice { input #dry-run type="checkbox" name="dry_run"; label for="dry-run" { "Dry run: do everything except publishing" } }
                    p.choice { input #force type="checkbox" name="force"; label for="force" { "Publish even if the gate says no" } }
                }
                p.actions {
                    button type="submit" class={ @if action != Action::Train && action != Action::Retry { "danger" } } { (question.yes) }
                    " " a.button.quiet href=(question.back) { "Back" }
                }
            }
        }
    };
    Page { access, visitor: &visitor, path: question.back, title: &question.title, live: None }
        .show(content)
        .into_response()
}

/// Performs an action that was confirmed, and says what was done.
pub(super) async fn perform(
    State(views): State<Arc<Views>>,
    Extension(visitor): Extension<Visitor>,
    Path(action): Path<String>,
    form: OwnForm,
) -> Response {
    let console = &views.console;
    let Ok(action) = action.parse::<Action>() else { return unknown(&views, &visitor) };
    let question = action.question("");
    let target = question.field.map_or("", |field| form.field(field));
    tracing::info!(%action, target, "a person acts in the console");
    let done = match action {
        Action::Train => Box::pin(console.train(&form)).await,
        Action::Cancel => Box::pin(console.cancel(target)).await,
        Action::Retry => Box::pin(console.retry(target)).await,
        Action::Release => Box::pin(console.decide(target, true)).await,
        Action::Drop => Box::pin(console.decide(target, false)).await,
        Action::Forget => Box::pin(console.forget(target)).await,
        Action::Rollback => Box::pin(console.roll_back(target)).await,
    };
    let (status, title, said) = match done {
        Ok(said) => (StatusCode::OK, "Done", html! { p role="status" { (said) } }),
        Err(refused) => {
            let Refused { status, message, advice } = refused;
            (status, "Not done", trouble("Nothing was changed here.", &message, &advice))
        }
    };
    let content = html! {
        section.card.question { h1 { (title) } (said) p.actions { a.button href=(question.back) { "Go on" } } }
    };
    let page = Page { access: &console.access, visitor: &visitor, path: question.back, title, live: None };
    (status, page.show(content)).into_response()
}

fn unknown(views: &Views, visitor: &Visitor) -> Response {
    let content = html! { h1 { "No such action" } p { a href="/" { "Overview" } } };
    let page = Page { access: &views.console.access, visitor, path: "", title: "No such action", live: None };
    (StatusCode::NOT_FOUND, page.show(content)).into_response()
}

/// Reason why an action was not carried out.
struct Refused {
    status: StatusCode,
    message: String,
    advice: String,
}

impl Refused {
    fn new(status: StatusCode, message: impl Into<String>, advice: &str) -> Self {
        Self { status, message: message.into(), advice: advice.to_owned() }
    }

    fn of(error: &(impl Failure + 'static), status: StatusCode) -> Self {
        Self { status, message: chain(error), advice: error.advice() }
    }
}

impl From<BrokerError> for Refused {
    fn from(error: BrokerError) -> Self {
        let status = match &error {
            BrokerError::UnknownRun { .. } => StatusCode::NOT_FOUND,
            BrokerError::RunEnded { .. }
            | BrokerError::RunNotEnded { .. }
            | BrokerError::NotReleasable { .. } => StatusCode::CONFLICT,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::of(&error, status)
    }
}

impl From<RunError> for Refused {
    fn from(error: RunError) -> Self {
        Self::of(&error, StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl From<RollbackError> for Refused {
    fn from(error: RollbackError) -> Self {
        let status = match &error {
            RollbackError::Unknown { .. } => StatusCode::NOT_FOUND,
            RollbackError::AlreadyLive { .. } | RollbackError::Superseded { .. } => StatusCode::CONFLICT,
            RollbackError::Run(_) => StatusCode::BAD_GATEWAY,
        };
        Self::of(&error, status)
    }
}

fn job_id(text: &str) -> Result<JobId, Refused> {
    let unknown =
        || Refused::new(StatusCode::NOT_FOUND, "There is no such run.", "Choose one on the page of runs.");
    text.parse().map_err(|_| unknown())
}

fn row(text: &str) -> Result<RowId, Refused> {
    let wrong = || {
        Refused::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "That is not an id.",
            "Give the id that the row has in the table.",
        )
    };
    text.trim().parse().map_err(|_| wrong())
}

impl Console {
    async fn train(&self, form: &OwnForm) -> Result<Markup, Refused> {
        let request = JobRequest {
            reason: Some(REASON.to_owned()),
            dry_run: form.is_checked("dry_run"),
            force: form.is_checked("force"),
            ..JobRequest::default()
        };
        let id = self.jobs.enqueue(&request).await?;
        Ok(html! { "Run " a href={ "/runs/" (id) } { (id) } " is on the queue." })
    }

    async fn cancel(&self, target: &str) -> Result<Markup, Refused> {
        let id = job_id(target)?;
        Ok(match self.jobs.cancel(&id).await? {
            RunState::Running => {
                html! { "Run " a href={ "/runs/" (id) } { (id) } " is in progress and ends as soon as it can." }
            }
            _ => html! { "Run " a href={ "/runs/" (id) } { (id) } " is cancelled." },
        })
    }

    async fn retry(&self, target: &str) -> Result<Markup, Refused> {
        let id = job_id(target)?;
        self.jobs.retry(&id).await?;
        Ok(html! { "Run " a href={ "/runs/" (id) } { (id) } " is queued again." })
    }

    async fn decide(&self, target: &str, release: bool) -> Result<Markup, Refused> {
        let id = row(target)?;
        // An interrupted decision has left messages that nobody would list.
        self.corrections.complete_releases().await?;
        self.corrections.complete_erasures().await?;
        let kept = self.corrections.quarantined(None).await?;
        let rows: Vec<&Quarantined> = kept.iter().filter(|kept| row_id(&kept.row) == id).collect();
        if rows.is_empty() {
            let message = format!("No row with the id {id} is in quarantine.");
            return Err(Refused::new(StatusCode::NOT_FOUND, message, "Look at the page of pairs again."));
        }
        let decided = match release {
            true => self.corrections.release(&rows).await?,
            false => self.corrections.drop_quarantined(&rows).await?,
        };
        Ok(html! {
            @for decided in decided {
                "Row " (id) " is "
                @match decided { Decided::Released => "released", Decided::Dropped => "dropped", Decided::Already => "released already" }
                ". "
            }
        })
    }

    async fn forget(&self, target: &str) -> Result<Markup, Refused> {
        let id = row(target)?;
        let Forgotten { numbers, unknown, messages } = self.corrections.forget(&[id.number()], &[]).await?;
        let erased: BTreeSet<i64> = numbers.iter().copied().collect();
        let runs = erase_snapshots(&self.data_dir, erased).await?;
        Ok(html! {
            @if unknown.is_empty() { "Row " (id) " is erased, with " (messages) " messages. " } @else { "Row " (id) " was not stored, and will not be. " }
            @if runs > 0 { (runs) " runs on this machine can't be repeated any more. " }
            "The table itself is as it was: delete the row there, too. Versions that learned from it: "
            code { "autovalidate lineage " (id) }
        })
    }

    async fn roll_back(&self, target: &str) -> Result<Markup, Refused> {
        let Some(repository) = &self.hub.repository else {
            return Err(Refused::new(
                StatusCode::CONFLICT,
                "The repository is not known.",
                "Set HF_REPO and HF_TOKEN on this worker.",
            ));
        };
        let beside = self.data_dir.join("rollbacks");
        let done = Box::pin(roll_back(repository, target, &beside, Timestamp::now())).await?;
        self.hub.changed();
        Ok(html! {
            "Version " (done.version) " is live again, as " (done.release.version()) ", instead of " (done.instead_of)
            ". Compute vectors of " (done.instead_of) " again: see " code { "models/index.json" } "."
        })
    }
}

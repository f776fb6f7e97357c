//! An alert and its words.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use url::Url;

use crate::broker::{ALERT, ENDED, Event, JobId, RunState};
use crate::text::plain_line;

/// Longest text from elsewhere in an alert, in characters.
const MAX_TEXT: usize = 600;

/// Kind of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, strum::Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum AlertKind {
    /// A run has published a model.
    Published,
    /// A run's model was kept back: it was not better, or a person has to decide.
    Refused,
    /// A run was given up.
    Failed,
    /// No rows get in from the table.
    IngestHeldUp,
    /// Rows get in again.
    IngestRecovered,
}

/// Form of the body that is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, strum::Display, strum::EnumString)]
#[strum(serialize_all = "lowercase")]
pub enum AlertFormat {
    /// The alert's fields.
    #[default]
    Json,
    /// A message for an incoming webhook of Slack, or of a service that takes the same.
    Slack,
}

/// Something that a person would want to know at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// Kind of the alert.
    pub kind: AlertKind,
    /// Summary in one line.
    pub title: String,
    /// Details, and what to do; may be empty.
    #[serde(default)]
    pub text: String,
    /// Run that the alert is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
    /// Time at which it happened.
    pub at: Timestamp,
}

/// Detail of the event for the end of a run, as far as an alert tells it.
#[derive(Deserialize)]
struct Ended {
    state: RunState,
    #[serde(default)]
    verdict: Value,
    #[serde(default)]
    artifact: Option<Artifact>,
    #[serde(default)]
    error: Option<EndedError>,
}

#[derive(Deserialize)]
struct Artifact {
    path: String,
}

#[derive(Deserialize)]
struct EndedError {
    #[serde(default)]
    message: String,
    #[serde(default)]
    advice: String,
}

impl Alert {
    /// Returns the alert that an event is worth; `None` for most events.
    pub fn of(event: &Event) -> Option<Self> {
        match event.stage.as_str() {
            ALERT => Self::deserialize(&event.detail).ok(),
            ENDED => Self::of_run(event),
            _ => None,
        }
    }

    fn of_run(event: &Event) -> Option<Self> {
        let Ended { state, verdict, artifact, error } = Ended::deserialize(&event.detail).ok()?;
        let job = &event.job;
        let verdict = verdict.as_str().map(|verdict| plain_line(verdict, MAX_TEXT)).unwrap_or_default();
        let reason = error.map(|error| {
            [error.message, error.advice].map(|text| plain_line(&text, MAX_TEXT)).join(" ").trim().to_owned()
        });
        let (kind, title, text) = match (state, artifact) {
            (RunState::Done, Some(artifact)) => {
                let path = plain_line(&artifact.path, MAX_TEXT);
                (AlertKind::Published, format!("run {job} published {path}"), verdict)
            }
            (RunState::Refused, _) => (
                AlertKind::Refused,
                format!("the model of run {job} was kept back"),
                reason.unwrap_or(verdict),
            ),
            (RunState::Failed, _) => {
                (AlertKind::Failed, format!("run {job} failed"), reason.unwrap_or_default())
            }
            // A dry run, a person's cancellation, or an attempt that is tried again.
            (RunState::Done | RunState::Cancelled | RunState::Queued | RunState::Running, _) => return None,
        };
        Some(Self { kind, title, text, job: Some(job.clone()), at: event.at })
    }

    /// Returns the body to send. `console` is the address of the console, for a link.
    pub fn body(&self, format: AlertFormat, console: Option<&Url>) -> Value {
        let page = self.job.as_ref().map(|job| format!("runs/{job}")).unwrap_or_default();
        let link = console.and_then(|console| console.join(&page).ok());
        match format {
            AlertFormat::Json => {
                let mut body = json!(self);
                if let (Some(link), Some(body)) = (link, body.as_object_mut()) {
                    body.insert("link".to_owned(), json!(link.as_str()));
                }
                body
            }
            AlertFormat::Slack => {
                let lines = [Some(format!("*{}*", escaped(&self.title))), Some(escaped(&self.text))];
                let link = link.map(|link| format!("<{link}|Console>"));
                let lines = lines.into_iter().chain([link]).flatten().filter(|line| !line.is_empty());
                json!({ "text": lines.collect::<Vec<_>>().join("\n") })
            }
        }
    }
}

/// Escapes the three characters that Slack's messages give a meaning.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(detail: Value) -> Option<Alert> {
        let job = JobId::for_pairs(1, 20, 0);
        Alert::of(&Event { job, stage: ENDED.to_owned(), at: Timestamp::UNIX_EPOCH, detail })
    }

    #[test]
    fn the_ends_that_a_person_wants_to_know_are_alerts_and_the_others_are_not() {
        let published = ended(json!({
            "state": "done", "verdict": "better: +0.02", "artifact": { "path": "models/x.zip", "size": 1 }
        }));
        let published = published.unwrap();
        assert_eq!(published.kind, AlertKind::Published);
        assert_eq!(published.title, "run pairs-1-20 published models/x.zip");
        assert_eq!(published.text, "better: +0.02");
        let failed = ended(json!({
            "state": "failed",
            "error": { "message": "the Hub\n refuses", "advice": "Set HF_TOKEN.", "remedy": "person" }
        }));
        let failed = failed.unwrap();
        assert_eq!((failed.kind, failed.text.as_str()), (AlertKind::Failed, "the Hub refuses Set HF_TOKEN."));
        assert_eq!(
            ended(json!({ "state": "refused", "verdict": "worse" })).unwrap().kind,
            AlertKind::Refused
        );
        for state in ["done", "cancelled", "queued", "running"] {
            assert_eq!(ended(json!({ "state": state })), None, "{state}");
        }
        assert_eq!(ended(json!({ "state": "exploded" })), None);
        assert_eq!(ended(json!("done")), None);
    }

    #[test]
    fn a_body_links_to_the_console_and_slacks_own_characters_are_escaped() {
        let alert = Alert {
            kind: AlertKind::Failed,
            title: "run a failed".to_owned(),
            text: "a < b & c".to_owned(),
            job: Some("a".parse().unwrap()),
            at: Timestamp::UNIX_EPOCH,
        };
        let console: Url = "https://trainer.example/".parse().unwrap();
        let body = alert.body(AlertFormat::Json, Some(&console));
        assert_eq!(
            (&body["kind"], &body["link"]),
            (&json!("failed"), &json!("https://trainer.example/runs/a"))
        );
        assert_eq!(alert.body(AlertFormat::Json, None).get("link"), None);
        let body = alert.body(AlertFormat::Slack, Some(&console));
        let expected = "*run a failed*\na &lt; b &amp; c\n<https://trainer.example/runs/a|Console>";
        assert_eq!(body, json!({ "text": expected }));
    }
}

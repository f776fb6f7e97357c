//! Names on NATS: streams, buckets, subjects and the status service, all below one namespace.
//!
//! Without a namespace the names are those of `docs/reference/nats.md`. A namespace goes in front of
//! each: `shop_CORRECTIONS`, `shop.corrections.>`, `shop_training_runs`, `shop-training-status`. So
//! installations with different namespaces share a server, and none sees another's messages.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::job_id::JobId;
use crate::correction::subject_token;

/// Longest namespace, in bytes.
const MAX_NAMESPACE: usize = 32;

/// First tokens of the subjects without a namespace. A namespace of that name would put its subjects
/// among them: `corrections.corrections.brand` is a subject of `corrections.>`.
const RESERVED: [&str; 3] = ["corrections", "quarantine", "training"];

/// Name of a stream or bucket. Clones are cheap.
pub type Name = Arc<str>;

/// Error for a text that is not a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a namespace")]
pub struct NotANamespace;

/// Prefix of all names of one installation: 1 to 32 lower-case ASCII letters, digits, `-` and `_`,
/// beginning with a letter, and none of `corrections`, `quarantine` and `training`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace(String);

impl Namespace {
    /// Allowed values, for messages about a setting.
    pub const EXPECTED: &str = "1 to 32 lower-case letters, digits, - and _, beginning with a letter, and not corrections, quarantine or training";
}

impl FromStr for Namespace {
    type Err = NotANamespace;

    fn from_str(text: &str) -> Result<Self, NotANamespace> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
        let begins = text.starts_with(|first: char| first.is_ascii_lowercase());
        if begins && text.len() <= MAX_NAMESPACE && text.bytes().all(allowed) && !RESERVED.contains(&text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotANamespace)
        }
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// All names of one installation. Clones are cheap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    all: Arc<AllNames>,
}

#[derive(Debug, PartialEq, Eq)]
struct AllNames {
    namespace: Option<Namespace>,
    corrections: Name,
    quarantine: Name,
    training: Name,
    training_events: Name,
    training_runs: Name,
    trainer_state: Name,
    training_checkpoints: Name,
    /// Prefix of every subject: empty, or the namespace and a dot.
    prefix: String,
    jobs_subject: String,
    cancel_subject: String,
    status_subject: String,
    status_service: String,
}

impl Default for Names {
    fn default() -> Self {
        Self::new(None)
    }
}

impl Names {
    /// Makes the names below a namespace, or the names without one.
    pub fn new(namespace: Option<Namespace>) -> Self {
        let before =
            |separator: &str| namespace.as_ref().map_or_else(String::new, |n| format!("{n}{separator}"));
        let name = |base: &str| Name::from(format!("{}{base}", before("_")));
        let prefix = before(".");
        let all = AllNames {
            corrections: name("CORRECTIONS"),
            quarantine: name("QUARANTINE"),
            training: name("TRAINING"),
            training_events: name("TRAINING_EVENTS"),
            training_runs: name("training_runs"),
            trainer_state: name("trainer_state"),
            training_checkpoints: name("training_checkpoints"),
            jobs_subject: format!("{prefix}training.jobs"),
            cancel_subject: format!("{prefix}training.cancel"),
            status_subject: format!("{prefix}training.status"),
            status_service: format!("{}training-status", before("-")),
            prefix,
            namespace,
        };
        Self { all: Arc::new(all) }
    }

    /// Returns the namespace, if there is one.
    pub fn namespace(&self) -> Option<&Namespace> {
        self.all.namespace.as_ref()
    }

    /// Returns the name of the stream of trainable rows.
    pub fn corrections(&self) -> &Name {
        &self.all.corrections
    }

    /// Returns the name of the stream of refused rows.
    pub fn quarantine(&self) -> &Name {
        &self.all.quarantine
    }

    /// Returns the name of the stream of job requests.
    pub fn training(&self) -> &Name {
        &self.all.training
    }

    /// Returns the name of the stream of progress and outcomes.
    pub fn training_events(&self) -> &Name {
        &self.all.training_events
    }

    /// Returns the name of the bucket of run records.
    pub fn training_runs(&self) -> &Name {
        &self.all.training_runs
    }

    /// Returns the name of the bucket of state that must survive a restart.
    pub fn trainer_state(&self) -> &Name {
        &self.all.trainer_state
    }

    /// Returns the name of the bucket of checkpoints.
    pub fn training_checkpoints(&self) -> &Name {
        &self.all.training_checkpoints
    }

    /// Returns the subject that job requests are published on.
    pub fn jobs_subject(&self) -> &str {
        &self.all.jobs_subject
    }

    /// Returns the subject of requests to cancel a run; the body is the run's id. The events' stream
    /// stores these requests, so that the next worker finds one that was made while no worker was
    /// running.
    pub fn cancel_subject(&self) -> &str {
        &self.all.cancel_subject
    }

    /// Returns the subject that the status service answers on.
    pub fn status_subject(&self) -> &str {
        &self.all.status_subject
    }

    /// Returns the name of the status service in `nats micro ls`.
    pub fn status_service(&self) -> &str {
        &self.all.status_service
    }

    /// Returns the subject of a pair of this domain.
    pub fn correction_subject(&self, domain: &str) -> String {
        format!("{}corrections.{}", self.all.prefix, subject_token(domain))
    }

    /// Returns the subjects of all pairs.
    pub fn correction_subjects(&self) -> String {
        format!("{}corrections.>", self.all.prefix)
    }

    /// Returns the domain in the subject of a pair, as a subject writes it.
    pub fn correction_domain<'a>(&self, subject: &'a str) -> Option<&'a str> {
        subject.strip_prefix(&self.all.prefix)?.strip_prefix("corrections.")
    }

    /// Returns the subject of a quarantined row; the last token names the reason, or `dropped`.
    pub fn quarantine_subject(&self, reason: impl fmt::Display) -> String {
        format!("{}quarantine.{reason}", self.all.prefix)
    }

    /// Returns the subjects of all quarantined rows.
    pub fn quarantine_subjects(&self) -> String {
        format!("{}quarantine.>", self.all.prefix)
    }

    /// Returns the reason in the subject of a quarantined row.
    pub fn quarantine_reason<'a>(&self, subject: &'a str) -> Option<&'a str> {
        subject.strip_prefix(&self.all.prefix)?.strip_prefix("quarantine.")
    }

    /// Returns the subject of an event of a run.
    pub fn event_subject(&self, job: &JobId, stage: &str) -> String {
        format!("{}training.events.{job}.{stage}", self.all.prefix)
    }

    /// Returns the subject of the events of one stage, of all runs.
    pub fn stage_subject(&self, stage: &str) -> String {
        format!("{}training.events.*.{stage}", self.all.prefix)
    }

    /// Returns the subjects of all events.
    pub fn event_subjects(&self) -> String {
        format!("{}training.events.>", self.all.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_namespace_every_name_is_as_documented() {
        let names = Names::default();
        let streams = [names.corrections(), names.quarantine(), names.training(), names.training_events()];
        assert_eq!(streams.map(|name| &**name), ["CORRECTIONS", "QUARANTINE", "TRAINING", "TRAINING_EVENTS"]);
        let buckets = [names.training_runs(), names.trainer_state(), names.training_checkpoints()];
        assert_eq!(buckets.map(|name| &**name), ["training_runs", "trainer_state", "training_checkpoints"]);
        let subjects = [names.jobs_subject(), names.cancel_subject(), names.status_subject()];
        assert_eq!(subjects, ["training.jobs", "training.cancel", "training.status"]);
        assert_eq!(names.status_service(), "training-status");
        assert_eq!(names.correction_subject("Brand!"), "corrections.brand_");
        assert_eq!(names.correction_domain("corrections.brand_"), Some("brand_"));
        assert_eq!(names.quarantine_subject("burst"), "quarantine.burst");
        assert_eq!(names.quarantine_reason("quarantine.burst"), Some("burst"));
        let job: JobId = "pairs-1-2".parse().unwrap();
        assert_eq!(names.event_subject(&job, "train"), "training.events.pairs-1-2.train");
    }

    #[test]
    fn a_namespace_goes_in_front_of_every_name() {
        let names = Names::new(Some("shop".parse().unwrap()));
        assert_eq!(&**names.corrections(), "shop_CORRECTIONS");
        assert_eq!(&**names.training_runs(), "shop_training_runs");
        assert_eq!(names.jobs_subject(), "shop.training.jobs");
        assert_eq!(names.status_service(), "shop-training-status");
        assert_eq!(names.correction_subjects(), "shop.corrections.>");
        assert_eq!(names.quarantine_reason("shop.quarantine.empty"), Some("empty"));
        assert_eq!(names.quarantine_reason("quarantine.empty"), None);
    }

    #[test]
    fn a_namespace_that_could_collide_is_none() {
        for text in ["shop", "shop-2", "a_b", "t"] {
            assert!(text.parse::<Namespace>().is_ok(), "{text}");
        }
        let long = "a".repeat(33);
        for text in ["", "Shop", "2shop", "_x", "a.b", "a b", "a*", "ä", "training", "corrections", &long] {
            assert!(text.parse::<Namespace>().is_err(), "{text}");
        }
    }
}

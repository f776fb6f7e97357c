//! Kinds of faults, by the part of the system that they strike.

use std::fmt;
use std::time::Duration;

use autovalidate_fakes::{hub, supabase};
use axum::http::StatusCode;
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use strum::IntoEnumIterator;
use supabase::{RestFault, SocketFault};

/// Stages of a run at whose start a trainer is struck. `ended` is the moment between the end of a run
/// and the acknowledgement of its job.
const STAGES: [&str; 9] =
    ["load-base", "fetch-data", "train", "evaluate", "gate", "package", "publish", "clean-up", "ended"];

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// A switch of the local Supabase.
    Supabase(SupabaseFault),
    /// A switch of the local Hub.
    Hub(HubFault),
    /// A process, at a moment of the schedule.
    Process(Target, Blow),
    /// The trainer that works on a run, when a stage of the run begins.
    Stage(&'static str, Blow),
    /// The disk of a trainer has no byte left.
    DiskFull,
}

/// Process that a blow strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, strum::Display, strum::EnumIter)]
#[strum(serialize_all = "kebab-case")]
pub(crate) enum Target {
    Listener,
    Trainer,
    NatsServer,
    Supabase,
    Hub,
}

/// Signal to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, strum::Display, strum::EnumIter)]
#[strum(serialize_all = "kebab-case")]
pub(crate) enum Blow {
    /// SIGKILL. The process is started again.
    Kill,
    /// SIGTERM. The process is started again.
    Stop,
    /// SIGSTOP, and SIGCONT when the fault ends.
    Freeze,
}

impl Blow {
    pub(crate) fn signal(self) -> Signal {
        match self {
            Self::Kill => Signal::SIGKILL,
            Self::Stop => Signal::SIGTERM,
            Self::Freeze => Signal::SIGSTOP,
        }
    }
}

#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumIter,
)]
#[strum(serialize_all = "kebab-case")]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SupabaseFault {
    CutSockets,
    CloseSockets,
    ExpireTokens,
    CrashChannels,
    LoseEventsAndSubscribeAgain,
    DegradeChannels,
    SilenceHeartbeats,
    SilenceJoins,
    RefuseJoins,
    RefuseUpgrades,
    DropEvents,
    DropWebhooks,
    DuplicateEvents,
    BreakEvents,
    SlowFrames,
    Unpublish,
    DelayCommits,
    SkewClock,
    DisableKeys,
    Rest401,
    Rest429,
    Rest503,
    RestHtml,
    RestTruncated,
    RestTimeout,
    SlowRest,
    LimitRows,
    LimitBytes,
    StalePages,
}

#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumIter,
)]
#[strum(serialize_all = "kebab-case")]
#[serde(rename_all = "kebab-case")]
pub(crate) enum HubFault {
    Unavailable,
    RateLimited,
    Refuse401,
    Refuse403,
    Conflict,
    RivalCommit,
    FailCommit,
    LoseCommitAnswer,
    LoseCommitAnswerThen403,
    CutUpload,
    EndLinks,
    SlowUploads,
    CutDownload,
    CorruptDownload,
}

impl Fault {
    /// Returns every kind of fault, in a fixed order.
    pub(crate) fn all() -> Vec<Self> {
        let mut all: Vec<Self> = SupabaseFault::iter().map(Self::Supabase).collect();
        all.extend(HubFault::iter().map(Self::Hub));
        for blow in Blow::iter() {
            all.extend(STAGES.map(|stage| Self::Stage(stage, blow)));
            all.extend(
                [Target::Listener, Target::Trainer, Target::NatsServer].map(|each| Self::Process(each, blow)),
            );
        }
        // The local Supabase keeps its table in memory, so these two are never killed.
        all.extend([Target::Supabase, Target::Hub].map(|each| Self::Process(each, Blow::Freeze)));
        all.push(Self::DiskFull);
        all
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Supabase(fault) => write!(formatter, "Supabase: {fault}"),
            Self::Hub(fault) => write!(formatter, "Hub: {fault}"),
            Self::Process(target, blow) => write!(formatter, "process: {blow} {target}"),
            Self::Stage(stage, blow) => write!(formatter, "trainer: {blow} at {stage}"),
            Self::DiskFull => formatter.write_str("disk: full"),
        }
    }
}

impl SupabaseFault {
    /// Switches the fault on, or ends it. A fault that strikes once has no end.
    pub(crate) fn set(self, faults: &supabase::Faults, on: bool) {
        let strike = |fault| {
            if on {
                faults.strike(fault);
            }
        };
        let rest = |fault, times| match on {
            true => faults.fail_rest(fault, times),
            false => faults.clear_rest(),
        };
        let while_on = |time| if on { time } else { Duration::ZERO };
        match self {
            Self::CutSockets => strike(SocketFault::Kill),
            Self::CloseSockets => strike(SocketFault::Close(1012)),
            Self::ExpireTokens => strike(SocketFault::TokenExpired),
            Self::CrashChannels => strike(SocketFault::ChannelCrash),
            Self::LoseEventsAndSubscribeAgain => strike(SocketFault::Resubscribed),
            Self::DegradeChannels => strike(SocketFault::Degraded),
            Self::SilenceHeartbeats => faults.silence_heartbeats(on),
            Self::SilenceJoins => faults.silence_joins(on),
            Self::RefuseJoins => faults.refuse_joins(on.then_some("InitializingProjectConnection: starting")),
            Self::RefuseUpgrades => faults.refuse_upgrades(429, if on { 2 } else { 0 }),
            Self::DropEvents => faults.drop_events(if on { 20 } else { 0 }),
            Self::DropWebhooks => faults.drop_webhooks(if on { 50 } else { 0 }),
            Self::DuplicateEvents => faults.duplicate_events(on),
            Self::BreakEvents => faults.break_events(on),
            Self::SlowFrames => faults.delay_frames(while_on(Duration::from_millis(400))),
            Self::Unpublish => faults.unpublish(on),
            Self::DelayCommits => faults.delay_commits(while_on(Duration::from_millis(1_500))),
            Self::SkewClock => faults.skew_clock(while_on(Duration::from_secs(120))),
            Self::DisableKeys => faults.disable_legacy_keys(on),
            Self::Rest401 => rest(RestFault::Status(401), 1),
            Self::Rest429 => rest(RestFault::Status(429), 3),
            Self::Rest503 => rest(RestFault::Status(503), 3),
            Self::RestHtml => rest(RestFault::Html(502), 3),
            Self::RestTruncated => rest(RestFault::Truncated, 3),
            Self::RestTimeout => rest(RestFault::StatementTimeout, 2),
            Self::SlowRest => faults.delay_rest(while_on(Duration::from_millis(1_500))),
            Self::LimitRows => faults.limit_statement_rows(on.then_some(12)),
            Self::LimitBytes => faults.limit_answer_bytes(on.then_some(2_000)),
            Self::StalePages => faults.serve_stale_pages(on),
        }
    }
}

impl HubFault {
    /// Switches the fault on, or ends it. A fault that strikes the next requests ends with them.
    pub(crate) fn set(self, faults: &hub::Faults, on: bool) {
        let refused = |status| faults.refuse(on.then_some(status));
        match self {
            Self::Refuse401 => refused(StatusCode::UNAUTHORIZED),
            Self::Refuse403 => refused(StatusCode::FORBIDDEN),
            Self::SlowUploads => {
                faults.slow_uploads(if on { Duration::from_millis(300) } else { Duration::ZERO })
            }
            Self::LoseCommitAnswerThen403 if !on => faults.clear(),
            _ if !on => {}
            Self::Unavailable => faults.unavailable(4),
            Self::RateLimited => faults.limit(2, Duration::from_secs(1)),
            Self::Conflict => faults.conflict(1),
            Self::RivalCommit => faults.rival("notes/rival.md", "A file that somebody else committed.\n"),
            Self::FailCommit => faults.fail_commit(2),
            Self::LoseCommitAnswer => faults.lose_commit_answer(1),
            Self::LoseCommitAnswerThen403 => faults.lose_commit_answer_and_refuse(StatusCode::FORBIDDEN),
            Self::CutUpload => faults.cut_upload(20_000),
            Self::EndLinks => faults.end_links(1),
            Self::CutDownload => faults.cut_download(20_000),
            Self::CorruptDownload => faults.corrupt_download(1),
        }
    }
}

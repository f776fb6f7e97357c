//! Kinds of the answers that PostgREST, Supabase, or a gateway in front of them give instead of rows.
//!
//! Sorts an answer by its code, its status and its words. The codes are those of PostgREST and
//! PostgreSQL; the statuses 402 and 540 are Supabase's, and those from 520 on Cloudflare's.

use super::page_size::SmallerPage;
use super::server_message::ServerMessage;
use crate::failure::RetryDirective;

/// Kind of an answer instead of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, strum::Display, strum::VariantArray)]
pub enum AnswerKind {
    /// The key is missing or wrong.
    #[strum(to_string = "the key is refused")]
    KeyRefused,
    /// The project takes only the newer keys.
    #[strum(to_string = "the project's legacy keys are disabled")]
    LegacyKeysDisabled,
    /// The JWT's time is over.
    #[strum(to_string = "the key has expired")]
    KeyExpired,
    /// The JWT was issued in the future, by the service's clock.
    #[strum(to_string = "the key is not valid yet by the service's clock")]
    KeyFromFuture,
    /// The JWT is malformed, or of another project.
    #[strum(to_string = "the key is no token of this project")]
    KeyInvalid,
    /// The key's role lacks a permission.
    #[strum(to_string = "the key's role may not read the table")]
    NotPermitted,
    /// The table does not exist.
    #[strum(to_string = "the table does not exist")]
    MissingTable,
    /// The schema is not exposed.
    #[strum(to_string = "the schema is not exposed")]
    MissingSchema,
    /// The table lacks a column that the worker reads.
    #[strum(to_string = "a column is missing")]
    MissingColumn,
    /// The id column can't be compared with a whole number.
    #[strum(to_string = "the id column is not of a whole number's type")]
    ColumnType,
    /// A policy, a view or a function of the project fails.
    #[strum(to_string = "a policy, a view or a function of the table fails")]
    PolicyFails,
    /// The project is paused.
    #[strum(to_string = "the project is paused")]
    ProjectPaused,
    /// The project is restricted, by a quota or an unpaid bill.
    #[strum(to_string = "the project is restricted")]
    ProjectRestricted,
    /// The service lacks a setting of its own.
    #[strum(to_string = "the service is not set up")]
    ServiceNotSetUp,
    /// Something answers at the address, but no PostgREST.
    #[strum(to_string = "the address is not PostgREST's")]
    WrongAddress,
    /// The address has moved.
    #[strum(to_string = "the address has moved")]
    Moved,
    /// A gateway blocks this machine.
    #[strum(to_string = "a gateway blocks this machine")]
    Blocked,
    /// The table's or a column's name stands for more than one thing.
    #[strum(to_string = "the table's name is ambiguous")]
    Ambiguous,
    /// The asked range does not exist.
    #[strum(to_string = "the range is refused")]
    RangeRefused,
    /// The service can't answer in JSON.
    #[strum(to_string = "the service does not answer in JSON")]
    NotAcceptable,
    /// The service refuses the request for another reason.
    #[strum(to_string = "the request is refused")]
    Refused,
    /// The statement took too long.
    #[strum(to_string = "the database cancelled the statement after its time limit")]
    StatementTimeout,
    /// The answer is larger than a gateway allows.
    #[strum(to_string = "a gateway refuses an answer of this size")]
    PageTooLarge,
    /// The database fails at the content of a row.
    #[strum(to_string = "the database fails at a row")]
    RowFails,
    /// Too many requests.
    #[strum(to_string = "the service gets too many requests")]
    RateLimited,
    /// The database is down, is starting, or has no connection left.
    #[strum(to_string = "the database is not available")]
    DatabaseDown,
    /// The gateway can't reach the project.
    #[strum(to_string = "the gateway can't reach the project")]
    Unreachable,
    /// The service or the gateway failed.
    #[strum(to_string = "the service is busy or failed")]
    Busy,
}

impl AnswerKind {
    /// Sorts an answer; `said` is `None` for one that is not a JSON object.
    pub(super) fn of(status: u16, said: Option<&ServerMessage>) -> Self {
        said.map_or_else(|| of_page(status), |said| of_message(status, said))
    }

    /// Returns the remedy of a smaller page.
    pub(super) fn smaller_page(self) -> SmallerPage {
        self.reaction().1
    }

    /// Returns the retry directive.
    pub(super) fn directive(self) -> RetryDirective {
        self.reaction().0
    }

    fn reaction(self) -> (RetryDirective, SmallerPage) {
        match self {
            Self::StatementTimeout | Self::PageTooLarge | Self::RowFails => {
                (RetryDirective::Retry, SmallerPage::MayHelp)
            }
            Self::Busy => (RetryDirective::Retry, SmallerPage::MayHelpLater),
            Self::RateLimited | Self::DatabaseDown | Self::Unreachable => {
                (RetryDirective::Retry, SmallerPage::IsNoRemedy)
            }
            Self::KeyRefused
            | Self::LegacyKeysDisabled
            | Self::KeyExpired
            | Self::KeyFromFuture
            | Self::KeyInvalid
            | Self::NotPermitted
            | Self::MissingTable
            | Self::MissingSchema
            | Self::MissingColumn
            | Self::ColumnType
            | Self::PolicyFails
            | Self::ProjectPaused
            | Self::ProjectRestricted
            | Self::ServiceNotSetUp
            | Self::WrongAddress
            | Self::Moved
            | Self::Blocked
            | Self::Ambiguous
            | Self::RangeRefused
            | Self::NotAcceptable
            | Self::Refused => (RetryDirective::Person, SmallerPage::IsNoRemedy),
        }
    }
}

/// Sorts an answer of PostgREST, or of a gateway that answers in JSON. Codes decide before statuses:
/// the same code has had more than one status.
fn of_message(status: u16, said: &ServerMessage) -> AnswerKind {
    use AnswerKind as Kind;
    match said.code() {
        "57014" => Kind::StatementTimeout,
        "42501" => Kind::NotPermitted,
        "42P01" | "PGRST205" => Kind::MissingTable,
        "3F000" | "PGRST106" => Kind::MissingSchema,
        "42703" | "PGRST204" => Kind::MissingColumn,
        // An id that is no number (22P02), out of a number's range (22003), or not comparable.
        "22P02" | "22003" | "22007" | "22008" | "42883" | "42804" => Kind::ColumnType,
        "42P17" => Kind::PolicyFails,
        // Before PGRST303 there was one code for every JWT.
        "PGRST301" | "PGRST303" if said.says("expired") => Kind::KeyExpired,
        "PGRST301" | "PGRST303" if said.says("future") || said.says("not yet valid") => Kind::KeyFromFuture,
        "PGRST301" | "PGRST303" => Kind::KeyInvalid,
        "PGRST302" => Kind::KeyRefused,
        "PGRST300" => Kind::ServiceNotSetUp,
        "PGRST000" | "PGRST001" | "PGRST002" | "PGRST003" => Kind::DatabaseDown,
        "PGRST103" => Kind::RangeRefused,
        "PGRST107" | "PGRST116" => Kind::NotAcceptable,
        "PGRST201" | "PGRST203" => Kind::Ambiguous,
        code => match code.get(..2) {
            Some("08" | "53" | "57") => Kind::DatabaseDown,
            Some("40" | "55") => Kind::Busy,
            Some("54" | "XX") => Kind::RowFails,
            Some("22" | "38" | "39" | "P0") => Kind::PolicyFails,
            Some("28" | "0L" | "0P") => Kind::KeyRefused,
            _ => of_status(status, said),
        },
    }
}

/// Sorts an answer whose code says nothing.
fn of_status(status: u16, said: &ServerMessage) -> AnswerKind {
    use AnswerKind as Kind;
    match status {
        300 => Kind::Ambiguous,
        301..=399 => Kind::Moved,
        401 | 403 if said.says("legacy api keys") => Kind::LegacyKeysDisabled,
        401 | 403 => Kind::KeyRefused,
        402 => Kind::ProjectRestricted,
        // The gateway's words for a path without a service behind it.
        404 | 405 => Kind::WrongAddress,
        406 | 415 => Kind::NotAcceptable,
        408 => Kind::Busy,
        413 => Kind::PageTooLarge,
        416 => Kind::RangeRefused,
        429 => Kind::RateLimited,
        540 => Kind::ProjectPaused,
        500.. => Kind::Busy,
        _ => Kind::Refused,
    }
}

/// Sorts an answer that is not JSON: the page of a gateway, a proxy, or another website.
fn of_page(status: u16) -> AnswerKind {
    use AnswerKind as Kind;
    match status {
        ..300 => Kind::WrongAddress,
        // A gateway's page for 403 is its own block list. A refused key is answered in JSON.
        403 => Kind::Blocked,
        // Cloudflare: the origin is down, can't be reached, or has no address or certificate.
        521..=523 | 525 | 526 | 530 => Kind::Unreachable,
        status => of_status(status, &ServerMessage::default()),
    }
}

//! The audit: does the inbox have every row the table has?
//!
//! A sweep looks back over an overlap only, so a row that becomes visible later than that (a transaction held open
//! for hours, a restored backup, a policy that hid it) would be missed for ever. The audit compares counts, which
//! is cheap, and when they move apart reads every id, which is exact. It also notices that no row is visible,
//! which PostgREST answers with an empty list and no error.

use tracing::warn;

use super::access::TableAccess;
use super::inbox::Inbox;
use super::sql;
use super::sweep::{Sweep, SweepError, Swept};
use crate::failure::{Failure, RetryDirective};

/// Ids read per request.
const IDS_PER_PAGE: usize = 1000;

/// No row is visible.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invisible {
    /// Rows were visible before.
    #[error("no row is visible any more, and {kept} were")]
    Hidden {
        /// Rows kept from before.
        kept: u64,
        /// SQL that shows them.
        sql: String,
    },
    /// The table is empty, or its policies hide every row from the key's role: there is no telling which.
    #[error("no row is visible: the table is empty, or its policies hide every row")]
    EmptyOrHidden {
        /// SQL that shows them.
        sql: String,
    },
}

impl Failure for Invisible {
    fn directive(&self) -> RetryDirective {
        match self {
            Self::Hidden { .. } | Self::EmptyOrHidden { .. } => RetryDirective::Person,
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Hidden { sql, .. } => format!("Use a service key, or run in the SQL editor:\n{sql}"),
            Self::EmptyOrHidden { sql } => {
                format!("If the table has rows, use a service key, or run in the SQL editor:\n{sql}")
            }
        }
    }
}

impl Invisible {
    /// What it means that the table shows `visible` rows while the inbox keeps `kept`.
    pub fn of(access: &TableAccess, visible: u64, kept: u64) -> Option<Self> {
        match (visible, kept) {
            (0, 0) if access.bypasses_policies() => None,
            (0, 0) => Some(Self::EmptyOrHidden { sql: sql::policies(access) }),
            (0, kept) => Some(Self::Hidden { kept, sql: sql::policies(access) }),
            _ => None,
        }
    }
}

/// What an audit found.
#[derive(Debug, Default)]
pub(super) struct Audited {
    pub(super) invisible: Option<Invisible>,
    /// Rows that the inbox lacked, now handed over.
    pub(super) found: u64,
}

/// What audits remember of each other.
#[derive(Debug, Default)]
pub(super) struct Auditor {
    /// Rows kept less rows visible, when every id had been compared: rows deleted from the table, less malformed
    /// ones, which are never kept.
    settled: Option<i128>,
}

impl Auditor {
    /// Compares everything up to `cursor`, and hands over what is missing.
    pub(super) async fn audit<I: Inbox>(
        &mut self,
        sweep: &Sweep<'_, I>,
        cursor: i64,
        swept: &mut Swept,
    ) -> Result<Audited, SweepError> {
        let visible = sweep.table.count_up_to(cursor).await?;
        let kept = sweep.in_time(sweep.inbox.count_up_to(cursor)).await?;
        let invisible = match visible {
            // Below the cursor nothing shows; above it may, on a first start.
            0 => Invisible::of(sweep.table.access(), sweep.table.count().await?, kept),
            _ => None,
        };
        let difference = i128::from(kept) - i128::from(visible);
        let mut found = 0;
        let moved = self.settled.is_some_and(|settled| settled != difference);
        if invisible.is_none() && (difference < 0 || moved) && self.settled != Some(difference) {
            warn!(kept, visible, "rows may be missing; every id is compared");
            found = self.compare(sweep, cursor, swept).await?;
            let kept = sweep.in_time(sweep.inbox.count_up_to(cursor)).await?;
            self.settled = Some(i128::from(kept) - i128::from(visible));
        } else if invisible.is_none() {
            self.settled = Some(difference);
        }
        Ok(Audited { invisible, found })
    }

    async fn compare<I: Inbox>(
        &self,
        sweep: &Sweep<'_, I>,
        cursor: i64,
        swept: &mut Swept,
    ) -> Result<u64, SweepError> {
        let before = swept.accepted.stored + swept.accepted.refused;
        let mut after = i64::MIN;
        while after < cursor {
            let ids = sweep.table.ids_between(after, cursor, IDS_PER_PAGE.min(sweep.page)).await?;
            let Some(last) = ids.last() else { break };
            after = *last;
            let missing = sweep.in_time(sweep.inbox.missing(&ids)).await?;
            if !missing.is_empty() {
                sweep.hand_over(sweep.table.rows_by_id(&missing).await?, swept).await?;
            }
        }
        Ok(swept.accepted.stored + swept.accepted.refused - before)
    }
}

//! The audit: a comparison of the table's rows with the inbox's.
//!
//! A sweep looks back over an overlap only. A row that becomes visible later than that (a
//! transaction held open for hours, a restored backup, a policy that hid the row) would be missed
//! forever. The audit compares counts, which is cheap. When the difference between the counts
//! changes, the audit reads every id, which is exact. It also notices that no row is visible, which
//! PostgREST answers with an empty list and no error.

use tracing::warn;

use super::access::TableAccess;
use super::inbox::{Inbox, Position};
use super::sql;
use super::sweep::{Sweep, SweepError, Swept};
use crate::failure::{Failure, RetryDirective};
use crate::row_identity::RowId;

/// The table shows no row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invisible {
    /// Rows were visible before.
    #[error("no row is visible any more, although {kept} rows were kept before")]
    Hidden {
        /// Number of rows kept from before.
        kept: u64,
        /// SQL that makes the rows visible.
        sql: String,
    },
    /// The table is empty, or its policies hide every row from the key's role. The answers do not
    /// differ.
    #[error("no row is visible: the table is empty, or its policies hide every row")]
    EmptyOrHidden {
        /// SQL that makes the rows visible.
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
    /// Returns the finding for a table that shows `visible` rows while the inbox keeps `kept`, or
    /// `None` when nothing is wrong.
    pub fn of(access: &TableAccess, visible: u64, kept: u64) -> Option<Self> {
        match (visible, kept) {
            (0, 0) if access.bypasses_policies() => None,
            (0, 0) => Some(Self::EmptyOrHidden { sql: sql::policies(access) }),
            (0, kept) => Some(Self::Hidden { kept, sql: sql::policies(access) }),
            _ => None,
        }
    }
}

/// Result of an audit.
#[derive(Debug, Default)]
pub(super) struct Audited {
    pub(super) invisible: Option<Invisible>,
    /// Number of rows that the inbox lacked and that the audit handed over.
    pub(super) found: u64,
}

/// State that one audit passes to the next.
#[derive(Debug, Default)]
pub(super) struct Auditor {
    /// True once this process has compared every id of a table whose ids are texts.
    has_compared_texts: bool,
}

impl Auditor {
    /// Compares all rows up to the position's cursor, and hands over the missing ones. Where ids are texts,
    /// compares all rows. Records the difference of the counts in the position.
    pub(super) async fn audit<I: Inbox>(
        &mut self,
        sweep: &Sweep<'_, I>,
        position: &mut Position,
        swept: &mut Swept,
    ) -> Result<Audited, SweepError> {
        let cursor = if sweep.table.has_text_ids() { i64::MAX } else { position.cursor };
        let visible = sweep.table.count_up_to(cursor).await?;
        let kept = sweep.in_time(sweep.inbox.count_up_to(cursor)).await?;
        let invisible = match visible {
            // No row shows up to the cursor; on a first start, rows above the cursor may.
            0 => Invisible::of(sweep.table.access(), sweep.table.count().await?, kept),
            _ => None,
        };
        if invisible.is_some() {
            return Ok(Audited { invisible, found: 0 });
        }
        let mut difference = kept.cast_signed() - visible.cast_signed();
        let mut found = 0;
        // Without an earlier difference, a deleted row may hide a missing one.
        let differs = position.settled.unwrap_or(0) != difference;
        // Where ids are texts, a row may bear any time, and only this comparison finds it.
        let is_first = sweep.table.has_text_ids() && !self.has_compared_texts;
        if differs || is_first {
            if differs {
                warn!(kept, visible, "rows may be missing; comparing every id");
            }
            found = self.compare(sweep, cursor, swept).await?;
            let kept = sweep.in_time(sweep.inbox.count_up_to(cursor)).await?;
            difference = kept.cast_signed() - visible.cast_signed();
            self.has_compared_texts = sweep.table.has_text_ids();
        }
        if position.settled != Some(difference) {
            position.settled = Some(difference);
            sweep.in_time(sweep.inbox.advance(position)).await?;
        }
        Ok(Audited { invisible: None, found })
    }

    async fn compare<I: Inbox>(
        &self,
        sweep: &Sweep<'_, I>,
        cursor: i64,
        swept: &mut Swept,
    ) -> Result<u64, SweepError> {
        let before = swept.accepted.stored + swept.accepted.refused;
        if sweep.table.has_text_ids() {
            sweep.read_every_missing_text_id(swept).await?;
        } else {
            let mut after = i64::MIN;
            while after < cursor {
                let ids = sweep.table.ids_between(after, cursor, sweep.page).await?;
                let Some(last) = ids.last() else { break };
                after = *last;
                sweep.read_missing(ids.into_iter().map(RowId::of_number).collect(), swept).await?;
            }
        }
        Ok(swept.accepted.stored + swept.accepted.refused - before)
    }
}

//! Series of ids: whether the table's ids have started anew, as after `TRUNCATE … RESTART IDENTITY`.
//!
//! A row with a known id and another time of insert tells so, and each new row from then on belongs to the
//! new series. A row that comes earlier must not be taken for one of the series before: once that has ended,
//! nobody can tell whether its rows were deleted one by one or went with the whole table, so a deletion of
//! the row would not be followed. Therefore the table's first rows, which are most likely known, are read
//! before all others; and once more before a row is stored that shows below others that are kept, because the
//! table may have been truncated in between.

use super::inbox::{Accepted, Inbox, Position};
use super::sweep::{Sweep, SweepError, Swept, differing};
use crate::correction::Row;
use crate::row_identity::RowId;

/// Number of rows at the beginning of the table that tell whether its ids have started anew.
const FIRST_ROWS: usize = 3;

/// Returns those of these rows that the inbox reported as late.
pub(super) fn late(accepted: &Accepted, rows: &[Row]) -> Vec<Row> {
    rows.iter().filter(|row| accepted.late.contains(&row.id)).cloned().collect()
}

impl<I: Inbox> Sweep<'_, I> {
    /// Compares the first rows of the table: when its ids have started anew, they differ.
    pub(super) async fn compare_first_rows(&self, swept: &mut Swept) -> Result<(), SweepError> {
        let page = self.table.page_after(0, FIRST_ROWS.min(self.compare)).await?;
        self.compare(page, swept).await
    }

    /// Goes back to the beginning of the table when its ids have started anew: rows of the new series may
    /// be anywhere below the cursor. Returns true in that case.
    pub(super) fn follow_series(&self, position: &mut Position, swept: &Swept) -> bool {
        let begun = swept.accepted.series.filter(|series| *series > position.series);
        if let Some(series) = begun {
            *position = Position { series, cursor: 0, compared: 0, ..position.clone() };
        }
        begun.is_some()
    }

    /// Stores rows that the inbox reported as late: committed late, or inserted after the ids have started
    /// anew. Reads the table's first rows to tell the two apart: known ones show that the series goes on, and
    /// others begin a new one. Returns the ids of rows that somebody else has stored with another text
    /// meanwhile.
    ///
    /// The first rows must be read after the late ones: only then does their series hold for those, too.
    pub(super) async fn settle_late(
        &self,
        mut late: Vec<Row>,
        swept: &mut Swept,
    ) -> Result<Vec<RowId>, SweepError> {
        if late.is_empty() {
            return Ok(Vec::new());
        }
        // The first rows of all may be unknown themselves.
        for rows in [FIRST_ROWS, self.page] {
            let first = self.table.page_after(0, rows).await?.rows;
            let mut accepted = self.in_time(self.inbox.accept(&first)).await?;
            let are_all_late = accepted.late.len() == first.len();
            late.extend(self::late(&accepted, &first));
            // These rows are known. A sweep's comparison looks at those that have changed.
            accepted.duplicates = 0;
            swept.add(&accepted);
            if !are_all_late {
                break;
            }
        }
        let accepted = self.in_time(self.inbox.accept_late(&late)).await?;
        swept.add(&accepted);
        Ok(differing(&accepted, &late))
    }
}

//! Comparison of kept rows with the table, a page with each sweep, round after round.
//!
//! Nothing tells for certain that a row has changed or was deleted: Realtime's and the webhook's
//! messages can get lost, and few tables have a column with the time of the last update. So each sweep
//! also reads a small page of rows that are kept already.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use super::inbox::{Inbox, Position};
use super::page::Page;
use super::sweep::{Sweep, SweepError, Swept};
use crate::row_identity::RowId;

/// Number of kept rows that may be missing from a page and still count as deleted one by one.
const FEW: usize = 10;

impl<I: Inbox> Sweep<'_, I> {
    /// Compares the next page of kept rows with the table. After the last page, begins a new round.
    pub(super) async fn compare_page(
        &self,
        position: &mut Position,
        swept: &mut Swept,
    ) -> Result<(), SweepError> {
        let mut begin = position.compared;
        let mut page = self.table.page_after(begin, self.compare).await?;
        let mut tail = None;
        if begin > 0 && page.last_id.is_none() {
            tail = Some((begin, position.cursor));
            begin = 0;
            page = self.table.page_after(begin, self.compare).await?;
        }
        let shown = page.ids();
        let last = page.last_id.unwrap_or(position.cursor);
        self.compare(page, swept).await?;
        if let Some((after, last)) = tail {
            self.look_for_vanished(after, last, &shown, swept).await?;
            self.end_round(swept);
        }
        self.look_for_vanished(begin, last, &shown, swept).await?;
        position.compared = last;
        if last >= position.cursor {
            self.end_round(swept);
            position.compared = 0;
        }
        Ok(())
    }

    /// Counts the vanished rows of a round.
    pub(super) fn end_round(&self, swept: &mut Swept) {
        swept.vanished = Some(self.vanishing.swap(0, Ordering::Relaxed));
    }

    /// Hands over rows that are known, most of them unchanged. These don't count as repeated rows.
    pub(super) async fn compare(&self, page: Page, swept: &mut Swept) -> Result<(), SweepError> {
        let repeated = swept.accepted.duplicates;
        let compared = self.hand_over(page, swept).await;
        swept.accepted.duplicates = repeated;
        compared
    }

    /// Looks for kept rows that the table shows no more. A few of them were deleted. Many at once may
    /// have been hidden by a policy, or moved away with the whole table, and only a person can tell:
    /// they stay, and are counted. The same holds for a key that the policies may hide rows from.
    async fn look_for_vanished(
        &self,
        after: i64,
        last: i64,
        shown: &BTreeSet<i64>,
        swept: &mut Swept,
    ) -> Result<(), SweepError> {
        let kept = self.in_time(self.inbox.kept_between(after, last)).await?;
        let kept: Vec<_> = kept.iter().map(|kept| RowId::of_number(kept.id)).collect();
        self.follow_vanished(&kept, shown, swept).await
    }

    /// Looks at those of the kept rows that the table did not show.
    pub(super) async fn follow_vanished(
        &self,
        kept: &[RowId],
        shown: &BTreeSet<i64>,
        swept: &mut Swept,
    ) -> Result<(), SweepError> {
        let vanished: Vec<_> = kept.iter().filter(|id| !shown.contains(&id.number())).cloned().collect();
        let few = vanished.len() <= FEW || vanished.len() * 2 <= kept.len();
        if !vanished.is_empty() && few && !shown.is_empty() && self.table.access().bypasses_policies() {
            self.revise(&vanished, &BTreeSet::new(), swept).await
        } else {
            self.vanishing.fetch_add(vanished.len() as u64, Ordering::Relaxed);
            Ok(())
        }
    }
}

//! Rows that are looked up in the table by their ids: all at once or, when one id keeps the others from
//! being read, one by one.

use std::collections::BTreeSet;
use std::slice::from_ref;

use tracing::warn;

use super::inbox::Inbox;
use super::sweep::{Sweep, SweepError, Swept};
use crate::failure::chain;
use crate::row_identity::RowId;

/// Purpose for which rows are looked up.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose<'a> {
    /// Those that were never kept are handed over.
    FindMissing,
    /// The inbox is brought up to date with them. These ones were named as deleted.
    Revise(&'a BTreeSet<RowId>),
    /// They are kept, and are compared with the table.
    Compare,
}

impl<I: Inbox> Sweep<'_, I> {
    /// Looks rows up. An id may come from outside and name anything, and a column may take two texts for
    /// one, as `citext` does. An id that the table does not take is told and passed by.
    pub(super) async fn look_up(
        &self,
        ids: &[RowId],
        purpose: Purpose<'_>,
        swept: &mut Swept,
    ) -> Result<(), SweepError> {
        match self.look_up_at_once(ids, purpose, swept).await {
            Err(error) if error.is_about(ids) => {}
            looked_up => return looked_up,
        }
        for id in ids {
            match self.look_up_at_once(from_ref(id), purpose, swept).await {
                Err(error) if error.is_about(from_ref(id)) => {
                    warn!(%id, error = chain(&error), "a row can't be looked up by this id");
                }
                looked_up => looked_up?,
            }
        }
        Ok(())
    }

    async fn look_up_at_once(
        &self,
        ids: &[RowId],
        purpose: Purpose<'_>,
        swept: &mut Swept,
    ) -> Result<(), SweepError> {
        match purpose {
            _ if ids.is_empty() => Ok(()),
            Purpose::FindMissing => self.read_missing(ids.to_vec(), swept).await,
            Purpose::Revise(deleted) => self.revise(ids, deleted, swept).await,
            Purpose::Compare => {
                let page = self.table.rows_by_id(ids).await?;
                let shown = page.ids();
                self.compare(page, swept).await?;
                self.follow_vanished(ids, &shown, swept).await
            }
        }
    }
}

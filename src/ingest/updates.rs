//! Rows that were updated since a given time, for a table that has a column with the time of the last
//! update.

use std::sync::atomic::Ordering;

use serde_json::Value;
use tracing::debug;

use super::answer_kind::AnswerKind;
use super::page::Record;
use super::rest::{Question, Table, beyond};
use super::rest_error::RestError;

/// Place in the order of updates: the time of a row's last update, and its id; without an id, the place
/// before every row with that time.
pub(super) type UpdatePlace = (String, Option<i64>);

impl Table {
    /// Returns false once the table turned out to have no column with the time of the last update.
    pub(super) fn may_have_updated_at(&self) -> bool {
        !self.updated_at().is_empty() && !self.lacks_updated_at.load(Ordering::Relaxed)
    }

    /// Answers a question about updates. `None` when the table has no such column, which is told once.
    async fn read_updates(
        &self,
        question: &Question<'_>,
        limit: usize,
    ) -> Result<Option<Vec<Record>>, RestError> {
        match self.read(question, limit).await {
            Ok(records) => Ok(Some(records)),
            Err(RestError::Answer(answer)) if answer.kind == AnswerKind::MissingColumn => {
                if !self.lacks_updated_at.swap(true, Ordering::Relaxed) {
                    debug!(
                        column = self.updated_at(),
                        "the table has no such column; changes are found by comparison"
                    );
                }
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Returns the time of the last update of any row.
    ///
    /// # Errors
    /// [`RestError`].
    pub(super) async fn newest_update(&self) -> Result<Option<String>, RestError> {
        let column = self.updated_at();
        let filters = vec![(column, "not.is.null".to_owned())];
        let question = Question { select: column, filters, order: format!("{column}.desc") };
        let page = self.read_updates(&question, 1).await?.unwrap_or_default();
        Ok(page.first().and_then(|record| text(record, column)))
    }

    /// Returns the ids of the next rows after a place in the order of updates, at most `limit`, and the
    /// place of the last one; `None` when there are no more.
    ///
    /// # Errors
    /// [`RestError`].
    pub(super) async fn updated_after(
        &self,
        place: &UpdatePlace,
        limit: usize,
    ) -> Result<(Vec<i64>, Option<UpdatePlace>), RestError> {
        let columns = &self.access().columns;
        let column = self.updated_at();
        let select = format!("{},{column}", columns.id);
        let (since, id) = place;
        let filter = match id {
            Some(id) => ("or", beyond((column, since), (&columns.id, Some(id.to_string())))),
            None => (column, format!("gte.{since}")),
        };
        let order = format!("{column}.asc,{}.asc", columns.id);
        let question = Question { select: &select, filters: vec![filter], order };
        let records = self.read_updates(&question, limit).await?.unwrap_or_default();
        let last = records.last().and_then(|last| Some((text(last, column)?, Some(columns.id_of(last)?))));
        // A page that ends where it began would be asked for again without end.
        let last = last.filter(|last| last != place);
        Ok((records.iter().filter_map(|record| columns.id_of(record)).collect(), last))
    }

    fn updated_at(&self) -> &str {
        &self.access().columns.updated_at
    }
}

fn text(record: &Record, column: &str) -> Option<String> {
    record.get(column).and_then(Value::as_str).map(str::to_owned)
}

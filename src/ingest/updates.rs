//! Rows that were updated since a given time, for a table that has a column with the time of the last
//! update.

use serde_json::Value;

use super::answer_kind::AnswerKind;
use super::page::Record;
use super::rest::{Question, Table, beyond};
use super::rest_error::RestError;

/// Place in the order of updates: the time of a row's last update, and its id; without an id, the place
/// before every row with that time.
pub(super) type UpdatePlace = (String, Option<i64>);

impl Table {
    /// Returns true when the table has a column with the time of the last update. Asks once.
    ///
    /// # Errors
    /// [`RestError`].
    pub(super) async fn has_updated_at(&self) -> Result<bool, RestError> {
        let column = self.updated_at();
        if column.is_empty() {
            return Ok(false);
        }
        let asked = self.has_updated_at.get_or_try_init(|| async {
            let question = Question { select: column, filters: Vec::new(), order: format!("{column}.desc") };
            match self.read(&question, 1).await {
                Ok(_) => Ok(true),
                Err(RestError::Answer(answer)) if answer.kind == AnswerKind::MissingColumn => Ok(false),
                Err(error) => Err(error),
            }
        });
        asked.await.copied()
    }

    /// Returns the time of the last update of any row.
    ///
    /// # Errors
    /// [`RestError`].
    pub(super) async fn newest_update(&self) -> Result<Option<String>, RestError> {
        let column = self.updated_at();
        let filters = vec![(column, "not.is.null".to_owned())];
        let question = Question { select: column, filters, order: format!("{column}.desc") };
        let page = self.read(&question, 1).await?;
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
        let records = self.read(&Question { select: &select, filters: vec![filter], order }, limit).await?;
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

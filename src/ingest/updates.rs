//! Rows that were updated since a given time, for a table that has a column with the time of the last
//! update.

use serde_json::{Map, Value};

use super::rest::{Page, Table, beyond};
use super::rest_error::RestError;

/// Place of a row in the order of updates: the time of its last update, and its id.
pub(super) type UpdatePlace = (String, i64);

impl Table {
    /// Returns true when the table has a column with the time of the last update. Asks once.
    ///
    /// # Errors
    /// [`RestError`].
    pub(super) async fn has_updated_at(&self) -> Result<bool, RestError> {
        if self.updated_at_column().is_empty() {
            return Ok(false);
        }
        let asked = self.has_updated_at.get_or_try_init(|| async {
            match self.page(self.updated_at_column(), &[], 1).await {
                Ok(_) => Ok(true),
                Err(RestError::MissingColumn { .. }) => Ok(false),
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
        let column = self.updated_at_column();
        let order = format!("{column}.desc");
        let page = self.page_in(column, &[(column, "not.is.null".to_owned())], &order, 1).await?;
        Ok(page.first().and_then(|record| text(record, column)))
    }

    /// Returns the next rows after a place in the order of updates, at most `limit`, and the place of
    /// the last one; `None` when there are no more.
    ///
    /// # Errors
    /// [`RestError`].
    pub(super) async fn updated_after(
        &self,
        place: &UpdatePlace,
        limit: usize,
    ) -> Result<(Page, Option<UpdatePlace>), RestError> {
        let columns = &self.access().columns;
        let column = self.updated_at_column();
        let select = format!("{},{column}", columns.names().join(","));
        let order = format!("{column}.asc,{}.asc", columns.id);
        let after = beyond((column, &place.0), (&columns.id, Some(place.1.to_string())));
        let records = self.page_in(&select, &[("or", after)], &order, limit).await?;
        let last = records.last().and_then(|last| Some((text(last, column)?, columns.id_of(last)?)));
        // A page that ends where it began would be asked for again without end.
        let last = last.filter(|last| last != place);
        Ok((self.decode(&records)?, last))
    }

    fn updated_at_column(&self) -> &str {
        &self.access().columns.updated_at
    }
}

fn text(record: &Map<String, Value>, column: &str) -> Option<String> {
    record.get(column).and_then(Value::as_str).map(str::to_owned)
}

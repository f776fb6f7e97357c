//! The kind of a table's ids, which decides how the table is read: whole numbers in their order, texts in
//! the order of inserts.

use jiff::Timestamp;
use serde_json::Value;

use super::inbox::Position;
use super::rest::{Question, Table};
use super::rest_error::RestError;

/// Kind of a table's ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IdKind {
    /// Whole numbers, which increase.
    Number,
    /// Texts.
    Text,
}

impl Table {
    /// Returns true once the table turned out to have ids that are texts.
    pub(super) fn has_text_ids(&self) -> bool {
        self.id_kind.get() == Some(&IdKind::Text)
    }

    /// Returns the kind of the table's ids, as the position of earlier sweeps or else a row tells it; `None`
    /// for an empty table that no row was read from.
    ///
    /// # Errors
    /// [`RestError`].
    pub(super) async fn id_kind(&self, position: &Position) -> Result<Option<IdKind>, RestError> {
        if let Some(kind) = self.id_kind.get() {
            return Ok(Some(*kind));
        }
        let kind = match position {
            Position { inserted: Some(_), .. } => IdKind::Text,
            Position { cursor, series, .. } if *cursor != 0 || *series != 0 => IdKind::Number,
            _ => {
                let column = self.access().columns.id.as_str();
                let question = Question { select: column, filters: Vec::new(), order: self.by_id() };
                // Not `read`: a failure says nothing of the size of pages.
                let records = self.page(&question, 1).await?;
                match records.first().map(|record| record.get(column)) {
                    None => return Ok(None),
                    Some(Some(Value::String(_))) => IdKind::Text,
                    Some(Some(Value::Number(_))) => IdKind::Number,
                    Some(_) => return Err(RestError::NoIds),
                }
            }
        };
        Ok(Some(*self.id_kind.get_or_init(|| kind)))
    }

    /// Reads a row as a sweep does. This proves that every column exists, and that the rows have an order.
    /// The count alone proves neither.
    ///
    /// # Errors
    /// [`RestError`].
    pub async fn check(&self) -> Result<(), RestError> {
        match self.id_kind(&Position::default()).await? {
            Some(IdKind::Number) => self.page_after(0, 1).await.map(drop),
            Some(IdKind::Text) => self.inserted_after(None, &Timestamp::now().to_string(), 1).await.map(drop),
            None => {
                let select = self.select();
                let question = Question { select: &select, filters: Vec::new(), order: self.by_id() };
                match self.read(&question, 1).await {
                    Err(error) if self.goes_on_undated(&error) => Ok(()),
                    read => read.map(drop),
                }
            }
        }
    }
}

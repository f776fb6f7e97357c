//! Limits on the texts of a table that are read at once: the same as those of a file.

use super::rest_error::RestError;
use crate::table_file::{MAX_BYTES, MAX_RECORDS};

/// Rows and bytes that may still be read.
#[derive(Debug)]
pub(super) struct TextBudget {
    rows: u64,
    bytes: u64,
}

impl Default for TextBudget {
    fn default() -> Self {
        Self { rows: MAX_RECORDS, bytes: MAX_BYTES }
    }
}

impl TextBudget {
    /// Takes the texts of one row out of the budget.
    ///
    /// # Errors
    /// [`RestError::TooManyTexts`] when the budget doesn't hold them.
    pub(super) fn take(&mut self, texts: &[String]) -> Result<(), RestError> {
        let bytes = texts.iter().map(|text| text.len() as u64).sum();
        let rest = self.rows.checked_sub(1).zip(self.bytes.checked_sub(bytes));
        (self.rows, self.bytes) = rest.ok_or(RestError::TooManyTexts)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_bytes_are_limited() {
        let name = ["Toyota".to_owned()];
        let mut few = TextBudget { rows: 2, bytes: 1_000 };
        few.take(&name).unwrap();
        few.take(&name).unwrap();
        assert!(matches!(few.take(&name), Err(RestError::TooManyTexts)));
        let mut small = TextBudget { rows: 1_000, bytes: 12 };
        small.take(&name).unwrap();
        small.take(&name).unwrap();
        assert!(matches!(small.take(&name), Err(RestError::TooManyTexts)));
        TextBudget::default().take(&name).unwrap();
    }
}

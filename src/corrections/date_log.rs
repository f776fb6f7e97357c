//! Messages about the dates of rows.

use jiff::Timestamp;

use crate::postgres_time::PostgresTime;

/// Messages about the rows' dates that were logged, so that each is logged once.
#[derive(Debug, Default)]
pub(super) struct DateLog {
    zoneless: Told,
    unreadable: Told,
}

#[derive(Debug, Default)]
struct Told {
    count: u64,
    told: bool,
}

impl Told {
    /// Returns the count when it is to be told now.
    fn due(&mut self) -> Option<u64> {
        let due = !self.told && self.count > 0;
        self.told |= due;
        due.then_some(self.count)
    }
}

impl DateLog {
    /// Reads the date of a row, and notes one that has no time zone or can't be read.
    pub(super) fn read(&mut self, text: Option<&str>) -> Option<Timestamp> {
        let read = PostgresTime::read(text?);
        match read {
            Some(PostgresTime { zoned: true, .. }) => {}
            Some(PostgresTime { zoned: false, .. }) => self.zoneless.count += 1,
            None => self.unreadable.count += 1,
        }
        read.map(|read| read.at)
    }

    /// Writes what is new at the end of a batch to the log, without the text of any row.
    pub(super) fn tell(&mut self) {
        if let Some(rows) = self.zoneless.due() {
            tracing::warn!(
                rows,
                "created_at has no time zone and is read as UTC; \
                 if it is in another one, change the column's type to timestamptz"
            );
        }
        if let Some(rows) = self.unreadable.due() {
            tracing::warn!(
                rows,
                "created_at can't be read as a date; such rows count as written at any time since the last \
                 sweep; make the column a timestamptz with the default now()"
            );
        }
    }
}

//! The run report as text.

use std::fmt;

use super::RunReport;

impl fmt::Display for RunReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in self.facts() {
            writeln!(out, "{name:14}{value}")?;
        }
        write!(out, "\n{}", self.report)
    }
}

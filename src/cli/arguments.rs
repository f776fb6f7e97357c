//! Parsers of arguments that several commands have.

use std::fmt;
use std::str::FromStr;

use autovalidate_finetune::train::ranges::Range;

/// Returns a parser of numbers in this range.
pub(super) fn within<T>(range: &'static Range<T>) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync
where
    T: FromStr + fmt::Display + PartialOrd + Sync,
{
    move |text| match text.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(format!("give a number {range}")),
    }
}

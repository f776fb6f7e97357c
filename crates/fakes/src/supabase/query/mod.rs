//! PostgREST's query strings.
//!
//! A query is parsed first and then planned against the table, because PostgREST reports every
//! mistake of syntax before PostgreSQL reports a missing column.
//!
//! ```text
//! parser      PostgREST's parser of values, and its messages
//! parameters  the parameters of a query string
//! condition   grammar of conditions
//! select      grammar of `select`, and the columns of the result
//! order       grammar of `order`
//! range       limit, offset, and the header `Range`
//! filter      conditions on rows
//! bounds      bounds on the rows that conditions can match
//! page        ways of reading a page
//! ```

mod bounds;
mod condition;
mod filter;
mod order;
mod page;
mod parameters;
mod parser;
mod range;
mod select;

pub(super) use condition::Condition;
pub(super) use filter::Filter;
pub(super) use page::Plan;
pub(super) use parameters::{Query, QueryError};
pub(super) use range::{Window, content_range};
pub(super) use select::{Projection, Row};

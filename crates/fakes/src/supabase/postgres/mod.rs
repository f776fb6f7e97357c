//! The parts of PostgreSQL that clients notice: types, literals, operators, and errors.
//!
//! ```text
//! column       columns of the table and their types
//! integer      literals of integers
//! timestamp    literals and texts of times
//! primary_key  types of the primary key, and made-up ids
//! pattern      like and regular expressions
//! array        literals of arrays
//! cast         casts in a selection
//! sql_error    errors, and the HTTP statuses that PostgREST gives them
//! ```

pub(super) mod array;
pub(super) mod cast;
pub(super) mod column;
mod integer;
pub(super) mod pattern;
pub(super) mod primary_key;
pub(super) mod sql_error;
pub(super) mod timestamp;

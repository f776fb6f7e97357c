//! The parameters of a query string.

use super::super::postgres::column::Columns;
use super::super::postgres::sql_error::SqlError;
use super::condition::{Condition, Field, field};
use super::filter::Filter;
use super::order::{OrderTerm, order};
use super::page::Plan;
use super::parser::{Parser, SyntaxError};
use super::range::{RangeError, Window};
use super::select::{Projection, SelectItem, select};

/// Reason why a query is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::supabase) enum QueryError {
    /// `PGRST100`: the string can't be parsed.
    Syntax(SyntaxError),
    /// `PGRST103`: no rows are asked for.
    Range(RangeError),
    /// `PGRST108`: a parameter for rows of another table, which the query does not select.
    NotEmbedded(String),
    /// `PGRST123`: a hosted project allows no aggregates.
    Aggregate,
    /// `PGRST200`: rows of another table, which has no relationship with this one.
    NoRelationship(String),
    /// PostgreSQL refuses the statement.
    Sql(SqlError),
}

impl From<SyntaxError> for QueryError {
    fn from(error: SyntaxError) -> Self {
        Self::Syntax(error)
    }
}

impl From<SqlError> for QueryError {
    fn from(error: SqlError) -> Self {
        Self::Sql(error)
    }
}

/// A parsed query.
#[derive(Debug)]
pub(in crate::supabase) struct Query {
    select: Vec<SelectItem>,
    conditions: Vec<Condition>,
    order: Vec<OrderTerm>,
    limit: Option<String>,
    offset: Option<String>,
    /// Keys to read from each object of a write.
    pub(in crate::supabase) columns: Option<Vec<String>>,
    /// Columns whose values must be new.
    pub(in crate::supabase) on_conflict: Option<Vec<String>>,
    /// Table that a parameter is for, other than this one.
    elsewhere: Option<String>,
}

impl Query {
    /// Parses the part of a URL after `?`.
    pub(in crate::supabase) fn parse(query: &str) -> Result<Self, SyntaxError> {
        let mut parsed = Self {
            select: vec![SelectItem::All],
            conditions: Vec::new(),
            order: Vec::new(),
            limit: None,
            offset: None,
            columns: None,
            on_conflict: None,
            elsewhere: None,
        };
        let mut groups = Vec::new();
        let (mut selected, mut written, mut conflicting) = (None, None, None);
        // A parameter without `=` is ignored.
        for pair in query.split('&').filter(|pair| pair.contains('=')) {
            let Some((key, value)) = url::form_urlencoded::parse(pair.as_bytes()).next() else { continue };
            let (path, last) = key.rsplit_once('.').unwrap_or(("", &key));
            match (key.as_ref(), last) {
                ("select", _) => selected = selected.or(Some(value.into_owned())),
                ("columns", _) => written = written.or(Some(value.into_owned())),
                ("on_conflict", _) => conflicting = conflicting.or(Some(value.into_owned())),
                // The gateway reads it.
                ("apikey", _) => {}
                (_, "and" | "or") => {
                    let embedded: Vec<_> =
                        path.split('.').filter(|part| !matches!(*part, "" | "not")).collect();
                    let negated = path.split('.').any(|part| part == "not");
                    parsed.elsewhere =
                        parsed.elsewhere.or_else(|| embedded.first().map(|&name| name.to_owned()));
                    let word = if negated { format!("not.{last}") } else { last.to_owned() };
                    groups.push(Condition::of_group(&word, &value)?);
                }
                (_, "order" | "limit" | "offset") if !path.is_empty() => {
                    parsed.elsewhere = parsed.elsewhere.or(Some(path.to_owned()));
                }
                (_, "order") => parsed.order = order(&value)?,
                (_, "limit") => parsed.limit = Some(value.into_owned()),
                (_, "offset") => parsed.offset = Some(value.into_owned()),
                (key, _) => {
                    let (path, field) = tree_path(key)?;
                    parsed.elsewhere = parsed.elsewhere.or_else(|| path.into_iter().next());
                    parsed.conditions.push(Condition::of_column(field, &value)?);
                }
            }
        }
        if let Some(text) = written {
            parsed.columns = Some(names("columns", &text)?);
        }
        if let Some(text) = selected {
            parsed.select = select(&text)?;
        }
        if let Some(text) = conflicting {
            parsed.on_conflict = Some(names("on_conflict", &text)?);
        }
        parsed.conditions.append(&mut groups);
        Ok(parsed)
    }

    /// Returns the part of the rows that the query and the header `Range` ask for.
    pub(in crate::supabase) fn window(&self, header: Option<&str>) -> Result<Window, RangeError> {
        Window::of(self.limit.as_deref(), self.offset.as_deref(), header)
    }

    /// Returns true when the query has a condition on the rows.
    pub(in crate::supabase) fn is_conditional(&self) -> bool {
        !self.conditions.is_empty()
    }

    /// Returns true when the query asks for the row with one id, and for nothing else.
    pub(in crate::supabase) fn is_one_id(&self) -> bool {
        matches!(self.conditions.as_slice(), [one] if one.id_equals())
    }

    /// Prepares the query for the table. `window` is the part of the rows to read.
    pub(in crate::supabase) fn plan(
        &self,
        table: &str,
        columns: &Columns,
        window: Window,
    ) -> Result<Plan, QueryError> {
        for item in &self.select {
            match item {
                SelectItem::Relation(name) => return Err(QueryError::NoRelationship(name.clone())),
                SelectItem::Aggregate => return Err(QueryError::Aggregate),
                SelectItem::All | SelectItem::Column { .. } => {}
            }
        }
        if let Some(name) = &self.elsewhere {
            return Err(QueryError::NotEmbedded(name.clone()));
        }
        let projection = Projection::of(&self.select, table, columns)?;
        for condition in &self.conditions {
            Filter::check(condition, table, columns)?;
        }
        let mut order = Vec::with_capacity(self.order.len());
        for term in &self.order {
            match term {
                OrderTerm::Related(name) => return Err(QueryError::NotEmbedded(name.clone())),
                OrderTerm::Column { field, order: direction } => {
                    let kind = columns.named(table, &field.name)?;
                    if field.has_path {
                        return Err(SqlError::no_operator(kind.name(), "->").into());
                    }
                    order.push((field.name.clone(), *direction));
                }
            }
        }
        let filters = self.conditions.iter().map(|condition| Filter::read(condition, columns));
        Ok(Plan { projection, filters: filters.collect::<Result<_, _>>()?, order, window })
    }
}

/// Reads the name of a column, after the names of the tables that lead to it.
fn tree_path(key: &str) -> Result<(Vec<String>, Field), SyntaxError> {
    Parser::read(key, &format!("failed to parse tree path ({key})"), |parser| {
        let mut path = Vec::new();
        let mut last = field(parser)?;
        while parser.attempt(|parser| parser.delimiter()).is_some() {
            path.push(std::mem::replace(&mut last, field(parser)?).name);
        }
        Ok((path, last))
    })
}

/// Parses a list of columns.
fn names(parameter: &str, text: &str) -> Result<Vec<String>, SyntaxError> {
    Parser::read(text, &format!("failed to parse {parameter} parameter ({text})"), |parser| {
        let mut names = vec![parser.name()?];
        while parser.attempt(|parser| parser.spaced(',')).is_some() {
            names.push(parser.name()?);
        }
        Ok(names)
    })
}

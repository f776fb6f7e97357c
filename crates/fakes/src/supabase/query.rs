//! PostgREST query strings: `select`, filters, `order`, `limit`, `offset`.

use std::cmp::Ordering;
use std::ops::Range;

use serde_json::Value;

use super::bounds;
use super::filter::{Filter, QueryError, Test, column, compare};
use super::place::Moment;
use super::primary_key::{Cut, IdType};
use super::table::{COLUMNS, Commit, Record, Table};

/// A parsed query.
#[derive(Debug)]
pub(super) struct Query {
    columns: Vec<String>,
    filters: Vec<Filter>,
    order: Vec<(String, bool)>,
    limit: Option<usize>,
    pub(super) offset: usize,
}

impl Query {
    /// Parses the part of a URL after `?`.
    pub(super) fn parse(id_type: IdType, query: &str) -> Result<Self, QueryError> {
        let mut parsed = Self {
            columns: COLUMNS.map(str::to_owned).to_vec(),
            filters: Vec::new(),
            order: Vec::new(),
            limit: None,
            offset: 0,
        };
        for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match key.as_ref() {
                "select" if value == "*" => {}
                "select" => parsed.columns = value.split(',').map(column).collect::<Result<_, _>>()?,
                "order" => parsed.order = value.split(',').map(direction).collect::<Result<_, _>>()?,
                "limit" => parsed.limit = Some(count(&value)?),
                "offset" => parsed.offset = count(&value)?,
                // A write has `columns`, read elsewhere, and `on_conflict`, which is ignored.
                "apikey" | "columns" | "on_conflict" => {}
                name => parsed.filters.push(Filter::parse(id_type, name, &value)?),
            }
        }
        Ok(parsed)
    }

    /// Returns the page of the table that this query asks for, at most `max_rows` long, and, when
    /// `counted`, the total number of matching rows.
    pub(super) fn read(&self, table: &mut Table, max_rows: usize, counted: bool) -> (Vec<Record>, usize) {
        if self.is_by_id() && (!self.order.is_empty() || table.id_type() == IdType::BigInt) {
            let total = if counted { table.count(self.ids()) } else { 0 };
            return (self.cut_out(table.rows(self.ids()), max_rows), total);
        }
        if let Some(keys) = bounds::listed(&self.filters) {
            return self.page(table.listed(&keys), max_rows);
        }
        let order: Vec<_> = self.order.iter().map(|(name, ascending)| (name.as_str(), *ascending)).collect();
        match order.as_slice() {
            [("id", ascending), ..] => self.walk(table.rows(self.ids()), *ascending, max_rows, counted),
            [("created_at", true)] => {
                self.walk(table.rows_by_time(bounds::places(&self.filters)), true, max_rows, counted)
            }
            [("created_at", first), ("id", second), ..] if first == second => {
                self.walk(table.rows_by_time(bounds::places(&self.filters)), *first, max_rows, counted)
            }
            _ => self.page(table.rows_as_inserted(), max_rows),
        }
    }

    /// Returns the numbers of all rows that the query selects.
    pub(super) fn selected(&self, table: &Table) -> Vec<i64> {
        let selected = |commit: &&Commit| self.matches(&commit.record);
        table.commits(self.ids()).filter(selected).map(|commit| commit.number).collect()
    }

    /// Returns the range of ids that can match. Reading only this range makes a page cheap, as the primary
    /// key's index does.
    fn ids(&self) -> Range<Cut> {
        bounds::keys(&self.filters)
    }

    /// Returns true when rows ordered by id and within [`ids`](Self::ids) need no further filtering
    /// or sorting.
    fn is_by_id(&self) -> bool {
        let ordered = self.order.is_empty() || self.order == [("id".to_owned(), true)];
        let bounded = |filter: &Filter| match filter {
            Filter::Column(name, Test::Compare(holds, _)) => {
                name == "id" && holds(Ordering::Less) != holds(Ordering::Greater)
            }
            _ => false,
        };
        ordered && self.filters.iter().all(bounded)
    }

    /// Returns a page of rows that are in the query's order or, unless `ascending`, in its reverse.
    /// Reads no further than the page's end, unless the rows are counted.
    fn walk<'a>(
        &self,
        rows: impl DoubleEndedIterator<Item = &'a Record> + Clone,
        ascending: bool,
        max_rows: usize,
        counted: bool,
    ) -> (Vec<Record>, usize) {
        let matching = rows.filter(|row| self.matches(row));
        let total = if counted { matching.clone().count() } else { 0 };
        let page = match ascending {
            true => self.cut_out(matching, max_rows),
            false => self.cut_out(matching.rev(), max_rows),
        };
        (page, total)
    }

    /// Returns the page within rows that match and are in order.
    fn cut_out<'a>(&self, rows: impl Iterator<Item = &'a Record>, max_rows: usize) -> Vec<Record> {
        let length = self.limit.unwrap_or(max_rows).min(max_rows);
        rows.skip(self.offset).take(length).map(|row| self.project(row)).collect()
    }

    /// Filters and sorts rows. Returns the page that this query asks for, at most `max_rows` long, and
    /// the total number of matching rows.
    fn page<'a>(&self, rows: impl Iterator<Item = &'a Record>, max_rows: usize) -> (Vec<Record>, usize) {
        let mut matching: Vec<_> = rows.filter(|row| self.matches(row)).collect();
        matching.sort_by(|left, right| {
            let orders = self.order.iter().map(|(name, ascending)| {
                let order = sorted(name, &left[name], &right[name]);
                if *ascending { order } else { order.reverse() }
            });
            orders.fold(Ordering::Equal, Ordering::then)
        });
        let total = matching.len();
        (self.cut_out(matching.into_iter(), max_rows), total)
    }

    /// Returns true when the query has a condition on the rows.
    pub(super) fn is_conditional(&self) -> bool {
        !self.filters.is_empty()
    }

    /// Returns true when the row satisfies every condition.
    fn matches(&self, row: &Record) -> bool {
        self.filters.iter().all(|filter| filter.matches(row))
    }

    /// Returns the selected columns of a row.
    pub(super) fn project(&self, row: &Record) -> Record {
        self.columns.iter().map(|name| (name.clone(), row[name].clone())).collect()
    }
}

fn direction(term: &str) -> Result<(String, bool), QueryError> {
    let (name, direction) = term.split_once('.').unwrap_or((term, "asc"));
    match direction.split('.').next() {
        Some("asc") => Ok((column(name)?, true)),
        Some("desc") => Ok((column(name)?, false)),
        _ => Err(QueryError::Parse(format!("failed to parse order ({term})"))),
    }
}

fn count(text: &str) -> Result<usize, QueryError> {
    text.parse().map_err(|_| QueryError::Parse(format!("failed to parse limit ({text})")))
}

/// Orders two values of one column as PostgreSQL does: null sorts above every other value.
fn sorted(column: &str, left: &Value, right: &Value) -> Ordering {
    if column == "created_at" {
        return Moment::of(left).cmp(&Moment::of(right));
    }
    compare(column, left, right).unwrap_or_else(|| left.is_null().cmp(&right.is_null()))
}

#[cfg(test)]
mod tests {
    use super::super::primary_key::Key;
    use super::super::table::timestamptz;
    use super::*;
    use jiff::Timestamp;
    use proptest::prelude::*;
    use serde_json::json;

    fn rows(ids: std::ops::Range<i64>) -> Vec<Record> {
        ids.map(
            |id| match json!({"id": id, "typo": "t", "corrected": null, "domain": "d", "created_at": null}) {
                Value::Object(row) => row,
                _ => Record::new(),
            },
        )
        .collect()
    }

    fn ids(query: &str, max_rows: usize) -> Vec<i64> {
        let rows = rows(1..11);
        let (page, _) =
            Query::parse(IdType::BigInt, query).expect("a good query").page(rows.iter(), max_rows);
        page.iter().map(|row| row["id"].as_i64().expect("an id")).collect()
    }

    #[test]
    fn filters_order_and_limits_combine() {
        assert_eq!(ids("id=gt.3&id=lte.6&order=id.desc", 1000), [6, 5, 4]);
        assert_eq!(ids("id=in.(9,2,77)&order=id.asc", 1000), [2, 9]);
        assert_eq!(ids("limit=5&order=id.asc", 3), [1, 2, 3]);
        assert_eq!(ids("corrected=eq.x", 1000), [0_i64; 0]);
    }

    #[test]
    fn mistakes_have_their_kinds() {
        let mistake = |query| Query::parse(IdType::BigInt, query).err();
        assert_eq!(mistake("nope=eq.1"), Some(QueryError::Column("nope".to_owned())));
        assert_eq!(mistake("id=gt.x"), Some(QueryError::Literal { kind: "bigint", text: "x".to_owned() }));
        assert!(matches!(mistake("id=5"), Some(QueryError::Parse(_))));
    }

    const ID_TYPES: [IdType; 3] = [IdType::BigInt, IdType::Uuid, IdType::Text];

    /// Returns a table with a row for each time, given in seconds or as null.
    fn table(id_type: IdType, times: &[Option<i64>]) -> Table {
        let mut table = Table::new(id_type);
        for time in times {
            let time = time.map_or(Value::Null, |time| at(time).into());
            let number = table.reserve();
            table.commit(number, Record::from_iter([("created_at".to_owned(), time)]), Timestamp::UNIX_EPOCH);
        }
        table
    }

    fn at(time: i64) -> String {
        timestamptz(Timestamp::from_second(time).expect("in range"))
    }

    fn encoded(pairs: &[(&str, &str)]) -> String {
        url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
    }

    /// A condition, without the table whose values it compares.
    #[derive(Debug, Clone)]
    enum Shape {
        /// Column, operator, and the number of the row with the operand.
        Test(bool, &'static str, usize),
        Listed(Vec<usize>),
        Null(&'static str),
        Nested(&'static str, Vec<Shape>),
    }

    impl Shape {
        /// Returns the condition as a member of a list.
        fn text(&self, table: &Table) -> String {
            let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
            let id = |row: &usize| quoted(&table.id_text(*row as i64));
            match self {
                Self::Test(true, operator, row) => format!("id.{operator}.{}", id(row)),
                Self::Test(false, operator, row) => {
                    format!("created_at.{operator}.{}", quoted(&at(*row as i64)))
                }
                Self::Listed(rows) => {
                    format!("id.in.({})", rows.iter().map(id).collect::<Vec<_>>().join(","))
                }
                Self::Null(column) => format!("{column}.is.null"),
                Self::Nested(word, members) => {
                    let members: Vec<_> = members.iter().map(|member| member.text(table)).collect();
                    format!("{word}({})", members.join(","))
                }
            }
        }
    }

    fn shapes() -> impl Strategy<Value = Shape> {
        let operator = prop::sample::select(vec!["eq", "neq", "gt", "gte", "lt", "lte", "not.gt"]);
        let test = (any::<bool>(), operator, 1_usize..12).prop_map(|(id, op, row)| Shape::Test(id, op, row));
        let listed = prop::collection::vec(1_usize..12, 1..4).prop_map(Shape::Listed);
        let null = prop::sample::select(vec!["id", "created_at"]).prop_map(Shape::Null);
        prop_oneof![4 => test, 1 => listed, 1 => null].prop_recursive(3, 12, 3, |inner| {
            let word = prop::sample::select(vec!["or", "and", "not.or", "not.and"]);
            (word, prop::collection::vec(inner, 1..4))
                .prop_map(|(word, members)| Shape::Nested(word, members))
        })
    }

    #[test]
    fn a_page_by_time_begins_where_the_last_one_ended() {
        for id_type in ID_TYPES {
            let mut table = table(id_type, &[Some(7); 100]);
            let (mut place, mut seen) = (None, Vec::new());
            loop {
                let filter = place.as_ref().map(|(time, id)| {
                    format!(
                        "(created_at.gt.\"{time}\",and(created_at.eq.\"{time}\",or(id.gt.{id},id.is.null)))"
                    )
                });
                let mut pairs = vec![("order", "created_at.asc,id.asc"), ("limit", "30")];
                pairs.extend(filter.as_deref().map(|filter| ("or", filter)));
                let query = Query::parse(id_type, &encoded(&pairs)).expect("a good query");
                assert_eq!(table.rows_by_time(bounds::places(&query.filters)).count(), 100 - seen.len());
                let (page, _) = query.read(&mut table, 1000, false);
                let Some(last) = page.last() else { break };
                place =
                    Some((last["created_at"].as_str().expect("a time").to_owned(), last["id"].to_string()));
                seen.extend(page.iter().map(|row| Key::of(&row["id"]).expect("a key")));
            }
            assert!(seen.len() == 100 && seen.is_sorted(), "{id_type:?}");
        }
    }

    #[test]
    fn without_an_order_rows_are_in_that_of_their_inserts() {
        for id_type in ID_TYPES {
            let mut table = table(id_type, &[None; 20]);
            let (page, _) = Query::parse(id_type, "").expect("a good query").read(&mut table, 15, false);
            let ids: Vec<_> = page.iter().map(|row| Key::of(&row["id"]).expect("a key").text()).collect();
            assert_eq!(ids, (1..=15).map(|number| table.id_text(number)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_literal_must_be_of_the_ids_type() {
        let mistake = |query| Query::parse(IdType::Uuid, query).err();
        let literal = |text: &str| Some(QueryError::Literal { kind: "uuid", text: text.to_owned() });
        assert_eq!(mistake("id=gt.0"), literal("0"));
        assert_eq!(mistake("id=in.(0b4ee0c0-5b7e-4b0c-8d0e-2a6f4c1d9e11,7)"), literal("7"));
        assert_eq!(mistake("or=(id.eq.x,id.eq.y)"), literal("x"));
        assert!(Query::parse(IdType::Text, "id=gt.0").is_ok());
    }

    proptest! {
        #[test]
        fn the_way_by_id_gives_the_same_page(
            first in 0_i64..12, last in 0_i64..12, strict: bool, limit in 0_usize..12, offset in 0_usize..4,
        ) {
            let (above, below) = if strict { ("gt", "lt") } else { ("gte", "lte") };
            let text = format!("id={above}.{first}&id={below}.{last}&order=id.asc&limit={limit}&offset={offset}");
            let (query, rows) = (Query::parse(IdType::BigInt, &text).expect("a good query"), rows(1..11));
            prop_assert!(query.is_by_id());
            let ids = query.ids();
            let within: Vec<_> =
                rows.iter().filter(|row| row["id"].as_i64().is_some_and(|id| ids.contains(&Cut::before(Key::Number(id))))).collect();
            let (page, total) = query.page(rows.iter(), 5);
            prop_assert_eq!(query.cut_out(within.iter().copied(), 5), page);
            prop_assert_eq!(within.len(), total);
        }

        #[test]
        fn every_way_gives_the_page_of_a_sorted_table(
            times in prop::collection::vec(prop::option::of(1_i64..6), 0..12),
            filters in prop::collection::vec(shapes(), 0..3),
            order in prop::sample::select(vec![
                "", "id.asc", "id.desc", "created_at.asc,id.asc", "created_at.desc,id.desc",
                "created_at.asc,id.desc", "id.asc,created_at.desc", "domain.asc,id.asc",
            ]),
            limit in 0_usize..12,
            offset in 0_usize..4,
            deleted in 1_i64..14,
        ) {
            for id_type in ID_TYPES {
                let mut table = table(id_type, &times);
                table.delete(deleted, Timestamp::UNIX_EPOCH);
                let filters: Vec<_> = filters.iter().map(|filter| format!("({})", filter.text(&table))).collect();
                let (limit, offset) = (limit.to_string(), offset.to_string());
                let mut pairs = vec![("limit", limit.as_str()), ("offset", &offset)];
                pairs.extend(filters.iter().map(|filter| ("and", filter.as_str())));
                if !order.is_empty() {
                    pairs.push(("order", order));
                }
                let query = Query::parse(id_type, &encoded(&pairs)).expect("a good query");
                let expected = query.page(table.rows_as_inserted(), 5);
                prop_assert_eq!(query.read(&mut table, 5, true), expected.clone());
                prop_assert_eq!(query.read(&mut table, 5, false).0, expected.0);
                prop_assert_eq!(query.selected(&table).len(), expected.1);
            }
        }

        #[test]
        fn any_query_is_read_without_panic(query in ".{0,100}") {
            let rows = rows(1..4);
            if let Ok(query) = Query::parse(IdType::BigInt, &query) {
                prop_assert!(query.page(rows.iter(), 2).0.len() <= 2);
            }
        }
    }
}

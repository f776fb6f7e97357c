//! Ways of reading a page: by the primary key, by time, or by sorting every row.

use std::cmp::Ordering;
use std::ops::Range;

use serde_json::Value;

use super::super::postgres::primary_key::Cut;
use super::super::postgres::sql_error::SqlError;
use super::super::table::{Commit, Moment, Record, Table};
use super::bounds;
use super::filter::{Filter, Test, compare};
use super::order::Direction;
use super::range::Window;
use super::select::{Projection, Row};

/// A query that is ready to run.
#[derive(Debug)]
pub(in crate::supabase) struct Plan {
    pub(super) projection: Projection,
    pub(super) filters: Vec<Filter>,
    pub(super) order: Vec<(String, Direction)>,
    pub(super) window: Window,
}

impl Plan {
    /// Returns the page of the table that this query asks for and, when `counted`, the total number of
    /// matching rows.
    pub(in crate::supabase) fn read(
        &self,
        table: &mut Table,
        counted: bool,
    ) -> Result<(Vec<Row>, usize), SqlError> {
        self.check_patterns(table)?;
        let (page, total) = self.rows(table, counted);
        Ok((self.project(&page)?, total))
    }

    /// Returns the error of a pattern that can't be matched against one of the rows.
    fn check_patterns(&self, table: &Table) -> Result<(), SqlError> {
        let patterns: Vec<_> = self.filters.iter().filter(|filter| filter.has_pattern()).collect();
        if patterns.is_empty() {
            return Ok(());
        }
        let errors =
            table.rows_as_inserted().find_map(|row| patterns.iter().find_map(|filter| filter.error(row)));
        errors.map_or(Ok(()), Err)
    }

    fn rows(&self, table: &mut Table, counted: bool) -> (Vec<Record>, usize) {
        if self.is_by_id() && (!self.order.is_empty() || table.id_type().is_number()) {
            let total = if counted { table.count(self.ids()) } else { 0 };
            return (self.cut_out(table.rows(self.ids())), total);
        }
        if let Some(keys) = bounds::listed(&self.filters) {
            return self.page(table.listed(&keys));
        }
        let natural = |(name, order): &(String, Direction)| {
            order.is_natural().then_some((name.clone(), order.ascending))
        };
        let order: Vec<_> = self.order.iter().map(natural).collect::<Option<_>>().unwrap_or_default();
        let order: Vec<_> = order.iter().map(|(name, ascending)| (name.as_str(), *ascending)).collect();
        if order.is_empty() && !self.order.is_empty() {
            return self.page(table.rows_as_inserted());
        }
        match order.as_slice() {
            [("id", ascending), ..] => self.walk(table.rows(self.ids()), *ascending, counted),
            [("created_at", true)] => {
                self.walk(table.rows_by_time(bounds::places(&self.filters)), true, counted)
            }
            [("created_at", first), ("id", second), ..] if first == second => {
                self.walk(table.rows_by_time(bounds::places(&self.filters)), *first, counted)
            }
            _ => self.page(table.rows_as_inserted()),
        }
    }

    /// Returns the numbers of all rows that the query selects.
    pub(in crate::supabase) fn selected(&self, table: &Table) -> Result<Vec<i64>, SqlError> {
        self.check_patterns(table)?;
        let selected = |commit: &&Commit| self.matches(&commit.record);
        Ok(table.commits(self.ids()).filter(selected).map(|commit| commit.number).collect())
    }

    /// Returns the range of ids that can match. Reading only this range makes a page cheap, as the primary
    /// key's index does.
    fn ids(&self) -> Range<Cut> {
        bounds::keys(&self.filters)
    }

    /// Returns true when rows ordered by id and within [`ids`](Self::ids) need no further filtering
    /// or sorting.
    fn is_by_id(&self) -> bool {
        let ordered = match self.order.as_slice() {
            [] => true,
            [(name, order)] => name == "id" && order.ascending,
            _ => false,
        };
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
        counted: bool,
    ) -> (Vec<Record>, usize) {
        let matching = rows.filter(|row| self.matches(row));
        let total = if counted { matching.clone().count() } else { 0 };
        let page = match ascending {
            true => self.cut_out(matching),
            false => self.cut_out(matching.rev()),
        };
        (page, total)
    }

    /// Returns the page within rows that match and are in order.
    fn cut_out<'a>(&self, rows: impl Iterator<Item = &'a Record>) -> Vec<Record> {
        let length = self.window.limit.unwrap_or(usize::MAX);
        rows.skip(self.window.offset).take(length).cloned().collect()
    }

    /// Filters and sorts rows. Returns the page that this query asks for, and the total number of matching
    /// rows.
    fn page<'a>(&self, rows: impl Iterator<Item = &'a Record>) -> (Vec<Record>, usize) {
        let mut matching: Vec<_> = rows.filter(|row| self.matches(row)).collect();
        matching.sort_by(|left, right| {
            let orders =
                self.order.iter().map(|(name, order)| sorted(name, *order, &left[name], &right[name]));
            orders.fold(Ordering::Equal, Ordering::then)
        });
        let total = matching.len();
        (self.cut_out(matching.into_iter()), total)
    }

    /// Returns the selected columns of rows.
    pub(in crate::supabase) fn project(&self, rows: &[Record]) -> Result<Vec<Row>, SqlError> {
        rows.iter().map(|row| self.projection.project(row)).collect()
    }

    /// Returns true when the row satisfies every condition.
    pub(in crate::supabase) fn matches(&self, row: &Record) -> bool {
        self.filters.iter().all(|filter| filter.matches(row))
    }

    /// Returns the columns of the result.
    pub(in crate::supabase) fn projection(&self) -> &Projection {
        &self.projection
    }
}

/// Orders two values of one column.
fn sorted(column: &str, order: Direction, left: &Value, right: &Value) -> Ordering {
    let nulls = |left: bool, right: bool| if order.nulls_first { right.cmp(&left) } else { left.cmp(&right) };
    let values = match column {
        "created_at" => match (Moment::of(left).time(), Moment::of(right).time()) {
            (Some(left), Some(right)) => left.cmp(&right),
            (left, right) => return nulls(left.is_none(), right.is_none()),
        },
        column => match compare(column, left, right) {
            Some(compared) => compared,
            None => return nulls(left.is_null(), right.is_null()),
        },
    };
    if order.ascending { values } else { values.reverse() }
}

#[cfg(test)]
mod tests {
    use super::super::super::postgres::column::Columns;
    use super::super::super::postgres::primary_key::{IdType, Key};
    use super::super::super::postgres::timestamp::TimeType;
    use super::super::parameters::{Query, QueryError};
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

    fn plan(id: IdType, query: &str, max_rows: usize) -> Result<Plan, QueryError> {
        let query = Query::parse(query)?;
        let window = query.window(None).map_err(QueryError::Range)?;
        query.plan("t", &Columns { id, ..Columns::default() }, window.at_most(max_rows))
    }

    fn ids(query: &str, max_rows: usize) -> Vec<i64> {
        let rows = rows(1..11);
        let (page, _) = plan(IdType::BigInt, query, max_rows).expect("a good query").page(rows.iter());
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
    fn nulls_are_placed_as_the_query_says() {
        let rows: Vec<_> = rows(1..3)
            .into_iter()
            .map(|mut row| {
                if row["id"] == 1 {
                    row["corrected"] = "x".into();
                }
                row
            })
            .collect();
        let first = |query| {
            let (page, _) = plan(IdType::BigInt, query, 10).expect("a good query").page(rows.iter());
            page[0]["id"].as_i64()
        };
        assert_eq!((first("order=corrected"), first("order=corrected.desc")), (Some(1), Some(2)));
        assert_eq!(first("order=corrected.nullsfirst"), Some(2));
        assert_eq!(first("order=corrected.desc.nullslast"), Some(1));
    }

    #[test]
    fn mistakes_have_their_kinds() {
        let mistake = |query| plan(IdType::BigInt, query, 10).expect_err("a mistake");
        let sql = |query| match mistake(query) {
            QueryError::Sql(error) => error.code,
            other => panic!("{other:?}"),
        };
        for (query, code) in [
            ("nope=eq.1", "42703"),
            ("id=gt.x", "22P02"),
            ("id=gt.99999999999999999999", "22003"),
            // The missing column is found before the operand is read.
            ("id=gt.x&nope=eq.1", "42703"),
            ("id=gt.x&order=nope", "42703"),
            ("created_at=gt.x", "22007"),
            ("id=like.x", "42883"),
            ("typo=cs.{x}", "42883"),
            ("typo=is.true", "42804"),
            ("typo=match.(", "2201B"),
            ("id=eq(any).x", "22P02"),
        ] {
            assert_eq!(sql(query), code, "{query}");
        }
        assert!(matches!(mistake("id=5&nope=eq.1"), QueryError::Syntax(_)));
        assert!(matches!(mistake("select=brands(name)"), QueryError::NoRelationship(_)));
        assert!(matches!(mistake("select=count()"), QueryError::Aggregate));
        assert!(matches!(mistake("brands.name=eq.x"), QueryError::NotEmbedded(_)));
        assert!(matches!(mistake("limit=-1"), QueryError::Range(_)));
    }

    #[test]
    fn quantifiers_test_each_element() {
        assert_eq!(ids("id=eq(any).{9,2}&order=id", 10), [2, 9]);
        assert_eq!(ids("id=gt(all).{7,8}&order=id", 10), [9, 10]);
        assert_eq!(ids("typo=like(any).{x*,*T,t}&id=lt.3&order=id", 10), [1, 2]);
        assert_eq!(ids("id=isdistinct.3&id=lt.5&order=id", 10), [1, 2, 4]);
        assert_eq!(ids("corrected=not.isdistinct.x", 10), [0_i64; 0]);
    }

    const ID_TYPES: [IdType; 3] = [IdType::BigInt, IdType::Uuid, IdType::Text];

    /// Returns a table with a row for each time, given in seconds or as null.
    fn table(id_type: IdType, times: &[Option<i64>]) -> Table {
        let mut table = Table::new(Columns { id: id_type, ..Columns::default() });
        for time in times {
            let time = time.map_or(Value::Null, |time| at(time).into());
            let number = table.reserve();
            table.commit(number, Record::from_iter([("created_at".to_owned(), time)]), Timestamp::UNIX_EPOCH);
        }
        table
    }

    fn at(time: i64) -> String {
        TimeType::WithZone.json(Timestamp::from_second(time).expect("in range"))
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
                let query = plan(id_type, &encoded(&pairs), 1000).expect("a good query");
                assert_eq!(table.rows_by_time(bounds::places(&query.filters)).count(), 100 - seen.len());
                let (page, _) = query.rows(&mut table, false);
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
            let (page, _) = plan(id_type, "", 15).expect("a good query").rows(&mut table, false);
            let ids: Vec<_> = page.iter().map(|row| Key::of(&row["id"]).expect("a key").text()).collect();
            assert_eq!(ids, (1..=15).map(|number| table.id_text(number)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_literal_must_be_of_the_ids_type() {
        let mistake = |query| match plan(IdType::Uuid, query, 10) {
            Err(QueryError::Sql(error)) => error.message,
            other => panic!("{other:?}"),
        };
        let literal = |text: &str| format!("invalid input syntax for type uuid: \"{text}\"");
        assert_eq!(mistake("id=gt.0"), literal("0"));
        assert_eq!(mistake("id=in.(0b4ee0c0-5b7e-4b0c-8d0e-2a6f4c1d9e11,7)"), literal("7"));
        assert_eq!(mistake("or=(id.eq.x,id.eq.y)"), literal("x"));
        assert!(plan(IdType::Text, "id=gt.0", 10).is_ok());
    }

    proptest! {
        #[test]
        fn the_way_by_id_gives_the_same_page(
            first in 0_i64..12, last in 0_i64..12, strict: bool, limit in 0_usize..12, offset in 0_usize..4,
        ) {
            let (above, below) = if strict { ("gt", "lt") } else { ("gte", "lte") };
            let text = format!("id={above}.{first}&id={below}.{last}&order=id.asc&limit={limit}&offset={offset}");
            let (query, rows) = (plan(IdType::BigInt, &text, 5).expect("a good query"), rows(1..11));
            prop_assert!(query.is_by_id());
            let ids = query.ids();
            let within: Vec<_> =
                rows.iter().filter(|row| row["id"].as_i64().is_some_and(|id| ids.contains(&Cut::before(Key::Number(id))))).collect();
            let (page, total) = query.page(rows.iter());
            prop_assert_eq!(query.cut_out(within.iter().copied()), page);
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
                let query = plan(id_type, &encoded(&pairs), 5).expect("a good query");
                let expected = query.page(table.rows_as_inserted());
                prop_assert_eq!(query.rows(&mut table, true), expected.clone());
                prop_assert_eq!(query.rows(&mut table, false).0, expected.0);
                prop_assert_eq!(query.selected(&table).expect("no pattern").len(), expected.1);
            }
        }

        #[test]
        fn any_query_is_read_without_panic(query in ".{0,100}") {
            let rows = rows(1..4);
            if let Ok(query) = plan(IdType::BigInt, &query, 2) {
                prop_assert!(query.page(rows.iter()).0.len() <= 2);
            }
        }
    }
}

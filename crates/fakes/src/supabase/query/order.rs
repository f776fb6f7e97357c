//! The grammar of `order`.

use super::condition::{Field, spaced_field};
use super::parser::{Failed, Parsed, Parser, SyntaxError};

/// One term of an order, as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum OrderTerm {
    Column {
        field: Field,
        order: Direction,
    },
    /// Column of another table.
    Related(String),
}

/// Direction of an order, and the place of nulls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Direction {
    pub(super) ascending: bool,
    pub(super) nulls_first: bool,
}

impl Direction {
    /// Returns true when null sorts above every other value, as it does unless the query says
    /// otherwise.
    pub(super) fn is_natural(self) -> bool {
        self.nulls_first != self.ascending
    }
}

/// Parses the value of `order`.
pub(super) fn order(text: &str) -> Result<Vec<OrderTerm>, SyntaxError> {
    let name = format!("failed to parse order ({text})");
    Parser::read(text, &name, |parser| {
        let mut terms = vec![spaced_term(parser)?];
        while parser.symbol(',').is_ok() {
            terms.push(spaced_term(parser)?);
        }
        Ok(terms)
    })
}

fn spaced_term(parser: &mut Parser<'_>) -> Parsed<OrderTerm> {
    parser.blanks();
    let related = parser.attempt(|parser| {
        let relation = parser.name()?;
        parser.symbol('(')?;
        spaced_field(parser)?;
        parser.symbol(')')?;
        direction(parser)?;
        Ok(OrderTerm::Related(relation))
    });
    if let Some(related) = related {
        return Ok(related);
    }
    let field = spaced_field(parser)?;
    let order = direction(parser)?;
    parser.blanks();
    Ok(OrderTerm::Column { field, order })
}

fn direction(parser: &mut Parser<'_>) -> Parsed<Direction> {
    let ascending = option(parser, [("asc", true), ("desc", false)]).unwrap_or(true);
    let nulls_first = option(parser, [("nullsfirst", true), ("nullslast", false)]).unwrap_or(!ascending);
    parser.end_or(&[','])?;
    Ok(Direction { ascending, nulls_first })
}

fn option<const N: usize>(parser: &mut Parser<'_>, words: [(&str, bool); N]) -> Option<bool> {
    let word = |(word, meaning): (&str, bool)| {
        parser.attempt(|parser| {
            parser.delimiter()?;
            parser.word(word)?;
            Ok::<_, Failed>(meaning)
        })
    };
    words.into_iter().find_map(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_told_in_postgrests_words() {
        let mistake =
            |text| order(text).map_err(|error| (error.message, error.details)).expect_err("a mistake");
        let (message, details) = mistake("id.asc.nullslasttt");
        assert_eq!(message, "\"failed to parse order (id.asc.nullslasttt)\" (line 1, column 17)");
        assert_eq!(details, "unexpected 't' expecting \",\" or end of input");
        let (message, details) = mistake("id.ac");
        assert_eq!(message, "\"failed to parse order (id.ac)\" (line 1, column 4)");
        assert_eq!(details, "unexpected \"c\" expecting \"asc\", \"desc\", \"nullsfirst\" or \"nullslast\"");
    }

    #[test]
    fn nulls_sort_above_values_unless_told_otherwise() {
        let directions = |text| -> Vec<_> {
            let terms = order(text).expect("an order");
            terms
                .into_iter()
                .filter_map(|term| match term {
                    OrderTerm::Column { order, .. } => {
                        Some((order.ascending, order.nulls_first, order.is_natural()))
                    }
                    OrderTerm::Related(_) => None,
                })
                .collect()
        };
        assert_eq!(directions("id, typo.desc"), [(true, false, true), (false, true, true)]);
        assert_eq!(
            directions("id.nullsfirst,typo.desc.nullslast"),
            [(true, true, false), (false, false, false)]
        );
        assert_eq!(order("brands(name).asc"), Ok(vec![OrderTerm::Related("brands".to_owned())]));
    }
}

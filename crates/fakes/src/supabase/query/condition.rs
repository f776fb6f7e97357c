//! The grammar of conditions in PostgREST's query strings.
//!
//! As in PostgREST, a value within a list ends at the first comma or parenthesis unless it is quoted,
//! and text after a list's end is ignored. A client that quotes too little thus gets an answer to
//! another question, and not always an error.

use super::parser::{Failed, Parsed, Parser, SyntaxError};

/// Depth of `and` and `or` within each other up to which a query is read.
const MAX_DEPTH: usize = 64;

/// A condition as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::supabase) enum Condition {
    Test { field: Field, negated: bool, operation: Operation },
    Group { any: bool, negated: bool, members: Vec<Condition> },
}

/// Name of a column, and true when a path into a JSON value follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::supabase) struct Field {
    pub(super) name: String,
    pub(super) has_path: bool,
}

/// Test of a column's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::supabase) enum Operation {
    Compare(Comparison, Option<Quantifier>, String),
    In(Vec<String>),
    Is(Truth),
    Distinct(String),
    /// Operator on ranges and arrays, as SQL writes it.
    Other(&'static str),
    TextSearch,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::supabase) enum Quantifier {
    Any,
    All,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::supabase) enum Truth {
    Null,
    NotNull,
    /// `TRUE`, `FALSE` or `UNKNOWN`, which are for booleans.
    Of(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::supabase) enum Comparison {
    Equal,
    NotEqual,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    Like,
    LikeInAnyCase,
    Match,
    MatchInAnyCase,
}

/// Operators of which another one may be the beginning come first.
const COMPARISONS: [(&str, Comparison); 9] = [
    ("eq", Comparison::Equal),
    ("gte", Comparison::GreaterOrEqual),
    ("gt", Comparison::Greater),
    ("lte", Comparison::LessOrEqual),
    ("lt", Comparison::Less),
    ("like", Comparison::Like),
    ("ilike", Comparison::LikeInAnyCase),
    ("match", Comparison::Match),
    ("imatch", Comparison::MatchInAnyCase),
];

const OTHERS: [(&str, &str); 8] = [
    ("cs", "@>"),
    ("cd", "<@"),
    ("ov", "&&"),
    ("sl", "<<"),
    ("sr", ">>"),
    ("nxr", "&<"),
    ("nxl", "&>"),
    ("adj", "-|-"),
];

impl Condition {
    /// Parses `<path>=<text>` of a query string, where the path is that of a column.
    pub(super) fn of_column(field: Field, text: &str) -> Result<Self, SyntaxError> {
        let name = format!("failed to parse filter ({text})");
        Parser::read(text, &name, |parser| {
            let (negated, operation) = operation(parser, |parser| parser.remainder())?;
            Ok(Self::Test { field, negated, operation })
        })
    }

    /// Parses the value of `and`, `or`, `not.and` or `not.or`, which `word` is.
    pub(super) fn of_group(word: &str, text: &str) -> Result<Self, SyntaxError> {
        let name = format!("failed to parse logic tree ({text})");
        Parser::read(&format!("{word}{text}"), &name, |parser| member(parser, 0))
    }

    /// Returns a condition that a column be equal to a value.
    pub(in crate::supabase) fn id_equals(&self) -> bool {
        matches!(self, Self::Test { field, negated: false, operation: Operation::Compare(Comparison::Equal, None, _) }
            if field.name == "id" && !field.has_path)
    }

    /// Returns a test of a column, as Realtime takes it apart.
    pub(in crate::supabase) fn of_parts(
        column: &str,
        negated: bool,
        operator: &str,
        value: &str,
    ) -> Option<Self> {
        let compare = |comparison| Operation::Compare(comparison, None, value.to_owned());
        let operation = match operator {
            "neq" => compare(Comparison::NotEqual),
            "in" => Operation::Compare(Comparison::Equal, Some(Quantifier::Any), value.to_owned()),
            "isdistinct" => Operation::Distinct(value.to_owned()),
            "is" => Operation::Is(match value {
                "null" => Truth::Null,
                "true" => Truth::Of("TRUE"),
                "false" => Truth::Of("FALSE"),
                "unknown" => Truth::Of("UNKNOWN"),
                _ => return None,
            }),
            other => compare(COMPARISONS.into_iter().find(|(name, _)| *name == other)?.1),
        };
        let field = Field { name: column.to_owned(), has_path: false };
        Some(Self::Test { field, negated, operation })
    }
}

/// Reads `<column>.<operator>.<operand>`, or `or(..)`, `and(..)`, `not.or(..)`, `not.and(..)`.
fn member(parser: &mut Parser<'_>, depth: usize) -> Parsed<Condition> {
    let test = parser.attempt(|parser| {
        let field = spaced_field(parser)?;
        parser.delimiter()?;
        let (negated, operation) = operation(parser, operand)?;
        Ok(Condition::Test { field, negated, operation })
    });
    if let Some(test) = test {
        return Ok(test);
    }
    if depth > MAX_DEPTH {
        return Err(Failed);
    }
    let negated = parser
        .attempt(|parser| {
            parser.labelled("negation operator (not)", |parser| parser.word("not"))?;
            parser.delimiter()
        })
        .is_some();
    let any = parser.labelled("logic operator (and, or)", |parser| {
        if parser.attempt(|parser| parser.word("and")).is_some() {
            return Ok(false);
        }
        parser.word("or").map(|()| true)
    })?;
    parser.spaced('(')?;
    let mut members = vec![member(parser, depth + 1)?];
    while parser.attempt(|parser| parser.spaced(',')).is_some() {
        members.push(member(parser, depth + 1)?);
    }
    parser.spaced(')')?;
    Ok(Condition::Group { any, negated, members })
}

/// Reads a column's name, a path into a JSON value, and the blanks around both.
pub(super) fn spaced_field(parser: &mut Parser<'_>) -> Parsed<Field> {
    parser.blanks();
    let field = field(parser)?;
    parser.blanks();
    Ok(field)
}

/// Reads a column's name and a path into a JSON value.
pub(super) fn field(parser: &mut Parser<'_>) -> Parsed<Field> {
    let name = parser.name()?;
    let mut has_path = false;
    while parser.attempt(|parser| parser.word("->>")).is_some()
        || parser.attempt(|parser| parser.word("->")).is_some()
    {
        has_path = true;
        if parser.peek() == Some('"') {
            parser.quoted()?;
        } else if parser.until(&['(', ':', '.', ',', '>', ')']).is_empty() {
            return Err(Failed);
        } else if parser.peek() == Some('>') {
            // The hyphen that was read belongs to the next arrow.
            let mark = parser.mark();
            parser.back(mark - 1);
        }
    }
    Ok(Field { name, has_path })
}

/// Reads `<operator>.<operand>`, and true when `not.` is before it.
fn operation(parser: &mut Parser<'_>, operand: fn(&mut Parser<'_>) -> String) -> Parsed<(bool, Operation)> {
    let negated = parser
        .attempt(|parser| {
            parser.word("not")?;
            parser.delimiter()
        })
        .is_some();
    enum Begun {
        In,
        Is,
        Distinct,
        Other(&'static str),
        Search,
        Compare(Comparison, Option<Quantifier>),
    }
    let begun = parser.labelled("operator (eq, gt, ...)", |parser| {
        let mut begins = |word: &str| {
            parser
                .attempt(|parser| {
                    parser.word(word)?;
                    parser.delimiter()
                })
                .is_some()
        };
        if begins("in") {
            return Ok(Begun::In);
        }
        if begins("is") {
            return Ok(Begun::Is);
        }
        if begins("isdistinct") {
            return Ok(Begun::Distinct);
        }
        if begins("neq") {
            return Ok(Begun::Compare(Comparison::NotEqual, None));
        }
        for (word, symbol) in OTHERS {
            if begins(word) {
                return Ok(Begun::Other(symbol));
            }
        }
        for word in ["fts", "plfts", "phfts", "wfts"] {
            let search = parser.attempt(|parser| {
                parser.word(word)?;
                parser.attempt(|parser| {
                    parser.symbol('(')?;
                    parser.identifier()?;
                    parser.symbol(')')
                });
                parser.delimiter()
            });
            if search.is_some() {
                return Ok(Begun::Search);
            }
        }
        let (_, comparison) = COMPARISONS
            .into_iter()
            .find(|(word, _)| parser.attempt(|parser| parser.word(word)).is_some())
            .ok_or(Failed)?;
        let quantifier = parser.attempt(|parser| {
            parser.symbol('(')?;
            let any = parser.attempt(|parser| parser.word("any")).is_some();
            if !any {
                parser.word("all")?;
            }
            parser.symbol(')')?;
            Ok(if any { Quantifier::Any } else { Quantifier::All })
        });
        parser.delimiter()?;
        Ok(Begun::Compare(comparison, quantifier))
    })?;
    let operation = match begun {
        Begun::In => Operation::In(list(parser)?),
        Begun::Is => Operation::Is(truth(parser)?),
        Begun::Distinct => Operation::Distinct(operand(parser)),
        Begun::Other(symbol) => {
            operand(parser);
            Operation::Other(symbol)
        }
        Begun::Search => {
            operand(parser);
            Operation::TextSearch
        }
        Begun::Compare(comparison, quantifier) => Operation::Compare(comparison, quantifier, operand(parser)),
    };
    Ok((negated, operation))
}

fn truth(parser: &mut Parser<'_>) -> Parsed<Truth> {
    let words = [
        ("null", Truth::Null),
        ("not_null", Truth::NotNull),
        ("true", Truth::Of("TRUE")),
        ("false", Truth::Of("FALSE")),
        ("unknown", Truth::Of("UNKNOWN")),
    ];
    parser.labelled("isVal: (null, not_null, true, false, unknown)", |parser| {
        let word = words.into_iter().find(|(word, _)| parser.word_in_any_case(word).is_ok());
        word.map(|(_, truth)| truth).ok_or(Failed)
    })
}

/// Reads `(<value>,<value>,..)`. `()` has no values, and not an empty one.
fn list(parser: &mut Parser<'_>) -> Parsed<Vec<String>> {
    parser.spaced('(')?;
    let mut items = vec![parser.listed()];
    while parser.symbol(',').is_ok() {
        items.push(parser.listed());
    }
    parser.spaced(')')?;
    Ok(if items == [""] { Vec::new() } else { items })
}

/// Reads the operand of a condition within a list. Commas within braces, which make an array, separate
/// nothing.
fn operand(parser: &mut Parser<'_>) -> String {
    if parser.peek() == Some('{') {
        let array = parser.attempt(|parser| {
            parser.symbol('{')?;
            let inner = parser.until(&['{', '}']);
            parser.symbol('}')?;
            Ok(format!("{{{inner}}}"))
        });
        if let Some(array) = array {
            return array;
        }
    }
    parser.listed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// Returns the operands of the conditions of a text.
    fn operands(condition: &Condition) -> Vec<String> {
        match condition {
            Condition::Test { operation: Operation::Compare(_, _, operand), .. } => vec![operand.clone()],
            Condition::Test { operation: Operation::In(items), .. } => items.clone(),
            Condition::Test { .. } => Vec::new(),
            Condition::Group { members, .. } => members.iter().flat_map(operands).collect(),
        }
    }

    fn parsed(name: &str, text: &str) -> Result<Condition, SyntaxError> {
        match name {
            "id" => Condition::of_column(Field { name: "id".to_owned(), has_path: false }, text),
            word => Condition::of_group(word, text),
        }
    }

    fn read(name: &str, text: &str) -> Value {
        parsed(name, text).map_or(Value::Null, |condition| operands(&condition).into())
    }

    /// The messages are those of PostgREST's own tests and documentation.
    #[test]
    fn mistakes_are_told_in_postgrests_words() {
        for (name, text, column, details) in [
            ("id", "0", 1, "unexpected \"0\" expecting \"not\" or operator (eq, gt, ...)"),
            ("id", "noop.0", 1, "unexpected \"o\" expecting \"not\" or operator (eq, gt, ...)"),
            (
                "or",
                "()",
                4,
                "unexpected \")\" expecting field name (* or [a..z0..9_$]), negation operator (not) or logic operator (and, or)",
            ),
        ] {
            let error = parsed(name, text).expect_err("a mistake");
            let kind = if name == "id" { "filter" } else { "logic tree" };
            let message = format!("\"failed to parse {kind} ({text})\" (line 1, column {column})");
            assert_eq!((error.message, error.details.as_str()), (message, details));
        }
    }

    #[test]
    fn values_outside_of_lists_are_taken_as_they_are() {
        for text in ["a b", "a,b", "\"a\"", "a)b(", "a.b", "100%ab", "ö\\", ""] {
            assert_eq!(read("id", &format!("eq.{text}")), json!([text]));
        }
    }

    #[test]
    fn quoted_values_within_lists_keep_every_character() {
        for text in ["a b", "a,b", "\"a\"", "a)b(", "a.b", "100%ab", "ö\\", ""] {
            let quoted = format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
            assert_eq!(read("id", &format!("in.({quoted},x)")), json!([text, "x"]));
            let nested = format!("(typo.gt.{quoted},and(typo.eq.{quoted},id.gt.{quoted}))");
            assert_eq!(read("or", &nested), json!([text, text, text]));
        }
    }

    /// These follow from PostgREST's grammar: its lists don't have to end where the value ends.
    #[test]
    fn unquoted_values_end_at_a_comma_or_parenthesis() {
        assert_eq!(read("id", "in.(a)b,c)"), json!(["a"]));
        assert_eq!(read("id", "in.(a(b,c)"), json!(["a(b", "c"]));
        assert_eq!(read("id", "in.(a\"b,\"c\"d,e\\\"f)"), json!(["a\"b", "\"c\"d", "e\\\"f"]));
        assert_eq!(read("id", "in.(\"a)"), json!(["\"a"]));
        assert_eq!(read("id", "in.( a, b )"), json!(["a", " b "]));
        assert_eq!(read("id", "in.()"), json!([]));
        assert_eq!(read("id", "in.(,)"), json!(["", ""]));
        assert_eq!(read("or", "(id.gt.form(a),id.eq.b)"), json!(["form(a"]));
        assert_eq!(read("or", "( id.eq.a , id.eq.{b,c} )"), json!(["a ", "{b,c}"]));
        assert_eq!(read("or", "(id.eq.{b,\"typo\".not.in.(c,d))"), json!(["{b", "c", "d"]));
        for bad in ["", "(", "()", "(id.eq.a", "(id.eq.a,)", "(id)", "(id.a)", "(xor(id.eq.a))"] {
            assert_eq!(read("or", bad), Value::Null, "{bad}");
        }
        for bad in ["in.a", "in.(a", "eq", "is.a", "likes.a", "not", "eq(some).a", "not.not.eq.a"] {
            assert_eq!(read("id", bad), Value::Null, "{bad}");
        }
    }

    #[test]
    fn conditions_nest_up_to_a_depth() {
        let nested = |depth: usize| format!("({}id.eq.a{})", "or(".repeat(depth), ")".repeat(depth));
        assert_eq!(read("and", &nested(MAX_DEPTH)), json!(["a"]));
        assert_eq!(read("and", &nested(MAX_DEPTH + 1)), Value::Null);
        assert_eq!(read("and", &nested(10_000)), Value::Null);
    }
}

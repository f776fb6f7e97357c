//! The grammar of conditions in PostgREST's query strings.
//!
//! As in PostgREST, a value within a list ends at the first comma or parenthesis unless it is quoted,
//! and text after a list's end is ignored. A client that quotes too little thus gets an answer to
//! another question, and not always an error.

use std::cmp::Ordering;

use super::filter::{Filter, QueryError, Test, column, literal};
use super::primary_key::IdType;

/// Depth of `and` and `or` within each other up to which a query is read.
const MAX_DEPTH: usize = 64;

impl Filter {
    /// Parses `<name>=<text>` of a query string. The name may also be `and`, `or`, `not.and`, or
    /// `not.or`.
    pub(super) fn parse(id_type: IdType, name: &str, text: &str) -> Result<Self, QueryError> {
        let mut parser = Parser { id_type, whole: text, rest: text };
        match name {
            "and" => parser.members(0).map(Self::All),
            "or" => parser.members(0).map(Self::Any),
            "not.and" => Ok(Self::Not(Box::new(Self::All(parser.members(0)?)))),
            "not.or" => Ok(Self::Not(Box::new(Self::Any(parser.members(0)?)))),
            name => parser.operation(&column(name)?, Parser::remainder),
        }
    }
}

/// Reader of one value.
struct Parser<'a> {
    id_type: IdType,
    whole: &'a str,
    rest: &'a str,
}

impl<'a> Parser<'a> {
    /// Reads `(<condition>,<condition>,..)`.
    fn members(&mut self, depth: usize) -> Result<Vec<Filter>, QueryError> {
        let mut members = Vec::new();
        let mut begin = '(';
        while self.symbol(begin) {
            members.push(self.member(depth)?);
            begin = ',';
        }
        let closed = !members.is_empty() && self.symbol(')');
        if closed { Ok(members) } else { Err(self.malformed()) }
    }

    /// Reads `<column>.<operator>.<operand>`, or `or(..)`, `and(..)`, `not.or(..)`, `not.and(..)`.
    fn member(&mut self, depth: usize) -> Result<Filter, QueryError> {
        let begin = self.rest;
        match self.column_test() {
            Err(QueryError::Parse(_)) => self.rest = begin,
            parsed => return parsed,
        }
        if depth == MAX_DEPTH {
            return Err(self.malformed());
        }
        let negated = self.word("not.");
        let filter = if self.word("and") {
            Filter::All(self.members(depth + 1)?)
        } else if self.word("or") {
            Filter::Any(self.members(depth + 1)?)
        } else {
            return Err(self.malformed());
        };
        Ok(if negated { Filter::Not(Box::new(filter)) } else { filter })
    }

    fn column_test(&mut self) -> Result<Filter, QueryError> {
        self.blanks();
        let name = match self.quoted() {
            Some(name) => name,
            None => {
                let part = |c: char| c.is_alphanumeric() || "_ $-".contains(c);
                self.until(|c| !part(c)).trim().to_owned()
            }
        };
        self.blanks();
        if name.is_empty() || !self.word(".") {
            return Err(self.malformed());
        }
        self.operation(&name, Self::operand)
    }

    /// Reads `<operator>.<operand>`.
    fn operation(&mut self, name: &str, operand: fn(&mut Self) -> String) -> Result<Filter, QueryError> {
        let negated = self.word("not.");
        let test = self.test(name, operand)?;
        let filter = Filter::Column(column(name)?, test);
        Ok(if negated { Filter::Not(Box::new(filter)) } else { filter })
    }

    fn test(&mut self, name: &str, operand: fn(&mut Self) -> String) -> Result<Test, QueryError> {
        if self.word("is.") {
            return if self.word("null") { Ok(Test::Null) } else { Err(self.malformed()) };
        }
        if self.word("in.") {
            let items = self.items()?;
            return items
                .iter()
                .map(|item| literal(self.id_type, name, item))
                .collect::<Result<_, _>>()
                .map(Test::In);
        }
        let holds = match self.until(|c| c == '.') {
            "eq" => Ordering::is_eq,
            "neq" => Ordering::is_ne,
            "gt" => Ordering::is_gt,
            "gte" => Ordering::is_ge,
            "lt" => Ordering::is_lt,
            "lte" => Ordering::is_le,
            _ => return Err(self.malformed()),
        };
        if !self.word(".") {
            return Err(self.malformed());
        }
        let text = operand(self);
        Ok(Test::Compare(holds, literal(self.id_type, name, &text)?))
    }

    /// Reads `(<value>,<value>,..)`. `()` has no values, and not an empty one.
    fn items(&mut self) -> Result<Vec<String>, QueryError> {
        if !self.symbol('(') {
            return Err(self.malformed());
        }
        let mut items = vec![self.value()];
        while self.word(",") {
            items.push(self.value());
        }
        if !self.symbol(')') {
            return Err(self.malformed());
        }
        Ok(if items == [""] { Vec::new() } else { items })
    }

    /// Reads the operand of a condition outside of lists: all that is left. Quotes are part of it.
    fn remainder(&mut self) -> String {
        std::mem::take(&mut self.rest).to_owned()
    }

    /// Reads the operand of a condition within a list. Commas within braces, which make an array,
    /// separate nothing.
    fn operand(&mut self) -> String {
        let array = self.rest.strip_prefix('{').and_then(|inner| {
            let end = inner.find(['{', '}']).filter(|end| inner[*end..].starts_with('}'))?;
            Some(self.rest.split_at(end + 2))
        });
        match array {
            Some((array, rest)) => {
                self.rest = rest;
                array.to_owned()
            }
            None => self.value(),
        }
    }

    /// Reads a value of a list. Quotes count only around the whole value.
    fn value(&mut self) -> String {
        let begin = self.rest;
        if let Some(text) = self.quoted()
            && (self.rest.is_empty() || self.rest.starts_with([',', ')']))
        {
            return text;
        }
        self.rest = begin;
        self.until(|c| c == ',' || c == ')').to_owned()
    }

    /// Reads a text in double quotes, within which a backslash escapes the next character. Reads
    /// nothing when there is none.
    fn quoted(&mut self) -> Option<String> {
        let mut characters = self.rest.strip_prefix('"')?.chars();
        let mut text = String::new();
        loop {
            match characters.next()? {
                '"' => break,
                '\\' => text.push(characters.next()?),
                character => text.push(character),
            }
        }
        self.rest = characters.as_str();
        Some(text)
    }

    fn until(&mut self, ends: impl Fn(char) -> bool) -> &'a str {
        let (text, rest) = self.rest.split_at(self.rest.find(ends).unwrap_or(self.rest.len()));
        self.rest = rest;
        text
    }

    fn word(&mut self, word: &str) -> bool {
        let rest = self.rest.strip_prefix(word);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// Reads a character and the blanks around it.
    fn symbol(&mut self, symbol: char) -> bool {
        self.blanks();
        let rest = self.rest.strip_prefix(symbol);
        self.rest = rest.unwrap_or(self.rest);
        self.blanks();
        rest.is_some()
    }

    fn blanks(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }

    fn malformed(&self) -> QueryError {
        QueryError::Parse(format!("failed to parse filter ({})", self.whole))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// Returns the operands of the conditions of a text.
    fn operands(filter: &Filter) -> Vec<Value> {
        match filter {
            Filter::Column(_, Test::Compare(_, operand)) => vec![operand.clone()],
            Filter::Column(_, Test::In(items)) => items.clone(),
            Filter::Column(_, Test::Null) => Vec::new(),
            Filter::All(members) | Filter::Any(members) => members.iter().flat_map(operands).collect(),
            Filter::Not(member) => operands(member),
        }
    }

    fn read(name: &str, text: &str) -> Value {
        match Filter::parse(IdType::Text, name, text) {
            Ok(filter) => operands(&filter).into(),
            Err(_) => Value::Null,
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
        for bad in ["", "(", "()", "(id.eq.a", "(id.eq.a,)", "(id)", "(id.a)", "id.eq.a", "(xor(id.eq.a))"] {
            assert_eq!(read("or", bad), Value::Null, "{bad}");
        }
        for bad in ["in.a", "in.(a", "eq", "is.a", "like.a", "not"] {
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

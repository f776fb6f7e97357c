//! PostgREST's parser of values, with its messages: what was found, and what was expected instead.
//!
//! Of all the places where a rule failed, the message tells the one furthest into the text.

/// Reason why a text can't be read, as PostgREST says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::supabase) struct SyntaxError {
    pub(in crate::supabase) message: String,
    pub(in crate::supabase) details: String,
}

/// Marks that a rule has failed. The parser knows where and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Failed;

/// Result of a rule.
pub(super) type Parsed<T> = Result<T, Failed>;

#[derive(Debug, Clone, Default)]
struct Expectation {
    place: usize,
    /// Text that was found, as the message shows it; empty at the end of the input.
    found: Option<String>,
    wanted: Vec<String>,
}

/// Reader of one text.
#[derive(Debug, Clone)]
pub(super) struct Parser<'a> {
    text: &'a str,
    place: usize,
    furthest: Expectation,
}

impl<'a> Parser<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, place: 0, furthest: Expectation::default() }
    }

    /// Reads the whole text by a rule. `name` is the text's name in a message.
    pub(super) fn read<T>(
        text: &'a str,
        name: &str,
        rule: impl FnOnce(&mut Self) -> Parsed<T>,
    ) -> Result<T, SyntaxError> {
        let mut parser = Self::new(text);
        rule(&mut parser).map_err(|Failed| parser.error(name))
    }

    fn error(&self, name: &str) -> SyntaxError {
        let Expectation { place, found, wanted } = &self.furthest;
        let column = self.text.get(..*place).unwrap_or(self.text).chars().count() + 1;
        let found = match found.as_deref() {
            None | Some("") => "unexpected end of input".to_owned(),
            Some(found) => format!("unexpected {found}"),
        };
        let wanted = match wanted.as_slice() {
            [] => String::new(),
            [one] => format!(" expecting {one}"),
            [most @ .., last] => format!(" expecting {} or {last}", most.join(", ")),
        };
        SyntaxError {
            message: format!(
                "\"{}\" (line 1, column {column})",
                name.replace('\\', "\\\\").replace('"', "\\\"")
            ),
            details: format!("{found}{wanted}"),
        }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.place..]
    }

    /// Returns the next character without reading it.
    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub(super) fn mark(&self) -> usize {
        self.place
    }

    pub(super) fn back(&mut self, mark: usize) {
        self.place = mark;
    }

    /// Records that something was expected at a place.
    fn expect(&mut self, place: usize, found: Option<char>, wanted: Option<String>) {
        let found = found.map(|character| format!("\"{character}\"")).unwrap_or_default();
        self.merge(Expectation { place, found: Some(found), wanted: wanted.into_iter().collect() });
    }

    fn merge(&mut self, other: Expectation) {
        let furthest = &mut self.furthest;
        if other.found.is_none() || other.place < furthest.place {
            return;
        }
        if other.place > furthest.place || furthest.found.is_none() {
            *furthest = other;
            return;
        }
        // A text in single quotes was found where nothing more may follow, which says more.
        if other.found.as_ref().is_some_and(|found| found.starts_with('\'')) {
            furthest.found = other.found;
        }
        for wanted in other.wanted {
            if !furthest.wanted.contains(&wanted) {
                furthest.wanted.push(wanted);
            }
        }
    }

    /// Runs a rule that reads nothing when it fails, and calls what it expects by one name.
    pub(super) fn labelled<T>(&mut self, name: &str, rule: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        let (outer, mark) = (std::mem::take(&mut self.furthest), self.place);
        let parsed = rule(self);
        let mut inner = std::mem::replace(&mut self.furthest, outer);
        if parsed.is_err() {
            self.place = mark;
            inner.wanted = vec![name.to_owned()];
        }
        self.merge(inner);
        parsed
    }

    /// Runs a rule, and reads nothing when it fails.
    pub(super) fn attempt<T>(&mut self, rule: impl FnOnce(&mut Self) -> Parsed<T>) -> Option<T> {
        let mark = self.place;
        let parsed = rule(self).ok();
        if parsed.is_none() {
            self.place = mark;
        }
        parsed
    }

    /// Reads a word.
    pub(super) fn word(&mut self, word: &str) -> Parsed<()> {
        match self.rest().strip_prefix(word) {
            Some(_) => {
                self.place += word.len();
                Ok(())
            }
            None => {
                let same =
                    self.rest().chars().zip(word.chars()).take_while(|(left, right)| left == right).count();
                self.expect(self.place, self.rest().chars().nth(same), Some(format!("\"{word}\"")));
                Err(Failed)
            }
        }
    }

    /// Reads a word of which each letter may also be upper case.
    pub(super) fn word_in_any_case(&mut self, word: &str) -> Parsed<()> {
        let mark = self.place;
        for letter in word.chars() {
            match self.peek() {
                Some(found) if found == letter || found == letter.to_ascii_uppercase() => {
                    self.place += found.len_utf8()
                }
                found => {
                    self.expect(self.place, found, None);
                    self.place = mark;
                    return Err(Failed);
                }
            }
        }
        Ok(())
    }

    /// Reads the point between the parts of a value.
    pub(super) fn delimiter(&mut self) -> Parsed<()> {
        self.character('.', "delimiter (.)")
    }

    /// Reads a character.
    pub(super) fn symbol(&mut self, symbol: char) -> Parsed<()> {
        self.character(symbol, &format!("\"{symbol}\""))
    }

    fn character(&mut self, character: char, name: &str) -> Parsed<()> {
        match self.peek() {
            Some(found) if found == character => {
                self.place += character.len_utf8();
                Ok(())
            }
            found => {
                self.expect(self.place, found, Some(name.to_owned()));
                Err(Failed)
            }
        }
    }

    /// Reads a character and the blanks around it.
    pub(super) fn spaced(&mut self, symbol: char) -> Parsed<()> {
        self.blanks();
        self.symbol(symbol)?;
        self.blanks();
        Ok(())
    }

    pub(super) fn blanks(&mut self) {
        self.place = self.text.len() - self.rest().trim_start_matches([' ', '\t']).len();
    }

    /// Requires that the text ends here, or that one of these characters follows.
    pub(super) fn end_or(&mut self, followers: &[char]) -> Parsed<()> {
        let found = self.peek();
        if found.is_none_or(|found| followers.contains(&found)) {
            return Ok(());
        }
        for follower in followers {
            self.expect(self.place, found, Some(format!("\"{follower}\"")));
        }
        self.no_more(found, "end of input");
        Err(Failed)
    }

    /// Records that nothing may follow here.
    fn no_more(&mut self, found: Option<char>, wanted: &str) {
        let found = found.map(|character| format!("'{character}'"));
        let wanted = Some(wanted.to_owned()).filter(|wanted| !wanted.is_empty()).into_iter().collect();
        self.merge(Expectation { place: self.place, found, wanted });
    }

    /// Reads until one of these characters, or to the end.
    pub(super) fn until(&mut self, ends: &[char]) -> &'a str {
        let rest = self.rest();
        let length = rest.find(ends).unwrap_or(rest.len());
        self.place += length;
        &rest[..length]
    }

    /// Reads all that is left.
    pub(super) fn remainder(&mut self) -> String {
        let rest = self.rest().to_owned();
        self.place = self.text.len();
        rest
    }

    /// Reads a text in double quotes, within which a backslash escapes the next character.
    pub(super) fn quoted(&mut self) -> Parsed<String> {
        let mark = self.place;
        self.symbol('"')?;
        let mut text = String::new();
        let mut characters = self.rest().chars();
        loop {
            match characters.next() {
                Some('"') => break,
                Some('\\') => text.extend(characters.next()),
                Some(character) => text.push(character),
                None => {
                    self.expect(self.text.len(), None, Some("\"\\\"\"".to_owned()));
                    self.place = mark;
                    return Err(Failed);
                }
            }
        }
        self.place = self.text.len() - characters.as_str().len();
        Ok(text)
    }

    /// Reads a value of a list. Quotes count only around the whole value.
    pub(super) fn listed(&mut self) -> String {
        let quoted = self.attempt(|parser| {
            let text = parser.quoted()?;
            match parser.peek() {
                Some(found) if !",)".contains(found) => {
                    parser.no_more(Some(found), "");
                    Err(Failed)
                }
                _ => Ok(text),
            }
        });
        quoted.unwrap_or_else(|| self.until(&[',', ')']).to_owned())
    }

    /// Reads the name of a column or relation: letters, digits, `_`, `$`, blanks and hyphens, or any text in
    /// quotes. A hyphen before `>` ends it.
    pub(super) fn name(&mut self) -> Parsed<String> {
        if self.peek() == Some('"') {
            return self.quoted();
        }
        let name = self.labelled("field name (* or [a..z0..9_$])", Self::identifier)?;
        let mut name = name.to_owned();
        while let Some(part) = self.attempt(|parser| {
            parser.symbol('-')?;
            if parser.peek() == Some('>') {
                return Err(Failed);
            }
            parser.identifier()
        }) {
            name.push('-');
            name.push_str(part);
        }
        Ok(name)
    }

    /// Reads letters, digits, `_`, `$` and blanks, and cuts the blanks around them.
    pub(super) fn identifier(&mut self) -> Parsed<&'a str> {
        let rest = self.rest();
        let part = |c: char| c.is_alphanumeric() || "_ $".contains(c);
        let length = rest.find(|c| !part(c)).unwrap_or(rest.len());
        self.place += length;
        let found = self.peek();
        for wanted in ["letter", "digit"] {
            self.expect(self.place, found, Some(wanted.to_owned()));
        }
        if length == 0 { Err(Failed) } else { Ok(rest[..length].trim()) }
    }
}

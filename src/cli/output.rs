//! The way out of every text that a command prints.
//!
//! Much of what commands print comes from outside: names of domains, answers of the Hub, fields of an
//! index. Printed as it is, such a text could move the cursor, clear the screen, or add a line that looks
//! like one of the program's. So control characters become spaces, and a line break inside a printed text
//! is followed by two spaces: only the program begins a line at the margin.

use std::fmt::{self, Write as _};
use std::io::{ErrorKind, Write};

use super::CliError;
use crate::broker::BrokerError;

/// Prints a line to standard error like the standard macro of this name, but does not panic when the
/// reader has gone.
macro_rules! eprintln {
    ($($part:tt)*) => { $crate::cli::output::print_error_line(format_args!($($part)*)) };
}

/// Prints a line like the standard macro of this name, but does not panic when the reader has
/// closed the pipe (`autovalidate runs list | head`).
macro_rules! println {
    () => { $crate::cli::output::print_line(format_args!("")) };
    ($($part:tt)*) => { $crate::cli::output::print_line(format_args!($($part)*)) };
}

/// Prints a line. A reader that has closed the pipe, such as `head`, is not an error.
pub(super) fn print_line(line: fmt::Arguments<'_>) {
    match writeln!(std::io::stdout(), "{}", Plain::lines(line)) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            eprintln!("error: can't write to standard output: {error}")
        }
        _ => {}
    }
}

/// Prints a line to standard error.
pub(super) fn print_error_line(line: fmt::Arguments<'_>) {
    // Nobody is left who could be told of a failure.
    let _ = writeln!(std::io::stderr(), "{}", Plain::lines(line));
}

/// Prints a value as JSON.
pub(super) fn print_json(value: &impl serde::Serialize) -> Result<(), CliError> {
    let text = serde_json::to_string_pretty(value).map_err(BrokerError::from)?;
    print_text(&format!("{}\n", escaped(&text)))
}

/// Prints a text with line breaks of its own. A reader that has closed the pipe, such as `head`, is not
/// an error.
pub(super) fn print_text(text: &str) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    match write!(out, "{}", Plain::text(text)).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(CliError::Plain {
            what: "can't write to standard output".to_owned(),
            advice: "Check the target of the output, for example for a full disk.".to_owned(),
            source: Some(error.into()),
        }),
        _ => Ok(()),
    }
}

/// Escapes the control characters that JSON allows in a string, and terminals obey.
fn escaped(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for letter in json.chars() {
        match letter {
            '\u{7f}'..='\u{9f}' => {
                // Writing to a string can't fail.
                let _ = write!(escaped, "\\u{:04x}", u32::from(letter));
            }
            letter => escaped.push(letter),
        }
    }
    escaped
}

/// A text that shows without control characters.
struct Plain<T> {
    text: T,
    /// Text that follows each line break.
    margin: &'static str,
}

impl<'a> Plain<fmt::Arguments<'a>> {
    /// Returns a text of one line or several, of which only the first begins at the margin.
    fn lines(text: fmt::Arguments<'a>) -> Self {
        Self { text, margin: "  " }
    }
}

impl<'a> Plain<&'a str> {
    /// Returns a text whose lines may all begin at the margin.
    fn text(text: &'a str) -> Self {
        Self { text, margin: "" }
    }
}

impl<T: fmt::Display> fmt::Display for Plain<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Filter { formatter, margin: self.margin, begun: false, owed: false }, "{}", self.text)
    }
}

struct Filter<'a, 'f> {
    formatter: &'a mut fmt::Formatter<'f>,
    margin: &'static str,
    /// True after the first character that is no line break: blank lines before a text are the program's.
    begun: bool,
    /// True after a line break, until the next character shows if a margin is missing.
    owed: bool,
}

impl fmt::Write for Filter<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for letter in text.chars() {
            if std::mem::take(&mut self.owed) && !matches!(letter, ' ' | '\n') {
                self.formatter.write_str(self.margin)?;
            }
            self.begun |= letter != '\n';
            match letter {
                '\n' => {
                    self.owed = self.begun;
                    self.formatter.write_char(letter)?;
                }
                '\t' => self.formatter.write_char(letter)?,
                letter if letter.is_control() => self.formatter.write_char(' ')?,
                letter => self.formatter.write_char(letter)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn foreign_text_neither_steers_the_terminal_nor_begins_a_line() {
        let foreign = "a\u{1b}[2J\rb\nerror: forged\u{9b}31m";
        let line =
            Plain::lines(format_args!("model {foreign}: {foreign}\n  what to do: {foreign}")).to_string();
        assert!(!line.contains(['\u{1b}', '\r', '\u{9b}']), "{line:?}");
        assert!(line.lines().skip(1).all(|line| line.starts_with("  ")), "{line:?}");
        assert_eq!(line.lines().count(), 5);
        assert_eq!(Plain::lines(format_args!("\n\nRun x:\ny")).to_string(), "\n\nRun x:\n  y");
        assert_eq!(Plain::text("# a\n\nb\u{7}\tc\n").to_string(), "# a\n\nb \tc\n");
        let json = serde_json::to_string(&foreign).unwrap();
        assert!(!escaped(&json).contains(char::is_control));
        assert_eq!(serde_json::from_str::<String>(&escaped(&json)).unwrap(), foreign);
    }

    /// Other ways to standard output and standard error would go past this file.
    #[test]
    fn no_command_prints_in_another_way() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli");
        let mut files = vec![folder];
        let mut seen = 0;
        while let Some(path) = files.pop() {
            if path.is_dir() {
                files.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
                continue;
            }
            let code = std::fs::read_to_string(&path).unwrap();
            // Logs have a way of their own, and a terminal is only asked what it is.
            let known = ["output.rs", "telemetry/mod.rs"].iter().any(|name| path.ends_with(name));
            let asks = code.matches(".is_terminal()").count();
            let uses = code.matches("stdout()").count() + code.matches("stderr()").count();
            assert!(known || uses <= asks, "{} writes past output.rs", path.display());
            for way in ["print!(", "std::println", "std::eprintln", "dbg!("] {
                assert!(known || !code.contains(way), "{} uses {way}", path.display());
            }
            seen += 1;
        }
        assert!(seen > 20, "{seen} files");
    }
}

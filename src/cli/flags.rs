//! Test that every flag exists that errors, advice, other output and pages name.

use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory};

use super::Cli;

/// Commands of other programs that a text names on a line of their own.
const OTHERS: [&str; 2] = ["docker run ", "fly "];

/// A flag that a text names.
struct Flag<'t> {
    name: &'t str,
    /// The line up to the flag.
    before: &'t str,
}

/// Returns the flags of a line, such as `--json`.
fn flags(line: &str) -> Vec<Flag<'_>> {
    let is_part = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
    let mut flags = Vec::new();
    for (start, _) in line.match_indices("--") {
        let before = &line[..start];
        let name = line[start + 2..].split(|letter| !is_part(letter)).next().unwrap_or_default();
        let begins =
            before.chars().next_back().is_none_or(|letter| !letter.is_alphanumeric() && letter != '-');
        if begins && name.starts_with(|letter: char| letter.is_ascii_lowercase()) {
            flags.push(Flag { name, before });
        }
    }
    flags
}

fn has_flag(command: &Command, name: &str) -> bool {
    matches!(name, "help")
        || command.get_arguments().any(|argument| argument.get_long() == Some(name))
        || command.get_subcommands().any(|command| has_flag(command, name))
}

/// Returns the command that a text after `autovalidate` names; `None` when there is no such command.
fn command_of<'c>(root: &'c Command, words: &str) -> Option<&'c Command> {
    let mut command = root;
    for word in words.split_whitespace() {
        match command.find_subcommand(word) {
            Some(inner) => command = inner,
            None => break,
        }
    }
    (command.get_name() != root.get_name()).then_some(command)
}

/// Returns a problem with a flag; `own` is the command whose file names the flag.
fn problem(root: &Command, flag: &Flag<'_>, own: &Command) -> Option<String> {
    let in_quotes = flag.before.matches('`').count() % 2 == 1;
    let quoted = flag.before.rsplit('`').next().filter(|_| in_quotes);
    if let Some((_, words)) =
        flag.before.rsplit_once("autovalidate ").filter(|(_, words)| !words.contains('`'))
    {
        // Not the program, but an app of this name, or a placeholder.
        if !words.starts_with(|letter: char| letter.is_ascii_lowercase()) {
            return None;
        }
        return match command_of(root, words) {
            None => Some(format!("no command `autovalidate {words}`")),
            Some(command) if !has_flag(command, flag.name) => {
                Some(format!("`{}` has no --{}", command.get_name(), flag.name))
            }
            Some(_) => None,
        };
    }
    match quoted.and_then(|words| words.split_whitespace().next()) {
        // A command of another program, such as `fly`.
        Some(program) if root.find_subcommand(program).is_none() => None,
        Some(name) => {
            let command = root.find_subcommand(name)?;
            (!has_flag(command, flag.name)).then(|| format!("`{name}` has no --{}", flag.name))
        }
        None if flag.name == "version" => None,
        None if OTHERS.iter().any(|program| flag.before.contains(program)) => None,
        None => (!has_flag(own, flag.name)).then(|| format!("`{}` has no --{}", own.get_name(), flag.name)),
    }
}

fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(self::files(&path, ending));
        } else if path.extension().is_some_and(|other| other == ending) {
            files.push(path);
        }
    }
    files
}

/// Returns the problems of a source file, and the number of flags that it names outside comments and
/// tests.
fn problems_of_source(root: &Command, path: &Path, text: &str) -> (usize, Vec<String>) {
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let is_of_command = path.parent().is_some_and(|folder| folder.ends_with("src/cli"));
    let name = match stem {
        "demo" => "dev",
        "replay" => "runs",
        other => other,
    };
    let own = root.find_subcommand(name).filter(|_| is_of_command).unwrap_or(root);
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let lines = code.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
    let found: Vec<_> =
        lines.flat_map(|(number, line)| flags(line).into_iter().map(move |flag| (number, flag))).collect();
    let wrong = found.iter().filter_map(|(number, flag)| {
        Some(format!("{}:{}: {}", path.display(), number + 1, problem(root, flag, own)?))
    });
    (found.len(), wrong.collect())
}

#[test]
fn every_flag_that_the_program_names_exists() {
    let root = Cli::command();
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut named, mut wrong) = (0, Vec::new());
    for folder in ["src", "crates/finetune/src"] {
        for path in files(&home.join(folder), "rs") {
            if path.ends_with("src/cli/flags.rs") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let (count, problems) = problems_of_source(&root, &path, &text);
            named += count;
            wrong.extend(problems);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(named > 30, "only {named} flags were found: the search is wrong");
}

#[test]
fn every_flag_that_a_page_names_after_a_command_exists() {
    let root = Cli::command();
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut named, mut wrong) = (0, Vec::new());
    let mut pages = files(&home.join("docs"), "md");
    pages.push(home.join("README.md"));
    for path in pages.iter().filter(|path| !path.to_string_lossy().contains("/decisions/")) {
        let text = std::fs::read_to_string(path).unwrap();
        for (number, line) in text.lines().enumerate() {
            for flag in flags(line).iter().filter(|flag| flag.before.contains("autovalidate ")) {
                named += 1;
                wrong.extend(
                    problem(&root, flag, &root)
                        .map(|problem| format!("{}:{}: {problem}", path.display(), number + 1)),
                );
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(named > 10, "only {named} flags were found: the search is wrong");
}

#[test]
fn a_flag_that_does_not_exist_is_found() {
    let root = Cli::command();
    let of =
        |file: &str, line: &str| problems_of_source(&root, &Path::new("src/cli").join(file), line).1.len();
    assert_eq!(of("train.rs", "\"Choose another folder with --out.\""), 0);
    assert_eq!(of("train.rs", "\"Choose another folder with --folder.\""), 1);
    assert_eq!(of("train.rs", "\"Give --names.\""), 1, "another command's");
    assert_eq!(of("suggest.rs", "\"Run `autovalidate runs replay {id} --receipt x`.\""), 0);
    assert_eq!(of("suggest.rs", "\"Run `autovalidate runs list --receipts x`.\""), 1);
    assert_eq!(of("suggest.rs", "\"Run `autovalidate rerun --json`.\""), 1);
    assert_eq!(of("suggest.rs", "\"Use `fly machine clone --region x`.\""), 0);
    assert_eq!(of("suggest.rs", "// Not --this one."), 0);
}

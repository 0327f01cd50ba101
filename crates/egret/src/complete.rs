//! What kubectl asks a plugin when a person presses the tabulator: `kubectl_complete-egret WORD...`, where the last word is not
//! finished. Answered as kubectl expects it: a candidate a line, a tabulator, what it does; at the end a colon and what the
//! shell may add itself.

use std::ffi::OsString;

use clap::{Arg, Command};

/// The shell adds no names of files.
const NO_FILES: u8 = 4;
/// It does what it usually does.
const USUAL: u8 = 0;

/// The answer to these words.
pub fn answer(program: &Command, words: &[OsString]) -> String {
    let words: Vec<String> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let (begun, finished) = words.split_last().map_or(("", &[][..]), |(last, rest)| (last.as_str(), rest));
    let mut command = program;
    for word in finished.iter().filter(|word| !word.starts_with('-')) {
        command = command.find_subcommand(word).unwrap_or(command);
    }
    let asked = finished.last().and_then(|word| option(command, word));
    let (candidates, then) = match asked {
        Some(option) if option.get_action().takes_values() => {
            let values = values(option);
            let then = if values.is_empty() { USUAL } else { NO_FILES };
            (values, then)
        }
        _ if begun.starts_with('-') => (options(command), NO_FILES),
        _ => {
            let mut all = subcommands(command);
            all.extend(command.get_positionals().flat_map(values));
            let then = if all.is_empty() { USUAL } else { NO_FILES };
            (all, then)
        }
    };
    let mut text = String::new();
    for (name, about) in candidates.iter().filter(|(name, _)| name.starts_with(begun)) {
        text += &format!("{name}\t{about}\n");
    }
    format!("{text}:{then}\n")
}

/// A candidate, and what it does in one line.
type Candidate = (String, String);

fn line(about: Option<impl ToString>) -> String {
    about.map(|about| about.to_string().lines().next().unwrap_or_default().to_owned()).unwrap_or_default()
}

fn subcommands(command: &Command) -> Vec<Candidate> {
    let shown = command.get_subcommands().filter(|command| !command.is_hide_set());
    shown.map(|command| (command.get_name().to_owned(), line(command.get_about()))).collect()
}

fn options(command: &Command) -> Vec<Candidate> {
    let named = |argument: &Arg| Some((format!("--{}", argument.get_long()?), line(argument.get_help())));
    command.get_arguments().filter_map(named).collect()
}

fn values(argument: &Arg) -> Vec<Candidate> {
    let values = argument.get_possible_values();
    values.iter().map(|value| (value.get_name().to_owned(), line(value.get_help()))).collect()
}

/// The option that a word names.
fn option<'a>(command: &'a Command, word: &str) -> Option<&'a Arg> {
    command.get_arguments().find(|argument| {
        let long = word.strip_prefix("--").is_some_and(|name| argument.get_long() == Some(name));
        long || word
            .strip_prefix('-')
            .is_some_and(|name| argument.get_short().is_some_and(|s| name == s.to_string()))
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::arguments::Arguments;

    fn names(words: &[&str]) -> (Vec<String>, String) {
        let mut program = Arguments::command();
        program.build();
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        let answer = answer(&program, &words);
        let mut lines: Vec<&str> = answer.lines().collect();
        let then = lines.pop().unwrap().to_owned();
        (lines.iter().map(|line| line.split('\t').next().unwrap().to_owned()).collect(), then)
    }

    #[test]
    fn subcommands_options_and_their_values_are_candidates() {
        let (found, then) = names(&["ch"]);
        assert_eq!((found, then.as_str()), (vec!["check".to_owned()], ":4"));
        assert_eq!(names(&["check", "no"]).0, ["node"]);
        assert_eq!(names(&["check", "node", "--cni"]).0, ["--cni-dir"]);
        assert_eq!(names(&["check", "node", "-o", ""]).0, ["text", "json", "yaml"]);
        assert_eq!(names(&["check", "node", "--output", "j"]).0, ["json"]);
        assert_eq!(names(&["completions", "ba"]).0, ["bash"]);
        assert_eq!(names(&["check", "node", "--cni-dir", ""]), (vec![], ":0".to_owned()));
        assert!(!names(&["lab", ""]).0.contains(&"sniff".to_owned()), "what is hidden stays so");
    }
}

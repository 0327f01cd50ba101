//! How answers are printed.

use std::io::IsTerminal;

use anyhow::Result;
use clap::ValueEnum;
use comfy_table::{Table, presets};
use serde::Serialize;

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    Text,
    /// One JSON document
    Json,
    /// One YAML document
    Yaml,
}

impl Output {
    /// Prints an answer; `text` says it for people.
    ///
    /// # Errors
    /// When the answer cannot be written in this form.
    pub fn print<T: Serialize>(self, answer: &T, text: impl FnOnce() -> String) -> Result<()> {
        match self {
            Output::Text => println!("{}", text()),
            Output::Json => println!("{}", serde_json::to_string_pretty(answer)?),
            Output::Yaml => print!("{}", serde_saphyr::to_string(answer)?),
        }
        Ok(())
    }
}

/// How to print what has more to say than fits on a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// For people
    Text,
    /// For people, with more columns
    Wide,
    /// One JSON document
    Json,
    /// One YAML document
    Yaml,
}

impl Form {
    /// Prints an answer; `text` says it for people, at length if it is told so.
    ///
    /// # Errors
    /// When the answer cannot be written in this form.
    pub fn print<T: Serialize>(self, answer: &T, text: impl FnOnce(bool) -> String) -> Result<()> {
        let output = match self {
            Form::Text | Form::Wide => Output::Text,
            Form::Json => Output::Json,
            Form::Yaml => Output::Yaml,
        };
        output.print(answer, || text(self == Form::Wide))
    }
}

/// A table as it is printed: without lines, and without blanks at the ends.
pub fn plain(table: &Table) -> String {
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// A table with these columns.
pub fn columns<const N: usize>(names: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(names);
    table
}

/// What is printed goes to a terminal whose owner has nothing against colours (no-color.org).
pub fn has_colours() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

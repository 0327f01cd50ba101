//! How answers are printed.

use std::io::IsTerminal;

use anyhow::Result;
use clap::ValueEnum;
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

/// What is printed goes to a terminal whose owner has nothing against colours (no-color.org).
pub fn has_colours() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

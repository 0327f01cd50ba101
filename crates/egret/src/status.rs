//! `egret status`: on one screen, what leaves by which address and gateway, and what is wrong.

mod gather;
mod text;

use anyhow::Result;
use clap::Args;

use crate::arguments::Question;
use crate::objects;
use crate::output::has_colours;

/// Arguments of `egret status`.
#[derive(Debug, Args)]
pub struct StatusArguments {
    /// The namespace of Egret's own pods
    #[arg(long, default_value = "egret-system")]
    namespace: String,
    /// Which store, and how to print
    #[command(flatten)]
    question: Question,
}

/// Shows how things are.
///
/// # Errors
/// When the store cannot be read.
pub fn run(arguments: StatusArguments) -> Result<()> {
    let StatusArguments { namespace, question } = arguments;
    let (objects, problems) = objects::read(question.store.source()?)?;
    let status = gather::gather(&objects, &problems, &namespace)?;
    question.output.print(&status, |wide| text::screen(&status, wide, has_colours()))
}

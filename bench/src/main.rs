//! `egret-bench`: Egret beside plain routing and the rule sets of other systems, interleaved on one machine.

mod cleanup;
mod cluster;
mod cpus;
mod egret;
mod gateway;
mod load;
mod machine;
mod measure;
mod namespace;
mod plan;
mod process;
mod report;
mod rows;
mod rules;
mod run;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(
    about = "Egret beside plain routing and the rule sets of other systems, interleaved on one machine"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measures, and writes out/bench.json and out/bench.svg.
    Run(run::Options),
    /// Removes what a killed run left behind.
    Clean,
    /// One end of the traffic; started by `run` inside a namespace.
    #[command(subcommand, hide = true)]
    Load(load::Load),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Run(options) => run::run(&options),
        Command::Clean => {
            cleanup::leftovers();
            Ok(())
        }
        Command::Load(load) => load::run(&load),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("egret-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

//! The one binary: `egret agent | controller | lab | check | explain | status | ports | who | flows |
//! import | crds | completions`.

mod arguments;
mod bytes;
mod check;
mod complete;
mod environment;
mod explain;
mod flows;
mod import;
mod kubeconfig;
mod objects;
mod output;
mod ports;
mod reach;
mod status;
mod time;
mod who;

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use clap::CommandFactory;
use tracing_subscriber::EnvFilter;

use crate::arguments::{Arguments, Called, Command, LogFormat};

fn main() -> ExitCode {
    if Called::now() == Called::Completer {
        let mut program = Arguments::command();
        program.build();
        let words: Vec<_> = std::env::args_os().skip(1).collect();
        print!("{}", complete::answer(&program, &words));
        return ExitCode::SUCCESS;
    }
    let arguments = Arguments::of_process();
    match run(arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("egret: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    match arguments.command {
        Command::Agent(agent) => {
            log(agent.log_format)?;
            let (uninstall, stay) = (agent.uninstall, agent.stay);
            let options = egret_agent::Options::try_from(agent)?;
            egret_agent::raise_priority();
            on_runtime(async {
                match (uninstall, stay) {
                    (true, true) => egret_agent::uninstall_and_stay(options).await,
                    (true, false) => egret_agent::uninstall(options).await,
                    (false, _) => egret_agent::run(options).await,
                }
            })
        }
        Command::Controller(controller) => {
            log(controller.log_format)?;
            on_runtime(egret_controller::run(controller.try_into()?))
        }
        Command::Lab(lab) => egret_lab::run(lab),
        Command::Check(what) => check::run(what),
        Command::Explain(what) => explain::run(what).map(|()| ExitCode::SUCCESS),
        Command::Status(what) => status::run(what).map(|()| ExitCode::SUCCESS),
        Command::Flows(what) => flows::run(what),
        Command::Ports(what) => ports::run(what).map(|()| ExitCode::SUCCESS),
        Command::Who(what) => who::run(what),
        Command::Import(files) => import::run(files),
        Command::Crds => {
            for crd in egret_api::crds::crds() {
                print!("---\n{}", serde_saphyr::to_string(&crd)?);
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), Called::now().program(), &mut script);
            std::io::stdout().write_all(&script).context("standard output")?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Three threads: an agent's main loop may be busy with the kernel while gateways are probed and the store read.
fn on_runtime(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(3).enable_all().build()?;
    let result = runtime.block_on(work);
    // A task may be in the middle of a blocking read; the process ends all the same.
    runtime.shutdown_background();
    result.map(|()| ExitCode::SUCCESS)
}

fn log(format: LogFormat) -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_env("EGRET_LOG").or_else(|_| EnvFilter::try_new("info"));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter.context("EGRET_LOG")?)
        .with_writer(std::io::stderr)
        .with_target(false);
    match format {
        LogFormat::Text => subscriber.with_ansi(false).init(),
        LogFormat::Json => subscriber.json().init(),
    }
    Ok(())
}

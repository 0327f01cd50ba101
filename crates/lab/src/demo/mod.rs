//! `egret lab demo`: a cluster, a policy, a thousand connections, and the gateway they use loses its power.
//!
//! Three processes, so that nothing is left behind whatever happens: this one waits for signals, the second
//! does the work, and the third ([`reap`]) cleans up if this one is killed.

mod arp;
mod cluster;
mod examples;
mod reap;
mod report;
mod rows;
mod run;
mod screen;
mod sources;

use std::path::PathBuf;
use std::process::{ExitCode, Stdio};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

use crate::down;
use crate::state::{Paths, StoreKind};

pub use reap::reap;
pub use run::work;

/// The name of the demo's lab, unless one is given.
pub const NAME: &str = "demo";

/// How to run the demo.
#[derive(Args, Clone, Debug)]
pub struct DemoArgs {
    /// TCP connections that are held; half are pushed by the pod, half by the server.
    #[arg(long, default_value_t = 1000)]
    pub connections: u32,
    /// UDP flows that are held.
    #[arg(long, default_value_t = 200)]
    pub flows: u32,
    /// Where its objects are; kubernetes needs what `make kubernetes` builds.
    #[arg(long, default_value = "directory")]
    pub store: StoreKind,
    /// Where the figures go, as JSON [default: out/demo.json, with a dialect out/demo-DIALECT.json]
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Another system's own example, as it stands in its documentation; or all of them side by side.
    #[arg(long)]
    pub dialect: Option<Examples>,
    /// Leave the lab standing at the end, to look around; `egret lab --name demo down` removes it.
    #[arg(long)]
    pub keep: bool,
    /// Do the work itself.
    #[arg(long, hide = true)]
    pub worker: bool,
}

/// Whose example.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Examples {
    /// The high-availability example of Antrea's documentation.
    Antrea,
    /// The example of Deckhouse's documentation with a virtual address.
    Deckhouse,
    /// The example of LoxiLB's documentation.
    Loxilb,
    /// A Service as kube-vip's documentation has it.
    KubeVip,
    /// All of them, in one cluster.
    All,
}

impl Examples {
    /// As it is written on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Examples::Antrea => "antrea",
            Examples::Deckhouse => "deckhouse",
            Examples::Loxilb => "loxilb",
            Examples::KubeVip => "kube-vip",
            Examples::All => "all",
        }
    }
}

impl DemoArgs {
    /// Where the figures go.
    pub fn out(&self) -> PathBuf {
        let usual = || match self.dialect {
            None => PathBuf::from("out/demo.json"),
            Some(dialect) => PathBuf::from(format!("out/demo-{}.json", dialect.name())),
        };
        self.out.clone().unwrap_or_else(usual)
    }
}

/// Runs the demo and takes everything away at its end, also when it is interrupted.
///
/// # Errors
/// When a process cannot be started or the lab cannot be removed.
pub fn supervise(paths: &Paths, args: &DemoArgs) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut reaper = reap::Reaper::start(&paths.name)?;
    let (code, interrupted) = runtime.block_on(async {
        let mut worker = start_worker(paths, args)?;
        let pid = worker.id().map(|id| id as i32).context("the worker ended at once")?;
        reaper.watch(pid)?;
        wait(&mut worker, pid).await
    })?;
    if interrupted || !args.keep {
        down::down(paths)?;
    }
    reaper.dismiss();
    Ok(ExitCode::from(code))
}

fn start_worker(paths: &Paths, args: &DemoArgs) -> Result<Child> {
    // A group of its own: it and the tools it runs can be killed at once, and Ctrl-C does not reach them.
    Command::new(std::env::current_exe()?)
        .args(["lab", "--name", &paths.name, "demo", "--worker"])
        .args(["--connections", &args.connections.to_string(), "--flows", &args.flows.to_string()])
        .args(["--store", args.store.as_str(), "--out"])
        .arg(args.out())
        .args(args.dialect.iter().flat_map(|dialect| ["--dialect", dialect.name()]))
        .stdin(Stdio::null())
        .process_group(0)
        .spawn()
        .context("the demo's worker cannot be started")
}

async fn wait(worker: &mut Child, pid: i32) -> Result<(u8, bool)> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let number = tokio::select! {
        status = worker.wait() => {
            let code = status?.code().and_then(|code| u8::try_from(code).ok());
            return Ok((code.unwrap_or(1), false));
        }
        _ = interrupt.recv() => 2,
        _ = terminate.recv() => 15,
        _ = hangup.recv() => 1,
    };
    eprintln!("interrupted: removing the lab");
    // The group may just have ended by itself.
    let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
    worker.wait().await?;
    Ok((128 + number, true))
}

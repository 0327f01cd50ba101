//! The command line.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use egret_agent::FlowLog;
use egret_api::{ModeOf, Modes};
use egret_datapath::Attach;
use egret_flows::Limits;
use egret_plan::Steering;
use egret_plan::tables::UnknownPods;
use egret_status::Listen;
use egret_store::Source;
use ipnet::IpNet;

use crate::bytes::Bytes;
use crate::check::Check;
use crate::explain::Explain;
use crate::flows::FlowsArguments;
use crate::import::ImportArguments;
use crate::output::Form;
use crate::ports::PortsArguments;
use crate::status::StatusArguments;
use crate::who::WhoArguments;
use crate::{environment, kubeconfig, time};

/// What the program's exit codes mean; docs/install.md has the same.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  done; `check` found nothing to mend
  1  it failed, for the reason on standard error; `check` found something to mend, `import` something unreadable,
     `lab apply` something not in force; the port that `who` was asked about is nobody's, or was then
  2  the command line is wrong
  3  `flows` and `who` printed what is known, but a node did not answer: standard error names it
  `lab exec` and `lab kubectl` end as what they run does.";

/// Pods leave the cluster from addresses you choose, through gateways you choose.
#[derive(Debug, Parser)]
#[command(name = "egret", version, after_help = EXIT_CODES)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs on every node: programs its kernel and reports what it holds
    Agent(AgentArguments),
    /// Runs once in a cluster: allocates addresses and leases ports
    Controller(ControllerArguments),
    /// A cluster in network namespaces, to play with
    Lab(egret_lab::LabArgs),
    /// Looks for what stands in the way, before and after installing, and tells what to do about it
    #[command(subcommand, after_help = EXIT_CODES)]
    Check(Check),
    /// Tells why a pod leaves as it does
    #[command(subcommand)]
    Explain(Explain),
    /// Shows egress addresses, gateways, policies and agents, and what is wrong with them
    Status(StatusArguments),
    /// Tells which nodes have ports of which egress addresses, and how far they use them
    Ports(PortsArguments),
    /// Tells whose a port of an egress address is, or was
    #[command(after_help = EXIT_CODES)]
    Who(WhoArguments),
    /// Shows flows: which began and ended when, and what was refused and why
    #[command(after_help = EXIT_CODES)]
    Flows(FlowsArguments),
    /// Prints other systems' manifests in Egret's own kinds, and tells what could not be carried over
    Import(ImportArguments),
    /// Prints the CustomResourceDefinitions of Egret's resources
    Crds,
    /// Prints what a shell needs to complete this program's command lines
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// A name that this program can be started by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Called {
    /// `egret`, or whatever else it was renamed to.
    Itself,
    /// `kubectl-egret`, the name under which kubectl finds it: `kubectl egret`.
    Plugin,
    /// `kubectl_complete-egret`, which kubectl asks how a command line of the plugin may go on.
    Completer,
}

impl Called {
    /// How this process was called.
    pub fn now() -> Self {
        let name = std::env::args_os().next().map(PathBuf::from);
        match name.as_deref().and_then(Path::file_name).and_then(OsStr::to_str) {
            Some("kubectl-egret") => Called::Plugin,
            Some("kubectl_complete-egret") => Called::Completer,
            _ => Called::Itself,
        }
    }

    /// The file that a shell starts.
    pub fn program(self) -> &'static str {
        match self {
            Called::Itself => "egret",
            Called::Plugin | Called::Completer => "kubectl-egret",
        }
    }
}

impl Arguments {
    /// The command line, which speaks of itself as it was called.
    pub fn of_process() -> Self {
        let command = match Called::now() {
            Called::Plugin => Self::command().bin_name("kubectl egret"),
            Called::Itself | Called::Completer => Self::command(),
        };
        Self::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit())
    }
}

/// Which store, for those who only read it.
#[derive(Clone, Debug, Args)]
pub struct ReadArguments {
    /// A directory of manifests, or `kubernetes` for an API server
    #[arg(long, value_name = "DIR|kubernetes", default_value = "kubernetes")]
    store: Source,
    /// How to reach the API server; absent, as kubectl does
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

impl ReadArguments {
    /// The cluster that is meant, if it is one.
    pub fn cluster(&self) -> Option<Option<PathBuf>> {
        match &self.store {
            Source::Kubernetes { .. } => Some(kubeconfig::find(self.kubeconfig.clone())),
            Source::Directory(_) => None,
        }
    }

    /// The store that is meant.
    ///
    /// # Errors
    /// When a directory is given a kubeconfig.
    pub fn source(self) -> anyhow::Result<Source> {
        let Self { store, kubeconfig } = self;
        match (StoreArguments { store, kubeconfig }).source()? {
            Source::Kubernetes { kubeconfig } => {
                Ok(Source::Kubernetes { kubeconfig: kubeconfig::find(kubeconfig) })
            }
            directory => Ok(directory),
        }
    }
}

/// Which store is asked, and how the answer is printed.
#[derive(Debug, Args)]
pub struct Question {
    /// Where objects come from
    #[command(flatten)]
    pub store: ReadArguments,
    /// How to print
    #[arg(short, long, default_value = "text")]
    pub output: Form,
}

/// Which store.
#[derive(Debug, Args)]
pub struct StoreArguments {
    /// A directory of manifests, or `kubernetes` for an API server
    #[arg(long, value_name = "DIR|kubernetes")]
    store: Source,
    /// How to reach the API server; absent, as pods of its cluster do
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

impl StoreArguments {
    /// The store that is meant.
    ///
    /// # Errors
    /// When a directory is given a kubeconfig.
    pub fn source(self) -> anyhow::Result<Source> {
        match (self.store, self.kubeconfig) {
            (Source::Kubernetes { .. }, kubeconfig) => Ok(Source::Kubernetes { kubeconfig }),
            (directory, None) => Ok(directory),
            (Source::Directory(_), Some(_)) => {
                anyhow::bail!("--kubeconfig: a directory has none; write --store kubernetes, or leave it out")
            }
        }
    }
}

/// Arguments of `egret agent`.
#[derive(Debug, Args)]
pub struct AgentArguments {
    /// Where objects come from
    #[command(flatten)]
    pub store: StoreArguments,
    /// File that keeps a copy of what the API server said, to start from while it does not answer
    #[arg(long, value_name = "FILE")]
    pub copy: Option<PathBuf>,
    /// Name of this node in the manifests
    #[arg(long, value_name = "NAME")]
    pub node: String,
    /// Directory in a BPF file system for what outlives the process
    #[arg(long, value_name = "DIR", default_value = "/sys/fs/bpf/egret")]
    pub pin_dir: PathBuf,
    /// Network inside the cluster besides nodes and pods, such as services; can be repeated. Those in kube-vip's
    /// variables egress_podcidr and egress_servicecidr count as well
    #[arg(long, value_name = "CIDR")]
    pub inside: Vec<IpNet>,
    /// What happens to packets to the outside of pods that are not known yet
    #[arg(long, default_value = "hold")]
    pub unknown_pods: Unknown,
    /// How packets get to gateways, and back
    #[arg(long, default_value = "auto")]
    pub steering: Way,
    /// How programs are attached to interfaces
    #[arg(long, default_value = "auto")]
    pub attach: AttachBy,
    /// Where to answer /metrics, /healthz and /readyz
    #[arg(long, value_name = "ADDRESS:PORT|unix:PATH", default_value = "127.0.0.1:9917")]
    pub listen: Listen,
    /// Most flows that this node's pods may have at a time
    #[arg(long, value_name = "N", default_value_t = 1_048_576)]
    pub max_flows: u32,
    /// Directory in which is written down which flow began and ended when, and what was refused; nowhere if absent
    #[arg(long, value_name = "DIR")]
    pub flow_log: Option<PathBuf>,
    /// How much of that is kept, as 64Mi; 0: nothing is written down
    #[arg(long, value_name = "BYTES", default_value = "64Mi")]
    pub flow_log_size: Bytes,
    /// How long it is kept at most, as 12h or 7d
    #[arg(long, value_name = "DURATION", default_value = "7d", value_parser = time::duration)]
    pub flow_log_age: Duration,
    /// How far another system's objects count: antrea, deckhouse, loxilb or kube-vip = on, observe (they are explained,
    /// and change nothing) or off (they are not read); can be repeated. Counts until the controller says so, which all agents obey
    #[arg(long, value_name = "SYSTEM=MODE")]
    pub dialect: Vec<ModeOf>,
    /// Form of the log on standard error; EGRET_LOG sets the level
    #[arg(long, default_value = "text")]
    pub log_format: LogFormat,
    /// Takes everything of Egret out of this node's kernel and ends
    #[arg(long)]
    pub uninstall: bool,
    /// With --uninstall: tries until it succeeds, answers /readyz then, and ends when it is told to
    #[arg(long, requires = "uninstall")]
    pub stay: bool,
}

/// Arguments of `egret controller`.
#[derive(Debug, Args)]
pub struct ControllerArguments {
    /// Where objects come from
    #[command(flatten)]
    pub store: StoreArguments,
    /// Network inside the cluster besides nodes and pods, such as services; can be repeated. Those in kube-vip's
    /// variables egress_podcidr and egress_servicecidr count as well
    #[arg(long, value_name = "CIDR")]
    pub inside: Vec<IpNet>,
    /// Where to answer /metrics, /healthz and /readyz; nowhere if absent
    #[arg(long, value_name = "ADDRESS:PORT|unix:PATH")]
    pub status_address: Option<Listen>,
    /// How far another system's objects count: antrea, deckhouse, loxilb or kube-vip = on, observe (they are explained,
    /// and change nothing) or off (they are not read); can be repeated. The agents obey it
    #[arg(long, value_name = "SYSTEM=MODE")]
    pub dialect: Vec<ModeOf>,
    /// Takes the taint egret.dev/agent-not-ready off every Node whose agent is ready; needs an API server
    #[arg(long)]
    pub remove_startup_taint: bool,
    /// Form of the log on standard error; EGRET_LOG sets the level
    #[arg(long, default_value = "text")]
    pub log_format: LogFormat,
}

/// Form of the log.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

/// See [`UnknownPods`].
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Unknown {
    /// They are dropped and counted until the pod is known
    Hold,
    /// They go the ordinary way
    Pass,
}

/// See [`Steering`].
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Way {
    /// Without a tunnel where the gateway is on the same link and probes with an egress address as the source get
    /// through, by the overlay elsewhere
    Auto,
    /// By the overlay
    Overlay,
    /// Without a tunnel where the gateway is on the same link, whatever its fabric may filter
    Link,
}

/// See [`Attach`].
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum AttachBy {
    /// TCX where the kernel has it, clsact else
    Auto,
    /// TCX or nothing
    Tcx,
    /// A clsact qdisc with filters
    Clsact,
}

/// Networks inside the cluster: those of the arguments, and those that the environment names.
fn inside(given: Vec<IpNet>) -> anyhow::Result<BTreeSet<IpNet>> {
    let named = environment::inside(|name| std::env::var(name).ok())?;
    Ok(given.into_iter().chain(named).collect())
}

fn modes(given: &[ModeOf]) -> Modes {
    given.iter().map(|ModeOf(dialect, mode)| (*dialect, *mode)).collect()
}

impl TryFrom<AgentArguments> for egret_agent::Options {
    type Error = anyhow::Error;

    fn try_from(arguments: AgentArguments) -> anyhow::Result<Self> {
        Ok(Self {
            store: arguments.store.source()?,
            copy: arguments.copy,
            node: arguments.node,
            pin_dir: arguments.pin_dir,
            inside: inside(arguments.inside)?,
            unknown_pods: match arguments.unknown_pods {
                Unknown::Hold => UnknownPods::Hold,
                Unknown::Pass => UnknownPods::Pass,
            },
            steering: match arguments.steering {
                Way::Auto => Steering::Auto,
                Way::Overlay => Steering::Overlay,
                Way::Link => Steering::Link,
            },
            attach: match arguments.attach {
                AttachBy::Auto => Attach::Auto,
                AttachBy::Tcx => Attach::Tcx,
                AttachBy::Clsact => Attach::Clsact,
            },
            listen: arguments.listen,
            max_flows: arguments.max_flows,
            modes: modes(&arguments.dialect),
            flow_log: arguments.flow_log.filter(|_| arguments.flow_log_size.0 > 0).map(|directory| {
                let limits = Limits { size: arguments.flow_log_size.0, age: arguments.flow_log_age };
                FlowLog { directory, limits }
            }),
        })
    }
}

impl TryFrom<ControllerArguments> for egret_controller::Options {
    type Error = anyhow::Error;

    fn try_from(arguments: ControllerArguments) -> anyhow::Result<Self> {
        Ok(Self {
            store: arguments.store.source()?,
            inside: inside(arguments.inside)?,
            status_address: arguments.status_address,
            modes: modes(&arguments.dialect),
            remove_startup_taint: arguments.remove_startup_taint,
        })
    }
}

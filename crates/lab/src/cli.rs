//! `egret lab`: the commands.

use std::net::IpAddr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use clap::{Args, Subcommand, ValueEnum};
use ipnet::IpNet;

use crate::demo::{self, DemoArgs};
use crate::fault::Fault;
use crate::kubernetes::ControlPlane;
use crate::pod::PodRequest;
use crate::second::Second;
use crate::state::{Paths, State, StoreKind};
use crate::topology::{self, Cni, Proxy, Topology};
use crate::up::Parts;
use crate::{apply, down, fault, kubelet, pod, programs, rolling, show, sniff, up};

/// The name of a lab, unless one is given.
const NAME: &str = "lab";

/// A cluster in network namespaces on this machine, with the real programs, to play with and to test.
#[derive(Args, Clone, Debug)]
pub struct LabArgs {
    /// The lab's name; labs of different names stand side by side [default: lab; of the demo: demo]
    #[arg(long, global = true)]
    pub name: Option<String>,
    /// What to do.
    #[command(subcommand)]
    pub command: LabCommand,
}

/// What to do with a lab.
#[derive(Subcommand, Clone, Debug)]
pub enum LabCommand {
    /// Make the lab; returns when every agent is ready.
    Up {
        /// The topology; `egret lab topology` prints the default with its documentation.
        #[arg(short = 'f', long = "file")]
        file: Option<PathBuf>,
        /// Make networks and hosts only, without controller and agents.
        #[arg(long)]
        no_agents: bool,
        /// Do not watch for wrong packets.
        #[arg(long)]
        no_sniffer: bool,
        /// Where its objects are; kubernetes needs what `make kubernetes` builds.
        #[arg(long, default_value = "directory")]
        store: StoreKind,
        /// Run controllers and agents as pods, installed by the one file: by Kubernetes' own controllers and scheduler, and a
        /// kubelet of the lab on each node.
        #[arg(long, conflicts_with = "no_agents")]
        installed: bool,
        /// Wire pods by this CNI plugin with host-local, on every node [default: as the topology says]
        #[arg(long, value_name = "PLUGIN")]
        network: Option<Cni>,
        /// Run a kube-proxy of this mode on every node [default: as the topology says]
        #[arg(long, value_name = "MODE")]
        proxy: Option<Proxy>,
    },
    /// Print the default topology.
    Topology,
    /// Put manifests into the lab's store; returns when they are in force.
    Apply {
        /// Manifest files; - is the standard input.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Do not wait until they are in force.
        #[arg(long)]
        no_wait: bool,
    },
    /// Take manifests out of the store; returns when that is in force.
    Delete {
        /// Files as they were given to apply.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Do not wait until it is in force.
        #[arg(long)]
        no_wait: bool,
    },
    /// Make a pod, or remove one.
    Pod {
        /// The pod's name.
        pod: String,
        /// Its namespace, made if it is not there.
        #[arg(short = 'n', long, default_value = "default")]
        namespace: String,
        /// The node it runs on.
        #[arg(long, required_unless_present = "rm")]
        node: Option<String>,
        /// Its labels.
        #[arg(short = 'l', long = "label", value_name = "KEY=VALUE", value_parser = label)]
        labels: Vec<(String, String)>,
        /// Its address in another network than the cluster's, with prefix length: on a bridge of its node, or by a macvlan,
        /// as Multus would put it there.
        #[arg(long, value_name = "ADDRESS/LENGTH", conflicts_with = "rm")]
        second: Option<IpNet>,
        /// Whom it takes for its router to everywhere, in that network.
        #[arg(long, value_name = "ADDRESS", requires = "second")]
        router: Option<IpAddr>,
        /// The node's interface that its own in that network is a macvlan of.
        #[arg(long, value_name = "INTERFACE", requires = "second")]
        parent: Option<String>,
        /// Remove the pod.
        #[arg(long)]
        rm: bool,
        /// Do not wait until every node knows.
        #[arg(long)]
        no_wait: bool,
        /// The pod's first process, after --. It runs from the moment that the pod's link is up.
        #[arg(last = true, conflicts_with = "rm")]
        process: Vec<String>,
    },
    /// List the lab's hosts. A pod is a host by its name, or by NAMESPACE.NAME if that was taken.
    Hosts {
        /// How to print.
        #[arg(short = 'o', long, default_value = "table")]
        output: Output,
    },
    /// Run a command in a host's network namespace. A pod may be called NAMESPACE/NAME too.
    Exec {
        /// The host.
        host: String,
        /// The command, after --.
        #[arg(last = true, required = true)]
        argv: Vec<String>,
    },
    /// Run kubectl on the lab's API server.
    Kubectl {
        /// Arguments of kubectl.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Ask the lab's nodes for flows, as `egret flows`.
    Flows {
        /// Arguments of `egret flows`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Ask whose a port is or was, as `egret who`.
    Who {
        /// Arguments of `egret who`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Show how things are, as `egret status`.
    Status {
        /// Arguments of `egret status`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Restart the controller with other arguments; returns when all follow it.
    Controller {
        /// The arguments besides those that the lab gives it, after --, as --dialect antrea=observe.
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Restart the agents, one after the other, and then the controller, as a rolling update does; returns when all are ready.
    Roll,
    /// Break a node or the API server's host, `control`, or mend it.
    Fault {
        /// The node, or `control`.
        node: String,
        /// What to break.
        #[command(subcommand)]
        what: FaultArgs,
    },
    /// Show the packets that left with a wrong source since `up`.
    Leaks {
        /// How to print.
        #[arg(short = 'o', long, default_value = "table")]
        output: Output,
    },
    /// Remove the lab and everything in it.
    Down,
    /// Show the main job: a thousand connections outlive the gateway they use.
    Demo(DemoArgs),
    /// The sniffer itself.
    #[command(hide = true)]
    Sniff,
    /// A node's kubelet.
    #[command(hide = true)]
    Kubelet {
        /// The node.
        node: String,
    },
    /// The inside of a container that a kubelet starts.
    #[command(hide = true)]
    Container {
        /// What it is.
        file: PathBuf,
    },
    /// The demo's reaper.
    #[command(hide = true)]
    Reap,
}

/// A fault.
#[derive(Subcommand, Clone, Debug)]
pub enum FaultArgs {
    /// Kill its processes and cut all its links: no FIN, no goodbye.
    PowerOff,
    /// Cut one link at the switch.
    Cut {
        /// The node's link, eth0 or eth1.
        link: String,
    },
    /// Stop its agent, as a process that hangs.
    Hang,
    /// Mend everything; a node without power boots.
    Heal,
}

/// How to print.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

fn label(text: &str) -> Result<(String, String)> {
    let pair = text.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
    pair.with_context(|| format!("{text:?} is no label; write KEY=VALUE"))
}

/// Does what a `egret lab` command line asks for.
///
/// # Errors
/// What went wrong, in words for the person at the terminal.
pub fn run(args: LabArgs) -> Result<ExitCode> {
    let default = if matches!(args.command, LabCommand::Demo(_)) { demo::NAME } else { NAME };
    let paths = Paths::of(args.name.as_deref().unwrap_or(default))?;
    match args.command {
        LabCommand::Up { file, no_agents, no_sniffer, store, installed, network, proxy } => {
            let text = match &file {
                Some(file) => std::fs::read_to_string(file).with_context(|| file.display().to_string())?,
                None => topology::DEFAULT.to_owned(),
            };
            let place =
                || file.as_ref().map_or("the default topology".to_owned(), |f| f.display().to_string());
            let mut topology = Topology::parse(&text).with_context(place)?;
            for node in &mut topology.nodes {
                node.plugins |= network.is_some();
                node.cni = network.unwrap_or(node.cni);
                node.proxy = proxy.unwrap_or(node.proxy);
            }
            let parts = Parts { programs: !no_agents, sniffer: !no_sniffer, store, installed };
            let state = up::up(&paths, topology, parts, &|step| eprintln!("lab {}: {step}", paths.name))
                .with_context(|| {
                    format!("lab {} did not come up; `egret lab --name {0} down` removes it", paths.name)
                })?;
            let place = match store {
                StoreKind::Directory => format!("manifests in {}", paths.store().display()),
                StoreKind::Kubernetes => {
                    format!("`egret lab --name {} kubectl` asks its API server", state.name)
                }
            };
            println!("lab {} is up: {} nodes; {place}", state.name, state.topology.nodes.len());
        }
        LabCommand::Topology => print!("{}", topology::DEFAULT),
        LabCommand::Apply { files, no_wait } => {
            let state = State::read(&paths)?;
            let problems = apply::apply(&paths, &state, &files)?;
            problems.iter().for_each(|p| eprintln!("{p}"));
            if !no_wait {
                apply::wait(&paths, &state)?;
            }
            return Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        LabCommand::Delete { files, no_wait } => {
            let state = State::read(&paths)?;
            apply::delete(&paths, &state, &files)?;
            if !no_wait {
                apply::wait(&paths, &state)?;
            }
        }
        LabCommand::Pod {
            pod: name,
            namespace,
            node,
            labels,
            second,
            router,
            parent,
            rm,
            no_wait,
            process,
        } => {
            let lock = paths.lock()?;
            let mut state = State::read(&paths)?;
            match node {
                Some(node) if !rm => {
                    let labels = labels.into_iter().collect();
                    let second = second.map(|address| Second { address, router, parent });
                    let request =
                        PodRequest { namespace, name, node, labels, second, process, by_kubelet: false };
                    pod::create(&paths, &mut state, &request)?;
                }
                _ => pod::remove(&paths, &mut state, &namespace, &name)?,
            }
            drop(lock);
            if !no_wait {
                apply::wait(&paths, &state)?;
            }
        }
        LabCommand::Hosts { output } => {
            let hosts = show::hosts(&State::read(&paths)?)?;
            match output {
                Output::Json => println!("{}", serde_json::to_string_pretty(&hosts)?),
                Output::Table => println!("{}", show::hosts_table(&hosts)),
            }
        }
        LabCommand::Exec { host, argv } => return exec(&State::read(&paths)?, &host, &argv),
        LabCommand::Kubectl { arguments } => return kubectl(&paths, &arguments),
        LabCommand::Flows { arguments } => return ask(&paths, &["flows", "--lab", &paths.name], &arguments),
        LabCommand::Who { arguments } => return ask(&paths, &["who", "--lab", &paths.name], &arguments),
        LabCommand::Status { arguments } => return ask(&paths, &["status"], &arguments),
        LabCommand::Controller { arguments } => {
            let lock = paths.lock()?;
            let mut state = State::read(&paths)?;
            programs::restart_controller(&paths, &mut state, arguments)?;
            drop(lock);
            apply::wait(&paths, &state)?;
        }
        LabCommand::Roll => {
            let lock = paths.lock()?;
            let mut state = State::read(&paths)?;
            // The kubelets of an installed lab wire pods meanwhile.
            let lock = (!state.installed).then_some(lock);
            rolling::roll(&paths, &mut state)?;
            drop(lock);
            apply::wait(&paths, &state)?;
        }
        LabCommand::Fault { node, what } => {
            let _lock = paths.lock()?;
            let fault = match what {
                FaultArgs::PowerOff => Fault::PowerOff,
                FaultArgs::Cut { link } => Fault::Cut(link),
                FaultArgs::Hang => Fault::Hang,
                FaultArgs::Heal => Fault::Heal,
            };
            fault::apply(&paths, &mut State::read(&paths)?, &node, &fault)?;
        }
        LabCommand::Leaks { output } => {
            State::read(&paths)?;
            // A sniffer that has died would find nothing for ever.
            let report = sniff::report(&paths, Duration::from_secs(5))?;
            let leaks = sniff::leaks(&paths)?;
            match output {
                Output::Json => println!("{}", serde_json::to_string_pretty(&leaks)?),
                Output::Table => println!("{}", show::leaks_table(&leaks, report)),
            }
            if report.missed > 0 {
                eprintln!(
                    "{} packets went by unseen: the machine was too busy for the sniffer",
                    report.missed
                );
            }
        }
        LabCommand::Down => {
            if !down::down(&paths)? {
                eprintln!("lab {}: there is none", paths.name);
            }
        }
        LabCommand::Demo(args) if args.worker => return demo::work(&paths, &args),
        LabCommand::Demo(args) => return demo::supervise(&paths, &args),
        LabCommand::Sniff => sniff::run(&paths)?,
        LabCommand::Kubelet { node } => kubelet::run(&paths, &node)?,
        LabCommand::Container { file } => kubelet::enter(&file)?,
        LabCommand::Reap => demo::reap(&paths)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Becomes the same program, which asks the lab's store and nodes.
fn ask(paths: &Paths, what: &[&str], arguments: &[String]) -> Result<ExitCode> {
    let state = State::read(paths)?;
    let program = std::env::current_exe().context("the path of this program")?.display().to_string();
    let mut command = Vec::new();
    let store = match state.store {
        StoreKind::Directory => vec![paths.store().display().to_string()],
        StoreKind::Kubernetes => {
            let control = ControlPlane::of(paths, &state)?;
            command.extend(["nsenter".to_owned(), control.place(), "--".to_owned()]);
            let kubeconfig = control.admin().display().to_string();
            vec!["kubernetes".to_owned(), "--kubeconfig".to_owned(), kubeconfig]
        }
    };
    command.push(program);
    command.extend(what.iter().map(|word| (*word).to_owned()));
    command.push("--store".to_owned());
    command.extend(store);
    command.extend(arguments.iter().cloned());
    let (program, rest) = command.split_first().context("an empty command")?;
    let error = Command::new(program).args(rest).exec();
    Err(anyhow!(error).context(format!("{program}: cannot be started")))
}

fn kubectl(paths: &Paths, arguments: &[String]) -> Result<ExitCode> {
    let state = State::read(paths)?;
    ensure!(
        state.store == StoreKind::Kubernetes,
        "lab {0}: it has no API server; `egret lab --name {0} up --store kubernetes` makes one that has",
        paths.name
    );
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let command = ControlPlane::of(paths, &state)?.command(&arguments);
    let (program, rest) = command.split_first().context("an empty command")?;
    let error = Command::new(program).args(rest).exec();
    Err(anyhow!(error).context("nsenter: cannot be started; install util-linux"))
}

fn exec(state: &State, host: &str, argv: &[String]) -> Result<ExitCode> {
    let enter = format!("--net=/run/netns/{}", state.host(host)?.netns);
    let error = Command::new("nsenter").arg(enter).arg("--").args(argv).exec();
    Err(anyhow!(error).context("nsenter: cannot be started; install util-linux"))
}

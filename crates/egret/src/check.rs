//! `egret check node|cluster|installation`: what stands in the way, and what to do about it.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};
use egret_check::{Finding, Report, Verdict, cluster, installation, node};
use egret_lab::kubernetes;
use serde_json::Value;

use crate::kubeconfig;
use crate::output::{Output, has_colours};

/// What to check.
#[derive(Debug, Subcommand)]
pub enum Check {
    /// This node, as root: whether its kernel and network can carry Egret, which need not be here yet. Everything is tried in a
    /// network namespace of its own, and nothing of the node is changed
    Node(NodeArguments),
    /// A cluster before Egret is installed: version, permissions, nodes, other egress systems
    Cluster(ClusterArguments),
    /// An installation: definitions, permissions, admission policies, controller, agents, gateways, policies
    Installation(InstallationArguments),
}

/// Arguments of `egret check node`.
#[derive(Debug, Args)]
pub struct NodeArguments {
    /// The node's InternalIP; absent, the address that its default route has
    #[arg(long)]
    address: Option<IpAddr>,
    /// Directory in a BPF file system that the agent has, or will have
    #[arg(long, value_name = "DIR", default_value = "/sys/fs/bpf/egret")]
    pin_dir: PathBuf,
    /// Directory of CNI configurations
    #[arg(long, value_name = "DIR", default_value = "/etc/cni/net.d")]
    cni_dir: PathBuf,
    /// How to print
    #[arg(short, long, default_value = "text")]
    output: Output,
}

/// Arguments of `egret check cluster`.
#[derive(Debug, Args)]
pub struct ClusterArguments {
    /// How to reach the API server; absent, as kubectl does
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// How to print
    #[arg(short, long, default_value = "text")]
    output: Output,
}

/// Arguments of `egret check installation`.
#[derive(Debug, Args)]
pub struct InstallationArguments {
    /// How to reach the API server; absent, as kubectl does
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The namespace of Egret's own pods
    #[arg(short, long, default_value = "egret-system")]
    namespace: String,
    /// How to print
    #[arg(short, long, default_value = "text")]
    output: Output,
}

/// Checks what was asked for. Fails if something has to be mended.
pub fn run(check: Check) -> Result<ExitCode> {
    let (findings, output): (Vec<Finding>, Output) = match check {
        Check::Node(NodeArguments { address, pin_dir, cni_dir, output }) => {
            let question = node::Question {
                pin_dir,
                cni_dir,
                address,
                overlay: egret_agent::OVERLAY.to_owned(),
                port: egret_agent::VXLAN_PORT,
                capabilities: kubernetes::agent_capabilities()?,
            };
            (node::judge(&node::look(question)), output)
        }
        Check::Cluster(ClusterArguments { kubeconfig, output }) => {
            let objects = kubernetes::installation()?;
            let facts = on_runtime(async {
                let client = egret_store::connect(kubeconfig::find(kubeconfig)).await?;
                Ok(cluster::look(&client, &objects, definitions()?).await)
            });
            (cluster::judge(&facts?), output)
        }
        Check::Installation(InstallationArguments { kubeconfig, namespace, output }) => {
            let objects = kubernetes::installation()?;
            let version = env!("CARGO_PKG_VERSION");
            let asked = installation::Installation { namespace: &namespace, objects: &objects, version };
            let facts = on_runtime(async {
                let client = egret_store::connect(kubeconfig::find(kubeconfig)).await?;
                Ok(installation::look(&client, asked, definitions()?).await)
            });
            (installation::judge(&facts?), output)
        }
    };
    let report = Report::from(findings);
    output.print(&report, || report.text(has_colours()))?;
    Ok(if report.verdict == Verdict::Failure { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn definitions() -> Result<Vec<Value>> {
    egret_api::crds().iter().map(|crd| Ok(serde_json::to_value(crd)?)).collect()
}

fn on_runtime<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(work);
    runtime.shutdown_background();
    done
}

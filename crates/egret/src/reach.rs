//! Asking nodes' agents: by what `kubectl exec` uses, under the rights of who asks, so that no agent has a port for it; or the
//! nodes of a lab, whose files are on this machine.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use egret_lab::agents::{AgentPlace, agents};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, AttachParams, ListParams};
use kube::{Client, ResourceExt};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::sync::{Semaphore, mpsc};

use crate::arguments::ReadArguments;

/// Which nodes can be asked, and how.
#[derive(Debug, Args)]
pub struct Where {
    /// The namespace of Egret's own pods
    #[arg(long, default_value = "egret-system")]
    namespace: String,
    /// A lab on this machine, whose nodes are asked without an API server
    #[arg(long, value_name = "NAME", hide = true)]
    lab: Option<String>,
}

/// So many are asked at once.
const AT_ONCE: usize = 16;
/// An answer that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes of an error that are shown.
const WORDS: u64 = 2000;

/// How one agent is asked.
#[derive(Clone, Debug)]
enum Way {
    /// By a process on this machine.
    Here { flow_log: PathBuf, pin_dir: PathBuf },
    /// In its pod.
    Pod { name: String, container: String, options: Vec<String> },
    /// It cannot be.
    Not(String),
}

/// The agents that are to be asked.
pub struct Agents {
    client: Option<(Client, String)>,
    ways: BTreeMap<String, Way>,
}

/// Something that was said.
pub enum Said {
    /// By a node.
    Line {
        /// The node.
        node: String,
        /// What.
        line: String,
    },
    /// A node says no more.
    Ended {
        /// The node.
        node: String,
        /// Why that is not all; `None` if it is.
        why: Option<String>,
    },
}

impl Agents {
    /// Those of these nodes; of all if none is named.
    ///
    /// # Errors
    /// When they cannot be found, or a node that is named is none.
    pub async fn find(place: &Where, store: &ReadArguments, nodes: &[String]) -> Result<Self> {
        let mut agents = match (&place.lab, store.cluster()) {
            (Some(lab), _) => Self::of_lab(agents(lab)?),
            (None, Some(kubeconfig)) => {
                let client = egret_store::connect(kubeconfig).await?;
                Self::of_cluster(client, &place.namespace).await?
            }
            (None, None) => bail!(
                "--store: agents that share a directory cannot be asked from elsewhere; run `egret flows --local` on the node, \
                 or `egret lab flows` for a lab"
            ),
        };
        for node in nodes {
            ensure!(agents.ways.contains_key(node), "--node {node}: no such node has an agent");
        }
        if !nodes.is_empty() {
            agents.ways.retain(|node, _| nodes.contains(node));
        }
        Ok(agents)
    }

    fn of_lab(places: Vec<AgentPlace>) -> Self {
        let way = |place: AgentPlace| {
            let way = match place.silent {
                Some(why) => Way::Not(why.to_owned()),
                None => Way::Here { flow_log: place.flow_log, pin_dir: place.pin_dir },
            };
            (place.node, way)
        };
        Self { client: None, ways: places.into_iter().map(way).collect() }
    }

    async fn of_cluster(client: Client, namespace: &str) -> Result<Self> {
        let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
        let labels =
            ListParams::default().labels("app.kubernetes.io/name=egret,app.kubernetes.io/component=agent");
        let found = pods.list(&labels).await.context("the agents' pods cannot be listed")?;
        let records: Api<egret_api::EgressNode> = Api::all(client.clone());
        let records = records.list_metadata(&ListParams::default()).await;
        let known: BTreeSet<String> =
            records.map(|records| records.iter().map(ResourceExt::name_any).collect()).unwrap_or_default();
        let missing = format!("no agent's pod runs there (kubectl get pods -n {namespace} -o wide)");
        let mut ways: BTreeMap<String, Way> =
            known.into_iter().map(|node| (node, Way::Not(missing.clone()))).collect();
        for pod in found {
            let Some(node) = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()) else { continue };
            let running = pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running");
            match way(&pod).filter(|_| running) {
                Some(way) => drop(ways.insert(node, way)),
                None => drop(ways.entry(node).or_insert(Way::Not(missing.clone()))),
            }
        }
        ensure!(
            !ways.is_empty(),
            "there is no agent in {namespace}: install Egret, or name its namespace by --namespace"
        );
        Ok(Self { client: Some((client, namespace.to_owned())), ways })
    }

    /// Asks them all, several at once, until `hear` has had enough; `bounded`: an answer has an end.
    pub async fn ask(self, words: &[String], bounded: bool, mut hear: impl FnMut(Said) -> bool) {
        let (say, mut said) = mpsc::channel(256);
        // Who follows, follows all.
        let turns = Arc::new(Semaphore::new(if bounded { AT_ONCE } else { Semaphore::MAX_PERMITS }));
        for (node, way) in self.ways {
            let (say, turns, client, words) =
                (say.clone(), turns.clone(), self.client.clone(), words.to_vec());
            tokio::spawn(async move {
                let _turn = turns.acquire().await;
                let asked = one(&node, way, client, words, &say);
                let done = match bounded {
                    true => tokio::time::timeout(PATIENCE, asked)
                        .await
                        .unwrap_or_else(|_| bail!("it did not answer within {} s", PATIENCE.as_secs())),
                    false => asked.await,
                };
                let why = done.err().map(|error| format!("{error:#}"));
                let _ = say.send(Said::Ended { node, why }).await;
            });
        }
        drop(say);
        while let Some(said) = said.recv().await {
            if !hear(said) {
                break;
            }
        }
    }
}

/// How an agent's pod is asked: its own options tell where it keeps what is asked for.
fn way(pod: &Pod) -> Option<Way> {
    let container = pod.spec.as_ref()?.containers.iter().find(|container| container.name == "agent")?;
    let told = |name: &str| {
        let prefix = format!("--{name}=");
        container.args.iter().flatten().find(|argument| argument.starts_with(&prefix)).cloned()
    };
    let options = ["flow-log", "pin-dir"].into_iter().filter_map(told).collect();
    Some(Way::Pod { name: pod.name_any(), container: container.name.clone(), options })
}

async fn one(
    node: &str,
    way: Way,
    client: Option<(Client, String)>,
    words: Vec<String>,
    say: &mpsc::Sender<Said>,
) -> Result<()> {
    match way {
        Way::Not(why) => bail!(why),
        Way::Here { flow_log, pin_dir } => {
            let mut child = tokio::process::Command::new(std::env::current_exe()?)
                .args(words)
                .arg(format!("--flow-log={}", flow_log.display()))
                .arg(format!("--pin-dir={}", pin_dir.display()))
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .kill_on_drop(true)
                .spawn()?;
            let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
            let why = pass_on(node, stdout, stderr, say).await?;
            let status = child.wait().await?;
            ensure!(status.success(), "{}", why.trim().trim_start_matches("egret: "));
            Ok(())
        }
        Way::Pod { name, container, options } => {
            let (client, namespace) = client.context("a pod is asked by an API server")?;
            let pods: Api<Pod> = Api::namespaced(client, &namespace);
            let command = [vec!["/usr/bin/egret".to_owned()], words, options].concat();
            let how = AttachParams::default().container(container).stdin(false).stdout(true).stderr(true);
            let mut process = pods.exec(&name, command, &how).await.with_context(|| {
                format!("pod {namespace}/{name} cannot be asked; who asks must be allowed to create pods/exec there")
            })?;
            let status = process.take_status();
            let why = pass_on(node, process.stdout(), process.stderr(), say).await?;
            let status = match status {
                Some(status) => status.await,
                None => None,
            };
            match status.and_then(|status| status.status).as_deref() {
                Some("Success") => Ok(()),
                Some(_) => bail!("{}", why.trim().trim_start_matches("egret: ")),
                None => bail!("the connection to pod {namespace}/{name} broke off"),
            }
        }
    }
}

/// Passes lines on, and returns what was said on standard error.
async fn pass_on(
    node: &str,
    stdout: Option<impl AsyncRead + Unpin>,
    stderr: Option<impl AsyncRead + Unpin>,
    say: &mpsc::Sender<Said>,
) -> Result<String> {
    let lines = async {
        let mut lines = BufReader::new(stdout.context("without standard output")?).lines();
        while let Some(line) = lines.next_line().await? {
            if !line.is_empty() && say.send(Said::Line { node: node.to_owned(), line }).await.is_err() {
                break;
            }
        }
        anyhow::Ok(())
    };
    let words = async {
        let mut words = Vec::new();
        if let Some(stderr) = stderr {
            let mut stderr = stderr.take(WORDS);
            stderr.read_to_end(&mut words).await?;
            tokio::io::copy(&mut stderr.into_inner(), &mut tokio::io::sink()).await?;
        }
        anyhow::Ok(String::from_utf8_lossy(&words).into_owned())
    };
    let (lines, words) = tokio::join!(lines, words);
    lines?;
    words
}

/// Runs to its end.
///
/// # Errors
/// Those of what is run.
pub fn on_runtime<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(work);
    runtime.shutdown_background();
    done
}

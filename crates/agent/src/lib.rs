//! One node's agent: from the store to a plan, from the plan to the difference, from the difference to the kernel.
//!
//! Store, interfaces and gateways are followed by tasks of their own ([`objects`], [`surroundings`], [`probe`]),
//! which tell the main loop what changed. The loop turns every event into a step of the [`node`]: plan anew, apply
//! what differs. The node's record is written by a task as well, so that nothing but the kernel is waited for.
//! The kernel carries on without the agent; ending it changes nothing there.

mod announcements;
mod attachments;
mod flow_log;
mod isolation;
mod kernel;
mod links;
mod liveness;
mod main_loop;
mod metrics;
mod names;
mod node;
mod objects;
mod pods;
mod ports;
mod probe;
mod report;
mod retry;
mod start;
mod surroundings;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use egret_api::{EgressNode, EgressNodeSpec, Kind, Modes, Object, ObjectKey};
use egret_datapath::{Attach, Links, Prober};
use egret_plan::tables::UnknownPods;
use egret_plan::{ClusterSettings, Steering, World};
use egret_status::Listen;
use egret_store::{Access, Directory, Kubernetes, Recorder, Scope, Source, Store, StoreError};
use ipnet::IpNet;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc, watch};

use crate::links::LinkProbes;
use crate::liveness::Verdict;
use crate::main_loop::Channels;
use crate::metrics::Metrics;
use crate::node::{Node, Setup};
use crate::start::again;
use crate::surroundings::{Place, PodAddresses};

pub use crate::flow_log::FlowLog;
pub use crate::start::{OVERLAY, VXLAN_PORT};

/// Name under which an agent owns fields on an API server.
const MANAGER: &str = "egret-agent";

/// How an agent is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where objects come from.
    pub store: Source,
    /// A file that keeps a copy of what an API server said, to start from while it does not answer.
    pub copy: Option<PathBuf>,
    /// This node's name in the store.
    pub node: String,
    /// Directory of a BPF file system for what must outlive the process.
    pub pin_dir: PathBuf,
    /// Networks inside the cluster besides nodes and pods.
    pub inside: BTreeSet<IpNet>,
    /// What happens to packets of pods that are not known yet.
    pub unknown_pods: UnknownPods,
    /// How packets get to gateways.
    pub steering: Steering,
    /// How programs are attached.
    pub attach: Attach,
    /// Where to answer about health and metrics.
    pub listen: Listen,
    /// Most flows that this node's pods may have at a time.
    pub max_flows: u32,
    /// How far other systems' objects count until the controller says so.
    pub modes: Modes,
    /// Where what becomes of flows is written down, and how much of it is kept; `None`: nowhere.
    pub flow_log: Option<FlowLog>,
}

/// Works until the process is told to end, and leaves the kernel as it is then.
///
/// # Errors
/// When it cannot be listened on the given address; everything else is waited for.
pub async fn run(options: Options) -> anyhow::Result<()> {
    until_told(options, follow).await
}

/// Works, and answers how that goes, until the process is told to end.
async fn until_told<F: Future<Output = anyhow::Result<()>>>(
    options: Options,
    work: impl FnOnce(Options, Arc<Metrics>) -> F,
) -> anyhow::Result<()> {
    let metrics = Arc::new(Metrics::default());
    let server = tokio::spawn({
        let (metrics, listen) = (metrics.clone(), options.listen.clone());
        async move {
            let never = egret_status::serve(&listen, metrics).await;
            never
                .map(|never| match never {})
                .with_context(|| format!("--listen {listen}: cannot be listened on"))
        }
    });
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        result = work(options, metrics) => result,
        failed = server => failed?,
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}

/// Raises the priority of this thread and of those it starts: probes and failover must not queue behind the pods
/// of a busy node, and the agent itself needs little.
pub fn raise_priority() {
    const NICE: i32 = -15;
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::warn!(%error, "the priority is not raised: failover is slower on a busy node; grant CAP_SYS_NICE");
    }
}

/// Takes everything of Egret out of this node, whichever version put it there, and the node's record out of the store.
///
/// # Errors
/// When something cannot be removed.
pub async fn uninstall(options: Options) -> anyhow::Result<()> {
    clean(&options).await?;
    forget(options, None).await.context("the node is clean; its record is still in the store")
}

/// Uninstalls, however often it has to be tried, and answers `/readyz` once that is done, until the process is told to
/// end: as a DaemonSet wants it.
///
/// # Errors
/// When it cannot be listened on the given address, or the store not be opened.
pub async fn uninstall_and_stay(options: Options) -> anyhow::Result<()> {
    let work = |options: Options, metrics: Arc<Metrics>| async move {
        again(&metrics, async || clean(&options).await.map_err(|error| format!("{error:#}"))).await;
        forget(options, Some(&metrics)).await?;
        metrics.removed();
        std::future::pending().await
    };
    until_told(options, work).await
}

/// Takes everything out of the kernel, and the copy of the objects and the log of flows off the disk.
async fn clean(options: &Options) -> anyhow::Result<()> {
    egret_datapath::remove(&options.pin_dir, start::OVERLAY).await?;
    if let Some(FlowLog { directory, .. }) = &options.flow_log {
        egret_flows::remove(directory)
            .with_context(|| format!("--flow-log {}: cannot be removed", directory.display()))?;
    }
    let Some(copy) = &options.copy else { return Ok(()) };
    match std::fs::remove_file(copy) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("--copy {}: cannot be removed", copy.display()))
        }
        _ => Ok(()),
    }
}

/// Removes the node's record: others must not go on to believe that this node serves anything.
async fn forget(options: Options, insist: Option<&Metrics>) -> anyhow::Result<()> {
    async fn delete(recorder: impl Recorder, node: &str, insist: Option<&Metrics>) -> anyhow::Result<()> {
        let key = ObjectKey { kind: Kind::EgressNode, namespace: String::new(), name: node.to_owned() };
        // Else others would take its end for a mistake. What cannot be written can be removed all the same.
        let last = Object::EgressNode(Box::new(EgressNode::new(node, EgressNodeSpec::default())));
        drop(recorder.write_record(&last).await);
        match insist {
            Some(metrics) => again(metrics, async || recorder.delete_record(&key).await).await,
            None => recorder.delete_record(&key).await?,
        }
        Ok(())
    }
    let options = Options { copy: None, ..options };
    match &options.store {
        Source::Directory(path) => delete(directory(path, &options)?.recorder(), &options.node, insist).await,
        Source::Kubernetes { kubeconfig } => {
            delete(cluster(kubeconfig, &options).await?.recorder(), &options.node, insist).await
        }
    }
}

fn directory(path: &Path, options: &Options) -> Result<Directory, StoreError> {
    Directory::open(path, &format!("agent-{}", options.node))
}

async fn cluster(kubeconfig: &Option<PathBuf>, options: &Options) -> Result<Kubernetes, StoreError> {
    let scope = Scope::Node(options.node.clone());
    let (kubeconfig, copy) = (kubeconfig.clone(), options.copy.clone());
    let (modes, obeys) = (options.modes.clone(), true);
    Kubernetes::open(Access { kubeconfig, scope, manager: MANAGER, copy, modes, obeys }).await
}

/// Opens the store as soon as it can be opened, and works by it.
async fn follow(options: Options, metrics: Arc<Metrics>) -> anyhow::Result<()> {
    match options.store.clone() {
        Source::Directory(path) => {
            let store = again(&metrics, async || directory(&path, &options)).await;
            work(store, options, metrics).await
        }
        Source::Kubernetes { kubeconfig } => {
            let store = again(&metrics, async || cluster(&kubeconfig, &options).await).await;
            work(store, options, metrics).await
        }
    }
}

async fn work<S: Store + 'static>(
    mut store: S,
    options: Options,
    metrics: Arc<Metrics>,
) -> anyhow::Result<()> {
    let (batches, batches_receiver) = mpsc::unbounded_channel();
    let mut world = World::of_node(&options.node, options.modes.clone());
    let underlay_address = start::address(&mut store, &mut world, &batches, &options.node, &metrics).await;
    let mut links = again(&metrics, Links::open).await;
    let mut datapath = start::datapath(&options, &mut links, underlay_address, &metrics).await;
    metrics.opened(datapath.counters());
    let prober = again(&metrics, async || Prober::open(datapath.overlay_link())).await;
    let actual = again(&metrics, async || datapath.read()).await;

    let (pods, pods_receiver) = watch::channel(PodAddresses::default());
    let (probes, probes_receiver) = watch::channel(BTreeMap::new());
    let (records, records_receiver) = watch::channel(None);
    let lost = Arc::new(Notify::new());
    let (links_sender, links_receiver) = watch::channel(None);
    let (verdict_sender, verdict) = watch::channel(Verdict::default());
    let (link_probes, link_probes_receiver) = watch::channel(LinkProbes::new());
    let (working_sender, working) = watch::channel(BTreeSet::new());
    tokio::spawn(report::write(options.node.clone(), store.recorder(), records_receiver, lost.clone()));
    objects::follow(store, batches);
    let place = Place { underlay_address, overlay: start::OVERLAY.to_owned() };
    tokio::spawn(surroundings::follow(links, place, pods_receiver, links_sender));
    let asked = probe::Asked { gateways: probes_receiver, links: link_probes_receiver };
    tokio::spawn(probe::probe(prober, asked, verdict_sender, working_sender));

    let setup = Setup {
        node: options.node,
        unknown_pods: options.unknown_pods,
        steering: options.steering,
        cluster: ClusterSettings { inside: options.inside },
        modes: options.modes,
    };
    let events = datapath.flow_events();
    let mut node = Node::adopt(setup, datapath, actual);
    node.knows(world);
    if let (Some(log), Some(events)) = (options.flow_log, events) {
        flow_log::write(log, events, node.names(), metrics.clone());
    }
    let channels = Channels {
        batches: batches_receiver,
        links: links_receiver,
        verdict,
        working,
        pods,
        probes,
        link_probes,
        records,
        lost,
    };
    main_loop::run(node, channels, &metrics).await
}

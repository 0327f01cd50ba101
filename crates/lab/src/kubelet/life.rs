//! The life of one pod on its node.

use std::fs;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::sync::watch::Receiver;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::container::{Spec, only};
use super::probe::Prober;
use super::sandbox::Sandbox;
use super::status::Report;
use super::volumes::{REFRESH, Volumes};
use super::{Kubelet, directory};
use crate::process::{self, Process};

/// How soon what could not be made is tried again.
const AGAIN: Duration = Duration::from_millis(250);
/// A container that ends is started at once the first time, then after this, and after twice as long each time.
const BACK_OFF: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(300);
/// One that ran for so long begins anew with that.
const CALM: Duration = Duration::from_secs(600);
/// Seconds that a pod has to end, unless it says.
const GRACE: i64 = 30;

/// How a pod's life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It is asked to end within this.
    Asked(Duration),
    /// Its object is gone: there is nobody to wait for.
    Gone,
}

/// Why a container does not run any more.
enum Stopped {
    Exited(Option<ExitStatus>),
    Ill,
    Told(End),
}

/// What a pod's container is started with.
struct Ready {
    sandbox: Sandbox,
    volumes: Volumes,
    spec: Spec,
}

/// Runs a pod until it is deleted.
pub(super) async fn live(kubelet: Arc<Kubelet>, pod: Pod, mut told: Receiver<Option<Pod>>) {
    let name = pod.name_any();
    let mut report = Report::new(&kubelet, &pod);
    let end = run(&kubelet, &pod, &mut told, &mut report).await;
    let (cleaner, gone) = (kubelet.clone(), pod.clone());
    let removed = tokio::task::spawn_blocking(move || cleaner.remove_sandbox(&gone)).await;
    if let Ok(Err(error)) = removed {
        eprintln!("{name}: its network cannot be removed: {error:#}");
    }
    drop(fs::remove_dir_all(own(&kubelet, &pod)));
    if end != End::Gone {
        report.over().await;
    }
}

async fn run(
    kubelet: &Arc<Kubelet>,
    pod: &Pod,
    told: &mut Receiver<Option<Pod>>,
    report: &mut Report,
) -> End {
    let mut ready = loop {
        match set_up(kubelet, pod).await {
            Ok(ready) => break ready,
            Err(error) => report.waiting("ContainerCreating", &format!("{error:#}")),
        }
        tokio::select! {
            end = ended(told) => return end,
            () = sleep(AGAIN) => {}
        }
    };
    report.addresses(ready.sandbox.addresses.clone());
    let mut back_off = Duration::ZERO;
    loop {
        let begun = Instant::now();
        match run_once(kubelet, pod, &mut ready, told, report).await {
            Ok(Stopped::Told(end)) => return end,
            Ok(Stopped::Ill) => report.ended(None),
            Ok(Stopped::Exited(status)) => report.ended(status),
            Err(error) => report.waiting("RunContainerError", &format!("{error:#}")),
        }
        if begun.elapsed() > CALM {
            back_off = Duration::ZERO;
        }
        if !back_off.is_zero() {
            report.waiting("CrashLoopBackOff", "it is started again after a pause");
        }
        tokio::select! {
            end = ended(told) => return end,
            () = sleep(back_off) => {}
        }
        back_off = (back_off * 2).clamp(BACK_OFF, LONGEST);
    }
}

async fn set_up(kubelet: &Arc<Kubelet>, pod: &Pod) -> Result<Ready> {
    let (maker, new) = (kubelet.clone(), pod.clone());
    let sandbox = tokio::task::spawn_blocking(move || maker.make_sandbox(&new)).await??;
    let address = sandbox.addresses.first().map(ToString::to_string).unwrap_or_default();
    let place = own(kubelet, pod);
    let root = place.join("root");
    fs::create_dir_all(&root).with_context(|| root.display().to_string())?;
    let volumes = kubelet.volumes(pod, &place, &address).await?;
    let spec = kubelet.spec_of(pod, &address, root, &volumes.places).await?;
    Ok(Ready { sandbox, volumes, spec })
}

/// One run of the container.
async fn run_once(
    kubelet: &Arc<Kubelet>,
    pod: &Pod,
    ready: &mut Ready,
    told: &mut Receiver<Option<Pod>>,
    report: &mut Report,
) -> Result<Stopped> {
    let container = only(pod)?;
    let address = *ready.sandbox.addresses.first().context("a pod without address")?;
    let mut child = match ready.spec.command.is_empty() {
        true => None,
        false => Some(start(kubelet, pod, ready)?),
    };
    report.running();
    let probe = |probe: &Option<_>| -> Result<Option<Prober>> {
        probe.as_ref().map(|probe| Prober::start(probe, container, address)).transpose()
    };
    let (mut readiness, mut liveness) =
        (probe(&container.readiness_probe)?, probe(&container.liveness_probe)?);
    if readiness.is_none() {
        report.ready(true);
    }
    let due = |volumes: &Volumes| volumes.due.unwrap_or_else(|| Instant::now() + REFRESH * 60);
    let mut refresh = due(&ready.volumes);
    let stopped = loop {
        tokio::select! {
            status = wait(&mut child) => break Stopped::Exited(status),
            is_ready = Prober::next(&mut readiness) => report.ready(is_ready),
            lives = Prober::next(&mut liveness) => if !lives { break Stopped::Ill },
            end = ended(told) => break Stopped::Told(end),
            () = sleep_until(refresh) => {
                match kubelet.volumes(pod, &own(kubelet, pod), &address.to_string()).await {
                    Ok(volumes) => {
                        ready.volumes = volumes;
                        refresh = due(&ready.volumes);
                    }
                    Err(error) => {
                        eprintln!("{}: its token is not renewed: {error:#}", pod.name_any());
                        refresh = Instant::now() + REFRESH;
                    }
                }
            }
        }
    };
    drop((readiness, liveness));
    let grace = match stopped {
        Stopped::Exited(_) => None,
        Stopped::Told(End::Gone) => Some(Duration::ZERO),
        Stopped::Told(End::Asked(grace)) => Some(grace),
        Stopped::Ill => {
            let own = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
            Some(Duration::from_secs(own.unwrap_or(GRACE).max(0).unsigned_abs()))
        }
    };
    if let (Some(child), Some(grace)) = (&mut child, grace) {
        eprintln!("{}: ends within {} s", pod.name_any(), grace.as_secs());
        end(child, grace).await;
    }
    drop(fs::remove_file(noted(kubelet, pod)));
    Ok(stopped)
}

fn start(kubelet: &Kubelet, pod: &Pod, ready: &Ready) -> Result<Child> {
    let file = own(kubelet, pod).join("container.json");
    fs::write(&file, serde_json::to_vec_pretty(&ready.spec)?).with_context(|| file.display().to_string())?;
    let container = only(pod)?;
    // As the lab's own programs: the agent of a node by its node, others by their pod.
    let host = if ready.sandbox.own { pod.name_any() } else { kubelet.node.clone() };
    let log = kubelet.paths.log(&container.name, &host);
    let output = fs::File::options().create(true).append(true).open(&log);
    let output = output.with_context(|| log.display().to_string())?;
    let child = Command::new("nsenter")
        .arg(format!("--net=/run/netns/{}", ready.sandbox.netns))
        .arg(std::env::current_exe().context("the path of this program")?)
        .args(["lab", "--name", &kubelet.paths.name, "container"])
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .process_group(0)
        .spawn()
        .context("nsenter: cannot be started; install util-linux")?;
    let pid = i32::try_from(child.id().context("it has ended already")?)?;
    let started = process::started(pid).context("it has ended already")?;
    let noted = noted(kubelet, pod);
    let role = container.name.clone();
    let process = Process { role, host: kubelet.node.clone(), pid, started, log };
    if let Some(directory) = noted.parent() {
        fs::create_dir_all(directory)?;
    }
    fs::write(&noted, serde_json::to_vec(&process)?).with_context(|| noted.display().to_string())?;
    Ok(child)
}

/// Asks it to end, and makes it end when its time is over.
async fn end(child: &mut Child, grace: Duration) {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
    if let Some(pid) = pid {
        // It may have ended.
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
    }
    if timeout(grace, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
}

async fn wait(child: &mut Option<Child>) -> Option<ExitStatus> {
    match child {
        Some(child) => child.wait().await.ok(),
        None => std::future::pending().await,
    }
}

/// Waits until the pod is to end.
async fn ended(told: &mut Receiver<Option<Pod>>) -> End {
    loop {
        match &*told.borrow_and_update() {
            None => return End::Gone,
            Some(pod) if pod.metadata.deletion_timestamp.is_some() => {
                let seconds = pod.metadata.deletion_grace_period_seconds.unwrap_or(GRACE);
                return End::Asked(Duration::from_secs(seconds.max(0).unsigned_abs()));
            }
            Some(_) => {}
        }
        if told.changed().await.is_err() {
            return End::Gone;
        }
    }
}

/// What a node keeps of a pod.
fn own(kubelet: &Kubelet, pod: &Pod) -> PathBuf {
    directory(&kubelet.paths, &kubelet.node).join("pods").join(pod.uid().unwrap_or_default())
}

/// Where its process is noted.
fn noted(kubelet: &Kubelet, pod: &Pod) -> PathBuf {
    directory(&kubelet.paths, &kubelet.node).join("containers").join(pod.uid().unwrap_or_default())
}

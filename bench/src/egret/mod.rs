//! The real thing: one controller and one agent per node, as on a cluster, over a store directory of their own.

mod manifests;
mod memory;

pub use memory::record as record_memory;

use crate::cleanup;
use crate::cluster::Cluster;
use crate::cpus::SECOND;
use crate::namespace::{Namespace, run};
use anyhow::{Context, Result, bail, ensure};
use nix::mount::{MsFlags, mount};
use serde_json::Value;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The programs of one cluster. They are killed when this is dropped.
pub struct Egret {
    directory: PathBuf,
    children: Vec<Child>,
}

impl Egret {
    /// Starts them in a cluster and waits until every node has its plan in force.
    pub fn start(program: &Path, cluster: &Cluster, configuration: &str, policies: usize) -> Result<Self> {
        ensure!(program.exists(), "{} is missing: cargo build --release --bin egret", program.display());
        let directory = cleanup::directory(std::process::id() as i32).join(configuration);
        for part in ["store", "bpf", "log"] {
            fs::create_dir_all(directory.join(part))?;
        }
        let pins = directory.join("bpf");
        mount(Some("bpf"), &pins, Some("bpf"), MsFlags::empty(), None::<&str>)
            .with_context(|| format!("cannot mount a BPF file system on {}", pins.display()))?;
        manifests::write(&directory.join("store"), policies)?;
        let mut egret = Self { directory, children: Vec::new() };
        let overlay = configuration.ends_with("-overlay");
        let steering = if overlay { "overlay" } else { "auto" };
        egret.spawn(program, &cluster.gateway, "controller", &["controller", "--status-address"])?;
        for (namespace, node) in [(&cluster.node, manifests::NODE), (&cluster.gateway, manifests::GATEWAY)] {
            let pins = egret.pins(node);
            let arguments = ["agent", "--node", node, "--steering", steering, "--pin-dir", &pins, "--listen"];
            egret.spawn(program, namespace, node, &arguments)?;
        }
        egret.wait(policies, overlay)?;
        for child in &egret.children {
            run(Command::new("taskset").args(["-acp", &SECOND.to_string(), &child.id().to_string()]), None)?;
        }
        Ok(egret)
    }

    fn spawn(&mut self, program: &Path, namespace: &Namespace, name: &str, arguments: &[&str]) -> Result<()> {
        let log = File::create(self.directory.join("log").join(name))?;
        let child = namespace
            .command(program)
            .args(arguments)
            .arg(format!("unix:{}", self.directory.join(format!("{name}.sock")).display()))
            .arg("--store")
            .arg(self.directory.join("store"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {} {name}", program.display()))?;
        self.children.push(child);
        Ok(())
    }

    fn pins(&self, node: &str) -> String {
        self.directory.join("bpf").join(node).display().to_string()
    }

    /// Process ids of the agents.
    pub fn agents(&self) -> Vec<i32> {
        self.children.iter().skip(1).map(|child| child.id() as i32).collect()
    }

    /// Every address is given out, and every agent has applied a plan made from all that the controller decided.
    fn wait(&mut self, policies: usize, overlay: bool) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            let waiting = match self.waits_for(policies, overlay) {
                None => return Ok(()),
                Some(waiting) => waiting,
            };
            for child in &mut self.children {
                if let Some(status) = child.try_wait()? {
                    bail!("a program of egret ended ({status}):\n{}", self.logs());
                }
            }
            if Instant::now() > deadline {
                bail!("egret is not in force after 120 s: {waiting}\n{}", self.logs());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn waits_for(&self, policies: usize, overlay: bool) -> Option<String> {
        let state = self.directory.join("store/.egret");
        let Some(controller) = read(&state.join("controller.json")) else {
            return Some("the controller has decided nothing".into());
        };
        let addresses = state.join("records/EgressAddress");
        let given = fs::read_dir(&addresses).map(Iterator::count).unwrap_or_default();
        if given < policies {
            return Some(format!("{given} of {policies} addresses are given out"));
        }
        for node in [manifests::NODE, manifests::GATEWAY] {
            let record = read(&state.join(format!("records/EgressNode/{node}.json"))).unwrap_or_default();
            let spec = &record["spec"];
            let seen = [&spec["observedObjects"], &spec["observedAddresses"]];
            if spec["ready"] != true || seen != [&controller["observedObjects"], &controller["addresses"]] {
                return Some(format!("{node} has not applied the newest plan: {spec}"));
            }
            let linked = spec["links"].as_array().is_some_and(|links| !links.is_empty());
            if !overlay && node == manifests::NODE && !linked {
                return Some(format!("{node} has not found out that its gateway is on the same link"));
            }
            if spec["waiting"].as_array().is_some_and(|reasons| !reasons.is_empty()) {
                return Some(format!("{node} waits: {}", spec["waiting"]));
            }
        }
        let gateway = read(&state.join(format!("records/EgressNode/{}.json", manifests::GATEWAY)));
        let programmed = &gateway.unwrap_or_default()["spec"]["programmed"];
        for entry in fs::read_dir(&addresses).into_iter().flatten().flatten() {
            let record = read(&entry.path()).unwrap_or_default();
            let spec = &record["spec"];
            let address = spec["address"].as_str().unwrap_or_default();
            if spec["leases"].as_array().is_none_or(Vec::is_empty) {
                return Some(format!("nobody leases a port of {address}"));
            }
            if programmed[address].as_u64() < spec["revision"].as_u64() {
                return Some(format!("the gateway has not programmed {address}"));
            }
        }
        None
    }

    fn logs(&self) -> String {
        let mut text = String::new();
        for entry in fs::read_dir(self.directory.join("log")).into_iter().flatten().flatten() {
            let log = fs::read_to_string(entry.path()).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let last = lines[lines.len().saturating_sub(15)..].join("\n");
            text += &format!("--- {}\n{last}\n", entry.path().display());
        }
        text
    }
}

impl Drop for Egret {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = nix::mount::umount2(&self.directory.join("bpf"), nix::mount::MntFlags::MNT_DETACH);
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn read(path: &Path) -> Option<Value> {
    serde_json::from_str(&fs::read_to_string(path).ok()?).ok()
}

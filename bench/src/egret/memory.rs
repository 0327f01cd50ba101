//! What flows and pods cost in memory, by the kernel's own account of the pinned maps and the agents' resident memory;
//! and what a sweep of the flows costs.

use super::{Egret, manifests};
use crate::cluster::{Cluster, OUTSIDE};
use crate::cpus::FIRST;
use crate::measure::figure::SWEEP;
use crate::process::Running;
use crate::rows::Samples;
use anyhow::{Context, Result};
use serde_json::Value;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::{Duration, Instant};

/// Flows opened to see what one costs.
const FLOWS: u64 = 100_000;
/// Sweeps come every second.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(100);

/// Names of figures, as in rows.
mod figure {
    pub const NODE_MAPS: &str = "node_maps_memory";
    pub const GATEWAY_MAPS: &str = "gateway_maps_memory";
    pub const AGENT: &str = "node_agent_memory";
    pub const PER_FLOW: &str = "node_memory_per_flow";
    pub const GATEWAY_PER_FLOW: &str = "gateway_memory_per_flow";
}

/// Records memory with this many policies, and, with one policy, what a flow costs. Leaves flows behind.
pub fn record(
    egret: &Egret,
    cluster: &Cluster,
    config: &str,
    policies: usize,
    samples: &mut Samples,
) -> Result<()> {
    let before = [egret.maps(manifests::NODE)?, egret.maps(manifests::GATEWAY)?];
    samples.add(config, figure::NODE_MAPS, policies, 0, before[0] as f64);
    samples.add(config, figure::GATEWAY_MAPS, policies, 0, before[1] as f64);
    samples.add(config, figure::AGENT, policies, 0, egret.resident()? as f64);
    if policies > 1 {
        return Ok(());
    }
    let (cpu, to, flows) = (FIRST.to_string(), OUTSIDE.to_string(), FLOWS.to_string());
    Running::start(&cluster.pod, &["flows", "--cpu", &cpu, "--to", &to, "--rate", &flows])?.result()?;
    let opened = egret.entries(manifests::NODE, "flows")?.max(1) as f64;
    let after = [egret.maps(manifests::NODE)?, egret.maps(manifests::GATEWAY)?];
    let per_flow = |host: usize| (after[host] as f64 - before[host] as f64) / opened;
    samples.add(config, figure::PER_FLOW, policies, 0, per_flow(0));
    samples.add(config, figure::GATEWAY_PER_FLOW, policies, 0, per_flow(1));
    let sweep = egret.sweep_seconds(manifests::NODE)? * 1e9 / opened;
    samples.add(config, SWEEP, policies, 0, sweep);
    Ok(())
}

impl Egret {
    /// Bytes that the kernel accounts to a node's maps.
    fn maps(&self, node: &str) -> Result<u64> {
        let mut bytes = 0;
        for path in self.pinned(node)? {
            let shown = bpftool(&["map", "show", "pinned", &path])?;
            bytes += shown["bytes_memlock"].as_u64().unwrap_or_default();
        }
        Ok(bytes)
    }

    /// Entries of one map, counted in the kernel's dump.
    fn entries(&self, node: &str, map: &str) -> Result<u64> {
        let path = self
            .pinned(node)?
            .into_iter()
            .find(|path| path.rsplit('/').next() == Some(map))
            .with_context(|| format!("{node} has no pinned map {map}"))?;
        let dump = bpftool(&["map", "dump", "pinned", &path])?;
        Ok(dump.as_array().map(|entries| entries.len() as u64).unwrap_or_default())
    }

    /// Pinned maps of a node; links and programs may be pinned beside them.
    fn pinned(&self, node: &str) -> Result<Vec<String>> {
        let mut found = Vec::new();
        let mut rest = vec![self.pins(node)];
        while let Some(directory) = rest.pop() {
            for entry in std::fs::read_dir(&directory)? {
                let entry = entry?;
                let path = entry.path().display().to_string();
                if entry.file_type()?.is_dir() {
                    rest.push(path);
                } else if bpftool(&["map", "show", "pinned", &path]).is_ok() {
                    found.push(path);
                }
            }
        }
        Ok(found)
    }

    /// Seconds that a sweep takes that begins after this.
    fn sweep_seconds(&self, node: &str) -> Result<f64> {
        let told = || -> Result<(f64, f64)> {
            let text = self.metrics(node)?;
            let of = |name: &str| {
                let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
                value.with_context(|| format!("{node} says nothing of {name}"))
            };
            Ok((of("egret_sweep_seconds_sum ")?, of("egret_sweep_seconds_count ")?))
        };
        let (first, deadline) = (told()?, Instant::now() + PATIENCE);
        loop {
            let now = told()?;
            // The first to end has begun before.
            if now.1 >= first.1 + 3.0 {
                return Ok((now.0 - first.0) / (now.1 - first.1));
            }
            anyhow::ensure!(Instant::now() < deadline, "{node} does not sweep");
            std::thread::sleep(LOOK);
        }
    }

    fn metrics(&self, node: &str) -> Result<String> {
        let mut stream = UnixStream::connect(self.directory.join(format!("{node}.sock")))?;
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    }

    /// Bytes of resident memory of the agent on the pod's node.
    fn resident(&self) -> Result<u64> {
        let pid = self.children.get(1).context("no agent")?.id();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let kilobytes = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:")?.trim().split(' ').next()?.parse().ok());
        Ok(kilobytes.unwrap_or(0_u64) * 1024)
    }
}

fn bpftool(arguments: &[&str]) -> Result<Value> {
    let output = Command::new("bpftool").arg("-j").args(arguments).output().context("cannot run bpftool")?;
    anyhow::ensure!(output.status.success(), "bpftool {arguments:?} failed");
    Ok(serde_json::from_slice(&output.stdout)?)
}

//! The gateway's work by itself. The kernel carries a packet on in the context of whoever sent it, so nobody's clock
//! shows what one host did. With a NAPI thread for each device between the nodes, the gateway's two threads do the
//! gateway's work and nothing else, and the scheduler counts their run time in nanoseconds, whatever else runs here.

use crate::cluster::Cluster;
use crate::cpus::FIRST;
use crate::namespace::{Namespace, run};
use anyhow::{Result, ensure};
use std::collections::BTreeSet;
use std::process::Command;

/// A cluster whose devices have threads of their own. It is given back as it was when this is dropped.
pub struct Threads<'a> {
    cluster: &'a Cluster,
    /// The threads of the gateway.
    pub gateway: Vec<i32>,
}

impl<'a> Threads<'a> {
    /// Starts the threads, all on the first CPU: a burst of the load is sent as a whole before the next host gets to
    /// it, as a busy interface hands packets over in batches, and no wake-up of a sleeping CPU is counted.
    pub fn begin(cluster: &'a Cluster) -> Result<Self> {
        let mut threads = Self { cluster, gateway: Vec::new() };
        threads.switch(&cluster.node, &["eth0"], true)?;
        threads.switch(&cluster.outside, &["eth0"], true)?;
        threads.gateway = threads.switch(&cluster.gateway, &["eth0", "eth1"], true)?;
        ensure!(
            threads.gateway.len() == 2,
            "the gateway's devices have {} threads, not 2",
            threads.gateway.len()
        );
        Ok(threads)
    }

    /// A veth hands a packet to its peer's NAPI only if it cannot segment itself; datagrams of 64 bytes do not care.
    fn switch(&self, namespace: &Namespace, devices: &[&str], on: bool) -> Result<Vec<i32>> {
        let before = threads();
        let mut script = String::new();
        for device in devices {
            // a thread can only be taken from a device that still has its NAPI
            script += &match on {
                true => {
                    format!("ethtool -K {device} gro on tso off; echo 1 > /sys/class/net/{device}/threaded\n")
                }
                false => {
                    format!("echo 0 > /sys/class/net/{device}/threaded; ethtool -K {device} gro off tso on\n")
                }
            };
        }
        namespace.shell(&script)?;
        let new: Vec<i32> = threads().difference(&before).copied().collect();
        for thread in &new {
            run(Command::new("taskset").args(["-cp", &FIRST.to_string(), &thread.to_string()]), None)?;
        }
        Ok(new)
    }
}

impl Drop for Threads<'_> {
    fn drop(&mut self) {
        let hosts = [
            (&self.cluster.node, &["eth0"][..]),
            (&self.cluster.outside, &["eth0"]),
            (&self.cluster.gateway, &["eth0", "eth1"]),
        ];
        for (host, devices) in hosts {
            if let Err(error) = self.switch(host, devices, false) {
                eprintln!("{error:#}");
            }
        }
    }
}

/// All NAPI threads of veths named as ours are.
fn threads() -> BTreeSet<i32> {
    processes("napi/eth")
}

/// Processes whose name begins like this.
pub fn processes(name: &str) -> BTreeSet<i32> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if std::fs::read_to_string(entry.path().join("comm")).is_ok_and(|comm| comm.starts_with(name)) {
            found.insert(pid);
        }
    }
    found
}

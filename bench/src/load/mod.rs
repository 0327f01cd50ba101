//! The ends of the traffic: small processes inside the pod's and the outside host's namespaces, each on one CPU.
//! A process announces `ready`, does its work, and prints one line of JSON.

mod bulk;
pub mod clock;
mod connections;
pub mod echo;
mod flows;
mod packets;
mod ping_pong;
mod serve;
mod who;

use anyhow::{Context, Result};
use clap::Subcommand;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// First of the ports on which the outside host takes short connections.
pub const FIRST_PORT: u16 = 7000;
/// Number of those ports. Several, so that a short-lived port at the pod is not the bound.
pub const PORTS: u16 = 64;

/// What a load process does.
#[derive(Subcommand, Clone, Debug)]
pub enum Load {
    /// Takes a TCP stream and counts what arrives.
    BulkSink(Sink),
    /// Sends a TCP stream in large writes until it is stopped.
    BulkSource(Source),
    /// Counts 64-byte datagrams.
    PacketSink(Sink),
    /// Sends 64-byte datagrams as fast as it can.
    PacketSource(Source),
    /// Sends every datagram back.
    EchoServer(Sink),
    /// Sends datagrams at a steady rate and takes them back.
    EchoClient(Source),
    /// Takes short connections: one byte in, one byte out.
    ConnectionServer(Sink),
    /// Opens short connections, several at a time.
    ConnectionClient(Source),
    /// Measures round trips of one byte.
    PingPong(Source),
    /// Opens many UDP flows and keeps nothing.
    Flows(Source),
    /// Asks the outside host which source it sees.
    Who(Source),
}

/// A process that waits for traffic.
#[derive(clap::Args, Clone, Debug)]
pub struct Sink {
    /// The CPU to run on.
    #[arg(long)]
    pub cpu: usize,
    /// The time to measure, in milliseconds.
    #[arg(long, default_value_t = 1000)]
    pub time: u64,
}

/// A process that makes traffic.
#[derive(clap::Args, Clone, Debug)]
pub struct Source {
    /// The CPU to run on.
    #[arg(long)]
    pub cpu: usize,
    /// The outside host.
    #[arg(long)]
    pub to: Ipv4Addr,
    /// The time to measure, in milliseconds.
    #[arg(long, default_value_t = 1000)]
    pub time: u64,
    /// Packets per second, or the number of flows.
    #[arg(long, default_value_t = 0)]
    pub rate: u64,
    /// Processes whose CPU time in the window is wanted; 0 is this one.
    #[arg(long, value_delimiter = ',')]
    pub watch: Vec<i32>,
}

/// What a load process measured.
#[derive(Serialize, Deserialize, Clone, Debug, Default)]
pub struct Measured {
    /// Start of the window, nanoseconds of the monotonic clock.
    pub from: u64,
    /// End of the window.
    pub to: u64,
    /// Bytes, packets, connections or round trips in the window.
    pub count: u64,
    /// Of packets: those that came back.
    #[serde(default)]
    pub returned: u64,
    /// Connections that failed.
    #[serde(default)]
    pub errors: u64,
    /// Round trips in nanoseconds: the 50th and the 99th of a hundred.
    #[serde(default)]
    pub percentiles: Option<[u64; 2]>,
    /// The address that the outside host saw.
    #[serde(default)]
    pub seen: Option<String>,
    /// CPU time of the watched processes in the window, nanoseconds.
    #[serde(default)]
    pub spent: u64,
}

impl Measured {
    /// The window in seconds.
    pub fn seconds(&self) -> f64 {
        (self.to.saturating_sub(self.from)) as f64 / 1e9
    }

    /// What was counted per second.
    pub fn per_second(&self) -> f64 {
        self.count as f64 / self.seconds().max(1e-9)
    }
}

/// Runs one load process to its end.
pub fn run(load: &Load) -> Result<()> {
    serve::leave_with_parent();
    let measured = match load {
        Load::BulkSink(sink) => on(sink.cpu).and_then(|()| bulk::sink(sink)),
        Load::BulkSource(source) => on(source.cpu).and_then(|()| bulk::source(source)),
        Load::PacketSink(sink) => on(sink.cpu).and_then(|()| packets::sink(sink)),
        Load::PacketSource(source) => on(source.cpu).and_then(|()| packets::source(source)),
        Load::EchoServer(sink) => on(sink.cpu).and_then(|()| echo::server()),
        Load::EchoClient(source) => on(source.cpu).and_then(|()| echo::client(source)),
        Load::ConnectionServer(sink) => on(sink.cpu).and_then(|()| serve::connections()),
        Load::ConnectionClient(source) => on(source.cpu).and_then(|()| connections::client(source)),
        Load::PingPong(source) => on(source.cpu).and_then(|()| ping_pong::client(source)),
        Load::Flows(source) => on(source.cpu).and_then(|()| flows::open(source)),
        Load::Who(source) => on(source.cpu).and_then(|()| who::ask(source)),
    }?;
    println!("{}", serde_json::to_string(&measured)?);
    Ok(())
}

fn on(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu).with_context(|| format!("CPU {cpu}"))?;
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("cannot run on CPU {cpu}"))
}

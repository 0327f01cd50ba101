//! One figure: the loads it needs, where they run, and what is made of what they measured.

use crate::cluster::{Cluster, OUTSIDE};
use crate::cpus::{FIRST, SECOND};
use crate::gateway::{Threads, processes};
use crate::load::Measured;
use crate::load::clock::cpu_time;
use crate::namespace::run;
use crate::process::Running;
use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use std::collections::BTreeMap;

/// What is measured. One of them may give several figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Metric {
    /// Single-flow TCP.
    Tcp,
    /// 64-byte UDP packets per second.
    Pps,
    /// New TCP connections per second.
    Cps,
    /// Round trips of one byte.
    Rtt,
    /// CPU time at the gateway per packet.
    Gateway,
    /// CPU time of everything per new connection; less that of a direct link it is what the nodes between spend.
    Outside,
}

/// How long a figure is measured, in milliseconds, and how fast the steady loads are.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Of throughput, packets and connections.
    pub time: u64,
    /// Datagrams per second and direction while the gateway's cost is measured: less than every configuration can do.
    pub steady: u64,
    /// Connections per second while their cost is measured.
    pub paced: u64,
}

/// Egret's own programs in a cluster; none in the others.
#[derive(Clone, Debug, Default)]
pub struct Programs {
    /// The agents.
    pub pids: Vec<i32>,
    /// Their CPU time when nothing happens, seconds per second.
    pub idle: f64,
}

/// Names of figures, as in rows.
pub mod figure {
    /// Gbit/s of one TCP stream.
    pub const TCP: &str = "tcp_gbit_per_second";
    /// Datagrams received per second.
    pub const PPS: &str = "udp_packets_per_second";
    /// Connections opened, used and closed per second.
    pub const CPS: &str = "connections_per_second";
    /// Median round trip.
    pub const RTT_P50: &str = "round_trip_p50";
    /// 99th percentile of round trips.
    pub const RTT_P99: &str = "round_trip_p99";
    /// CPU time of the gateway per packet.
    pub const GATEWAY: &str = "gateway_cpu_per_packet";
    /// CPU time of everything per connection, the ends' included.
    pub const WHOLE: &str = "cpu_per_connection";
    /// What Egret's agents take when nothing happens.
    pub const IDLE: &str = "agents_idle_cpu";
    /// What one sweep takes for each flow that is there.
    pub const SWEEP: &str = "sweep_time_per_flow";
    /// CPU time outside the end hosts per connection.
    pub const OUTSIDE: &str = "outside_cpu_per_connection";
}

/// The unit of a figure.
pub fn unit(figure: &str) -> &'static str {
    match figure {
        figure::TCP => "Gbit/s",
        figure::PPS => "packets/s",
        figure::CPS => "connections/s",
        figure::RTT_P50 | figure::RTT_P99 | figure::OUTSIDE | figure::WHOLE => "us",
        figure::GATEWAY => "ns",
        figure::IDLE => "% of a CPU",
        figure::SWEEP => "ns per flow",
        _ => "bytes",
    }
}

/// Whether less of a figure is better.
pub fn less_is_better(figure: &str) -> bool {
    !matches!(figure, figure::TCP | figure::PPS | figure::CPS)
}

/// Measures once.
/// `programs` are those of Egret in this cluster, and the CPU time they take when nothing happens.
pub fn measure(
    cluster: &Cluster,
    metric: Metric,
    effort: Effort,
    programs: &Programs,
) -> Result<BTreeMap<&'static str, f64>> {
    let mut figures = BTreeMap::new();
    match metric {
        Metric::Tcp => {
            let measured = pushed(cluster, "bulk", effort)?;
            figures.insert(figure::TCP, measured.per_second() * 8.0 / 1e9);
        }
        Metric::Pps => {
            figures.insert(figure::PPS, pushed(cluster, "packet", effort)?.per_second());
        }
        Metric::Cps => {
            let measured = connections(cluster, effort, 0, &[])?;
            forget_connections(cluster)?;
            figures.insert(figure::CPS, complete(&measured)?.per_second());
        }
        Metric::Rtt => {
            let measured = round_trips(cluster, effort)?;
            let [p50, p99] = measured.percentiles.context("no round trips")?;
            figures.insert(figure::RTT_P50, p50 as f64 / 1e3);
            figures.insert(figure::RTT_P99, p99 as f64 / 1e3);
        }
        Metric::Gateway => {
            let threads = Threads::begin(cluster)?;
            let before = (cpu_time(&threads.gateway)?, cluster.gateway.received()?);
            echo(cluster, effort)?;
            let packets = cluster.gateway.received()? - before.1;
            let spent = cpu_time(&threads.gateway)? - before.0;
            ensure!(
                packets * 1000 > effort.steady * effort.time,
                "only {packets} packets reached the gateway"
            );
            figures.insert(figure::GATEWAY, spent as f64 / packets as f64);
        }
        Metric::Outside => {
            let mut watched: Vec<i32> = processes("ksoftirqd/").into_iter().chain([0]).collect();
            watched.extend(&programs.pids);
            let measured = connections(cluster, effort, effort.paced, &watched)?;
            forget_connections(cluster)?;
            let spent = measured.spent as f64 - programs.idle * measured.seconds() * 1e9;
            figures.insert(figure::WHOLE, spent / complete(&measured)?.count as f64 / 1e3);
        }
    }
    Ok(figures)
}

/// A load that the pod pushes and the outside host counts.
fn pushed(cluster: &Cluster, what: &str, effort: Effort) -> Result<Measured> {
    let (time, to) = (effort.time.to_string(), OUTSIDE.to_string());
    let (first, second) = (FIRST.to_string(), SECOND.to_string());
    let sink =
        Running::start(&cluster.outside, &[&format!("{what}-sink"), "--cpu", &second, "--time", &time])?;
    let _source = Running::start(&cluster.pod, &[&format!("{what}-source"), "--cpu", &first, "--to", &to])?;
    sink.result()
}

/// A client in the pod and the server that it needs. A watched process 0 stands for both.
fn pair(cluster: &Cluster, server: &[&str], client: &[&str], watched: &[i32]) -> Result<Measured> {
    let server = Running::start(&cluster.outside, server)?;
    let mut pids: Vec<String> = watched.iter().map(ToString::to_string).collect();
    if watched.contains(&0) {
        pids.push(server.pid().to_string());
    }
    let (to, pids) = (OUTSIDE.to_string(), pids.join(","));
    let mut client = client.to_vec();
    client.extend(["--to", &to]);
    if !pids.is_empty() {
        client.extend(["--watch", &pids]);
    }
    Running::start(&cluster.pod, &client)?.result()
}

fn connections(cluster: &Cluster, effort: Effort, rate: u64, watched: &[i32]) -> Result<Measured> {
    let [first, second, time, rate] =
        [FIRST as u64, SECOND as u64, effort.time, rate].map(|number| number.to_string());
    let client = ["connection-client", "--cpu", &first, "--time", &time, "--rate", &rate];
    pair(cluster, &["connection-server", "--cpu", &second], &client, watched)
}

fn round_trips(cluster: &Cluster, effort: Effort) -> Result<Measured> {
    let [first, second, time] =
        [FIRST as u64, SECOND as u64, effort.time / 2].map(|number| number.to_string());
    let client = ["ping-pong", "--cpu", &first, "--time", &time];
    pair(cluster, &["connection-server", "--cpu", &second], &client, &[])
}

fn echo(cluster: &Cluster, effort: Effort) -> Result<Measured> {
    let [first, time, rate] = [FIRST as u64, effort.time, effort.steady].map(|number| number.to_string());
    let client = ["echo-client", "--cpu", &first, "--time", &time, "--rate", &rate];
    pair(cluster, &["echo-server", "--cpu", &first], &client, &[])
}

fn complete(measured: &Measured) -> Result<&Measured> {
    ensure!(
        measured.count > 0 && measured.errors * 100 <= measured.count,
        "{} connections and {} failures",
        measured.count,
        measured.errors
    );
    Ok(measured)
}

/// Connection tracking is one table for all namespaces: what one configuration left would slow down the next.
fn forget_connections(cluster: &Cluster) -> Result<()> {
    for namespace in [&cluster.node, &cluster.gateway] {
        run(namespace.command("conntrack").arg("-F"), None)?;
    }
    Ok(())
}

/// The source that the outside host sees for a connection of the pod.
pub fn seen(cluster: &Cluster) -> Result<String> {
    let first = FIRST.to_string();
    let server = ["who", "--cpu", &first, "--to", "0.0.0.0"];
    let measured = pair(cluster, &server, &["who", "--cpu", &first, "--time", "3000"], &[])?;
    measured.seen.context("the outside host saw nobody")
}

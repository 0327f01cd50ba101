//! `egret lab demo --dialect`: the examples of other systems' documentation, as they stand; the gateway that carries
//! one of them loses its power.

mod example;
mod report;

use std::net::IpAddr;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use self::example::Example;
use self::report::{Report, Shown};
use super::report::{self as figures, Datagrams, Failover};
use super::run::{LOST_AFTER, PATIENCE, UNDISTURBED, raise_file_limit};
use super::screen::Screen;
use super::{DemoArgs, Examples, arp, cluster};
use crate::fault::{self, Fault};
use crate::pod::{self, PodRequest};
use crate::second::Second;
use crate::state::{Paths, State};
use crate::topology::Topology;
use crate::traffic::flow::{Flow, Kind};
use crate::traffic::outcome::{Outcome, Stalls};
use crate::traffic::server::{self, Servers};
use crate::traffic::{Client, Traffic};
use crate::up::{self, Parts};
use crate::{apply, sniff};

/// The networks of all examples on one wire, and two gateways.
const NETWORKS: &str = include_str!("../../../topology/dialects.yaml");
/// The host outside that everybody speaks to, and where.
const SERVER: &str = "outside-2";
/// The host on the wire that asks who has an address.
const OBSERVER: &str = "outside-1";
/// A pod that no example selects.
const STRANGER: (&str, &str) = ("elsewhere", "stranger");

/// An example under way.
struct Running<'e> {
    example: &'e Example,
    traffic: Traffic,
    from: String,
    arp_before: Vec<String>,
}

/// Does all steps and shows what came out of them. The lab is left standing.
///
/// # Errors
/// When a step cannot be done.
pub fn work(paths: &Paths, args: &DemoArgs, dialect: Examples) -> Result<ExitCode> {
    let screen = Screen::new();
    raise_file_limit()?;
    let examples = example::of(dialect);
    screen.say("a cluster of 4 nodes in network namespaces, 2 of them gateways; a router; 2 hosts outside");
    let parts = Parts { programs: true, sniffer: true, store: args.store, installed: false };
    let step = |step: &str| screen.say(&format!("  {step}"));
    let mut state = up::up(paths, Topology::parse(NETWORKS)?, parts, &step)?;
    make_pods(paths, &mut state, &examples)?;
    apply::wait(paths, &state)?;
    let outside = state.host(SERVER)?;
    let (netns, server) = (outside.netns.clone(), first_ipv4(&outside.addresses)?);
    let plain = Servers::start(std::slice::from_ref(&netns), crate::traffic::PORT)?;
    let ordinary = strangers_source(&state, server)?;

    for example in &examples {
        screen.say(&format!("{}: {}", example.name, example.title));
        cluster::apply(paths, &state, example.file, example.manifests)?;
    }
    apply::wait(paths, &state)?;
    let mut running = Vec::new();
    for example in &examples {
        running.push(start(paths, &state, example, args, (&netns, server), &screen)?);
    }
    std::thread::sleep(UNDISTURBED);
    let dying = running.first().context("no example")?.from.clone();
    screen.say(&format!("power off: {dying} (processes killed, links cut, no goodbye)"));
    running.iter().for_each(|r| r.traffic.mark());
    let fault_at = Instant::now();
    fault::apply(paths, &mut state, &dying, &Fault::PowerOff)?;
    for Running { example, traffic, .. } in &running {
        let left = LOST_AFTER.saturating_sub(fault_at.elapsed());
        let stuck = traffic.wait(left, |f| f.is_fresh() || f.failure().is_some());
        let (all, seconds) = (traffic.flows.len(), fault_at.elapsed().as_secs_f64());
        screen.say(&format!(
            "{}: {} of {all} go on, {seconds:.1} s after the fault",
            example.name,
            all - stuck
        ));
        for flow in traffic.flows.iter().filter(|f| !f.is_fresh()) {
            flow.close(Err(format!("nothing fresh within {} s of the fault", LOST_AFTER.as_secs())));
        }
    }
    std::thread::sleep(UNDISTURBED);
    let mut shown = Vec::new();
    for running in running {
        shown.push(finish(paths, &state, running)?);
    }
    let after = strangers_source(&state, server)?;
    let sniffed = sniff::report(paths, std::time::Duration::from_secs(10))?;
    drop(plain);
    let mut report = Report {
        machine: figures::machine(),
        examples: shown.into_iter().collect(),
        unselected: [ordinary, after],
        wrong_source_packets: sniffed.wrong,
        packets_looked_at: sniffed.seen,
        packets_missed: sniffed.missed,
        seconds: screen.seconds(),
        passed: false,
    };
    report.judge();
    figures::write(&report, &args.out())?;
    println!("{}", report.table(&dying));
    if sniffed.wrong > 0 {
        println!("{}", figures::wrong_packets(&sniff::leaks(paths)?, sniffed));
    }
    screen.say(&format!("figures in {}", args.out().display()));
    Ok(if report.passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn make_pods(paths: &Paths, state: &mut State, examples: &[Example]) -> Result<()> {
    let mut make = |namespace: &str, name: &str, app: &str, node: &str, second: Option<Second>| {
        let labels = [("app".to_owned(), app.to_owned())].into();
        let (namespace, name, node) = (namespace.to_owned(), name.to_owned(), node.to_owned());
        pod::create(
            paths,
            state,
            &PodRequest { namespace, name, node, labels, second, process: Vec::new(), by_kubelet: false },
        )
    };
    make(STRANGER.0, STRANGER.1, "plain", "node-2", None)?;
    for example in examples {
        for (name, node, second) in example.pods() {
            make(example.namespace, &name, example.app, node, second)?;
        }
    }
    Ok(())
}

/// The source that the outside sees of a pod that nobody selects.
fn strangers_source(state: &State, server: IpAddr) -> Result<IpAddr> {
    let (_, stranger) = state.pod(STRANGER.0, STRANGER.1).context("no pod stranger")?;
    server::ask(&stranger.netns, server, PATIENCE)
}

fn first_ipv4(addresses: &[IpAddr]) -> Result<IpAddr> {
    addresses.iter().copied().find(IpAddr::is_ipv4).context("no IPv4 address")
}

/// Opens the connections of an example, from the pods that it selects, and waits until all carry data.
fn start<'e>(
    paths: &Paths,
    state: &State,
    example: &'e Example,
    args: &DemoArgs,
    (netns, server): (&String, IpAddr),
    screen: &Screen,
) -> Result<Running<'e>> {
    let from = cluster::holder(paths, state, example.address.into())?;
    let arp_before = arp::who_has(state, OBSERVER, example.address)?;
    let clients: Vec<Client> = (state.hosts.values())
        .filter(|host| example.selects(host))
        .map(|host| Client { pod: host.netns.clone(), netns: host.netns.clone() })
        .collect();
    let (tcp, udp) = match example.datagrams_only {
        true => (0, args.connections + args.flows),
        false => (args.connections, args.flows),
    };
    screen.say(&format!(
        "{}: {} by {from}; {tcp} TCP connections and {udp} UDP flows to port {} from {} pods",
        example.name,
        example.address,
        example.port,
        clients.len()
    ));
    let servers = Servers::start(std::slice::from_ref(netns), example.port)?;
    let traffic = Traffic::start(&clients, &servers, &[server], tcp, udp)?;
    let missing = traffic.wait(PATIENCE, |f| f.has_received(3));
    if let Some(flow) = traffic.flows.iter().find(|f| !f.has_received(3)) {
        let why = flow.failure().unwrap_or_else(|| "no answer".to_owned());
        bail!(
            "{}: {missing} flows did not open; the first, from {} to {}: {why}",
            example.name,
            flow.pod,
            flow.server
        );
    }
    Ok(Running { example, traffic, from, arp_before })
}

/// Closes the connections, each end counting.
fn finish(paths: &Paths, state: &State, running: Running) -> Result<(String, Shown)> {
    let Running { example, traffic, from, arp_before } = running;
    let stalls = |tcp: bool| {
        let own = traffic.flows.iter().filter(|f| (f.kind != Kind::Datagrams) == tcp);
        Stalls::of(own.map(|f| f.stall()).collect())
    };
    let (stall_ms, flow_stall_ms) = (stalls(true), stalls(false));
    let to = cluster::holder(paths, state, example.address.into()).ok();
    let arp_after = arp::who_has(state, OBSERVER, example.address)?;
    let flows = traffic.finish(PATIENCE)?;
    let datagrams = |count: fn(&Flow) -> u64| {
        flows.iter().filter(|f| f.kind == Kind::Datagrams).map(|f| count(f)).sum::<u64>()
    };
    let address = example.address.into();
    let shown = Shown {
        failover: Failover { address: example.address.to_string(), from, to, arp_before, arp_after },
        connections: Outcome::of(&flows, &[Kind::PushedByClient, Kind::PushedByServer], address),
        flows: Outcome::of(&flows, &[Kind::Datagrams], address),
        datagrams: Datagrams { sent: datagrams(Flow::sent), answered: datagrams(Flow::answers) },
        stall_ms,
        flow_stall_ms,
    };
    Ok((example.name.to_owned(), shown))
}

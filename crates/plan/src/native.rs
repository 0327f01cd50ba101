//! Egret's own resources as intents.

use std::collections::BTreeSet;

use egret_api::{
    AddressRange, ClusterEgressPolicySpec, Destination, EgressPolicySpec, EgressPoolSpec, Kind, Object,
    ObjectKey, Port, Protocol,
};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::bounds;
use crate::fault::Fault;
use crate::intent::{Beside, Grant, Intent, Namespaces, PodChoice, PodScope, Pool, Rank, Traffic};
use crate::range::{Range, read_address, read_net};
use crate::select::Selector;
use crate::tables::PortMatch;

/// Collects faults, so that a person sees all of them at once.
pub(crate) struct Faults(pub Vec<Fault>);

impl Faults {
    pub fn take<T>(&mut self, result: Result<T, Fault>) -> Option<T> {
        result.map_err(|fault| self.0.push(fault)).ok()
    }

    pub fn at_most<T>(&mut self, list: &[T], most: usize, field: &str) {
        if list.len() > most {
            let message = format!("{} entries are more than {most}", list.len());
            self.0.push(Fault::invalid(field, message, "split the object into several"));
        }
    }

    pub fn or<T>(self, value: Option<T>) -> Result<T, Vec<Fault>> {
        match (self.0.is_empty(), value) {
            (true, Some(value)) => Ok(value),
            _ => Err(self.0),
        }
    }
}

/// Everything outside, of both families.
pub(crate) fn everywhere() -> Vec<Traffic> {
    [IpNet::V4(Ipv4Net::default()), IpNet::V6(Ipv6Net::default())]
        .map(|net| Traffic { net, except: Vec::new(), ports: vec![PortMatch::Any] })
        .into()
}

/// Reads an EgressPolicy.
pub(crate) fn policy(rank: Rank, spec: &EgressPolicySpec) -> Result<Intent, Vec<Fault>> {
    let mut faults = Faults(Vec::new());
    let pods = faults.take(Selector::read(&spec.pod_selector, "spec.podSelector"));
    let namespaces = Namespaces::One(rank.key.namespace.clone());
    let scope = pods.map(|pods| PodScope { namespaces, pods: PodChoice::Labelled(pods) });
    read(faults, rank, scope, &spec.destinations, &spec.pool, spec.address.as_deref(), spec.when_unavailable)
}

/// Reads a ClusterEgressPolicy.
pub(crate) fn cluster_policy(rank: Rank, spec: &ClusterEgressPolicySpec) -> Result<Intent, Vec<Fault>> {
    let mut faults = Faults(Vec::new());
    let namespaces = faults.take(Selector::read(&spec.namespace_selector, "spec.namespaceSelector"));
    let pods = faults.take(Selector::read(&spec.pod_selector, "spec.podSelector"));
    let scope = namespaces.zip(pods).map(|(namespaces, pods)| PodScope {
        namespaces: Namespaces::Matching(namespaces),
        pods: PodChoice::Labelled(pods),
    });
    read(faults, rank, scope, &spec.destinations, &spec.pool, spec.address.as_deref(), spec.when_unavailable)
}

fn read(
    mut faults: Faults,
    rank: Rank,
    pods: Option<PodScope>,
    destinations: &[Destination],
    pool: &str,
    address: Option<&str>,
    when_unavailable: egret_api::WhenUnavailable,
) -> Result<Intent, Vec<Fault>> {
    faults.at_most(destinations, 256, "spec.destinations");
    let mut traffic = Vec::new();
    for (i, d) in destinations.iter().take(256).enumerate() {
        traffic.extend(destination(&mut faults, d, &format!("spec.destinations[{i}]")));
    }
    if destinations.is_empty() {
        traffic = everywhere();
    }
    if pool.is_empty() {
        faults.0.push(Fault::invalid("spec.pool", "no pool is named", "name an EgressPool"));
    }
    let address = address.and_then(|a| faults.take(read_address(a, "spec.address")));
    let pool = ObjectKey { kind: Kind::EgressPool, namespace: String::new(), name: pool.to_owned() };
    let (pods, pool) = (pods.into_iter().collect(), Some(pool));
    faults.or(Some(Intent {
        rank,
        pods,
        traffic,
        pool,
        address,
        when_unavailable,
        frontends: BTreeSet::new(),
        beside: Beside::Nobody,
        remarks: Vec::new(),
    }))
}

fn destination(faults: &mut Faults, d: &Destination, field: &str) -> Option<Traffic> {
    faults.at_most(&d.except, 64, &format!("{field}.except"));
    faults.at_most(&d.ports, 16, &format!("{field}.ports"));
    let net = faults.take(read_net(&d.cidr, &format!("{field}.cidr")));
    let mut except = Vec::new();
    for (i, text) in d.except.iter().take(64).enumerate() {
        let field = format!("{field}.except[{i}]");
        let Some(inner) = faults.take(read_net(text, &field)) else { continue };
        match net {
            Some(net) if !net.contains(&inner) => faults.0.push(Fault::invalid(
                field,
                format!("{inner} is not inside {net}"),
                "name a network inside the destination's cidr",
            )),
            _ => except.push(inner),
        }
    }
    let ports: Vec<PortMatch> = (d.ports.iter().take(16).enumerate())
        .filter_map(|(i, p)| faults.take(port(p, &format!("{field}.ports[{i}]"))))
        .collect();
    let ports = if d.ports.is_empty() { vec![PortMatch::Any] } else { ports };
    Some(Traffic { net: net?, except, ports })
}

fn port(p: &Port, field: &str) -> Result<PortMatch, Fault> {
    let last = p.end_port.unwrap_or(p.port);
    if p.port == 0 {
        return Err(Fault::invalid(format!("{field}.port"), "0 is no port", "write a port from 1 to 65535"));
    }
    if last < p.port {
        return Err(Fault::invalid(
            format!("{field}.endPort"),
            format!("{last} is below port {}", p.port),
            "write an endPort that is not below port",
        ));
    }
    Ok(match p.protocol {
        Protocol::Tcp => PortMatch::Tcp(p.port, last),
        Protocol::Udp => PortMatch::Udp(p.port, last),
    })
}

/// Reads an EgressPool.
pub(crate) fn pool(object: &Object, spec: &EgressPoolSpec) -> Result<Pool, Vec<Fault>> {
    let mut faults = Faults(Vec::new());
    faults.at_most(&spec.ranges, 64, "spec.ranges");
    match (&spec.node_address, &spec.interface, spec.ranges.is_empty()) {
        (None, _, true) => {
            faults.0.push(Fault::invalid("spec.ranges", "the pool has no range", "add a range"));
        }
        (Some(_), _, false) => {
            let message = "is given beside ranges";
            let cure = "keep one of the two, and write another pool for the other";
            faults.0.push(Fault::invalid("spec.nodeAddress", message, cure));
        }
        (Some(_), None, true) => {
            let message = "is missing: nodeAddress is the address of an interface";
            faults.0.push(Fault::invalid("spec.interface", message, "write the interface's name"));
        }
        _ => {}
    }
    let ranges: Vec<Range> = (spec.ranges.iter().take(64).enumerate())
        .filter_map(|(i, r)| faults.take(range(r, &format!("spec.ranges[{i}]"))))
        .collect();
    let nodes = faults.take(Selector::read(&spec.node_selector, "spec.nodeSelector"));
    let grant = spec.namespaces.as_ref().map(|grant| {
        faults.at_most(&grant.names, 1024, "spec.namespaces.names");
        let read = |s| Selector::read(s, "spec.namespaces.selector");
        Grant {
            names: grant.names.clone(),
            selector: grant.selector.as_ref().and_then(|s| faults.take(read(s))),
        }
    });
    faults.0.extend(bounds::ports(&spec.ports));
    faults.0.extend(bounds::timeouts(&spec.timeouts));
    faults.or(nodes.map(|nodes| Pool {
        key: object.key(),
        created: object.metadata().creation_timestamp.as_ref().map(|t| t.0),
        ranges,
        node_address: spec.node_address.as_ref().map(|own| own.family),
        shared: None,
        nodes,
        suitable_nodes: false,
        interface: spec.interface.clone().filter(|i| !i.is_empty()),
        grant: grant.unwrap_or_default(),
        ports: spec.ports.clone(),
        timeouts: spec.timeouts,
    }))
}

fn range(r: &AddressRange, field: &str) -> Result<Range, Fault> {
    match (&r.cidr, &r.start, &r.end) {
        (Some(cidr), None, None) => Ok(Range::of_net(read_net(cidr, &format!("{field}.cidr"))?)),
        (None, Some(start), Some(end)) => span(start, end, field),
        _ => Err(Fault::invalid(
            field,
            "a range is either cidr, or start and end",
            "write one of the two forms",
        )),
    }
}

/// A range from a start and an end.
pub(crate) fn span(start: &str, end: &str, field: &str) -> Result<Range, Fault> {
    let first = read_address(start, &format!("{field}.start"))?;
    let last = read_address(end, &format!("{field}.end"))?;
    Range::new(first, last).ok_or_else(|| {
        let message = format!("{end} does not follow {start}");
        Fault::invalid(format!("{field}.end"), message, "write an end of the same family, not below start")
    })
}

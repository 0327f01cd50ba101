//! From objects to what is shown of them. What is wrong is judged by the code of `egret check installation`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use anyhow::Result;
use egret_api::{EgressAddressSpec, EgressNodeSpec, Kind, Object};
use egret_check::installation::{Facts, Parts, judge_objects};
use egret_check::{Finding, Report};
use egret_plan::World;
use egret_store::Problem;
use serde::Serialize;
use serde_json::Value;

use crate::ports::records;

/// How things are.
#[derive(Serialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Egress addresses in use.
    pub addresses: Vec<Address>,
    /// Nodes that may serve one of them.
    pub gateways: Vec<Gateway>,
    /// Policies and pools, by kind.
    pub objects: Vec<Objects>,
    /// Nodes with an agent.
    pub agents: Vec<Agent>,
    /// What was judged, as by `egret check installation`.
    #[serde(flatten)]
    pub report: Report,
    /// What the store has and nobody can read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// An egress address.
#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Address {
    /// It.
    pub address: IpAddr,
    /// As `Kind/name`.
    pub pool: String,
    /// The gateways that say that they hold it: one, or for a moment two or none.
    pub active: Vec<String>,
    /// Why it is they.
    pub why: String,
    /// Nodes that may serve it, in the order in which they would.
    pub candidates: Vec<String>,
    /// Policies that use it, as `Kind namespace/name`.
    pub policies: Vec<String>,
    /// Ports that are leased, of those that can be.
    pub leased: usize,
    /// Ports that are not.
    pub free: usize,
    /// Nodes that lease some.
    pub nodes: usize,
}

/// A node that may serve an address.
#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Gateway {
    /// Its name.
    pub name: String,
    /// It says that it can carry packets.
    pub ready: bool,
    /// Addresses that it holds now.
    pub holds: Vec<String>,
    /// Addresses that it may serve.
    pub may_serve: usize,
    /// Why it is not ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// The objects of one kind.
#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Objects {
    /// Their kind.
    pub kind: String,
    /// How many there are.
    pub count: usize,
}

/// A node's agent.
#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Agent {
    /// The node.
    pub node: String,
    /// It has reported; it is ready.
    pub ready: bool,
    /// What it waits for.
    pub waiting: Vec<String>,
    /// Flows of its pods.
    pub flows: u64,
}

/// The first port that can be leased, and how many can be.
const PORTS: usize = 65_536 - 1024;
/// The same of an address that is a node's own.
const OWN_PORTS: usize = 65_536 - 40_960;

/// What is to be shown.
///
/// # Errors
/// When an object cannot be written as JSON.
pub fn gather(objects: &[Arc<Object>], problems: &[Problem], namespace: &str) -> Result<Status> {
    let world = World::from_objects(objects.iter().map(|object| (**object).clone()));
    let nodes: BTreeMap<String, &EgressNodeSpec> = objects.iter().filter_map(|object| node(object)).collect();
    let addresses: Vec<Address> =
        records(objects).into_iter().map(|(address, record)| told(&world, &nodes, address, record)).collect();
    let mut may_serve: BTreeMap<&str, usize> = BTreeMap::new();
    for name in addresses.iter().flat_map(|address| &address.candidates) {
        *may_serve.entry(name).or_default() += 1;
    }
    let gateways = may_serve.into_iter().map(|(name, count)| gateway(&nodes, name, count)).collect();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for object in objects.iter().filter(|object| is_of_people(object.kind())) {
        *counts.entry(object.kind().as_str()).or_default() += 1;
    }
    let agents = nodes.iter().map(|(name, spec)| Agent {
        node: name.clone(),
        ready: spec.ready,
        waiting: spec.waiting.clone(),
        flows: spec.ports.values().map(|used| used.flows).sum(),
    });
    let findings = judge_objects(&Facts::of_objects(namespace, env!("CARGO_PKG_VERSION"), parts(objects)?));
    Ok(Status {
        agents: agents.collect(),
        gateways,
        objects: counts.into_iter().map(|(kind, count)| Objects { kind: kind.to_owned(), count }).collect(),
        report: Report::from(
            findings.into_iter().filter(|finding| !is_told_elsewhere(finding)).collect::<Vec<_>>(),
        ),
        problems: problems.iter().map(ToString::to_string).collect(),
        addresses,
    })
}

/// Agents that a table has already are not told again when all is well.
fn is_told_elsewhere(finding: &Finding) -> bool {
    finding.looked_at == "agents" && finding.cure.is_none()
}

fn node(object: &Object) -> Option<(String, &EgressNodeSpec)> {
    match object {
        Object::EgressNode(node) => Some((node.metadata.name.clone().unwrap_or_default(), &node.spec)),
        _ => None,
    }
}

fn is_of_people(kind: Kind) -> bool {
    !matches!(
        kind,
        Kind::Namespace
            | Kind::Node
            | Kind::Pod
            | Kind::Service
            | Kind::EgressAddress
            | Kind::EgressNode
            | Kind::EgressDialect
    )
}

fn parts(objects: &[Arc<Object>]) -> Result<Parts> {
    let mut parts = Parts::default();
    for object in objects {
        let kind = object.kind();
        let to: &mut Vec<Value> = match kind {
            Kind::Node => &mut parts.nodes,
            Kind::EgressNode => &mut parts.records,
            Kind::EgressAddress => &mut parts.addresses,
            Kind::Pod | Kind::Namespace | Kind::EgressDialect => continue,
            _ => {
                parts.objects.push((kind.as_str().to_owned(), object.encode()?));
                continue;
            }
        };
        to.push(object.encode()?);
    }
    Ok(parts)
}

fn holds(spec: &EgressNodeSpec, address: IpAddr) -> bool {
    spec.ready && spec.holds.iter().any(|held| held.parse::<IpAddr>().ok() == Some(address))
}

/// The nodes that hold an address. One that is dead goes on saying so in its last record; the others know better.
fn holding(nodes: &BTreeMap<String, &EgressNodeSpec>, address: IpAddr) -> Vec<String> {
    let claim: Vec<&String> =
        nodes.iter().filter(|(_, spec)| holds(spec, address)).map(|(name, _)| name).collect();
    let most = claim.iter().map(|name| believers(nodes, address, name)).max().unwrap_or(0);
    claim.into_iter().filter(|name| believers(nodes, address, name) == most).cloned().collect()
}

/// How many other nodes take a node for the holder.
fn believers(nodes: &BTreeMap<String, &EgressNodeSpec>, address: IpAddr, holder: &str) -> usize {
    let address = address.to_string();
    let others = nodes.iter().filter(|(name, _)| *name != holder);
    others.filter(|(_, spec)| spec.holders.get(&address).is_some_and(|believed| believed == holder)).count()
}

/// Why a node cannot serve, if it cannot.
fn unready(nodes: &BTreeMap<String, &EgressNodeSpec>, name: &str) -> Option<String> {
    let Some(spec) = nodes.get(name) else { return Some("has never reported".to_owned()) };
    if spec.ready {
        return None;
    }
    Some(match spec.waiting.first() {
        Some(waits) => format!("is not ready: {waits}"),
        None => "is not ready".to_owned(),
    })
}

fn told(
    world: &World,
    nodes: &BTreeMap<String, &EgressNodeSpec>,
    address: IpAddr,
    record: &EgressAddressSpec,
) -> Address {
    let candidates: Vec<String> =
        world.record(address).map(|record| record.ranked().map(str::to_owned).collect()).unwrap_or_default();
    let active: Vec<String> = match record.node_address {
        // The node's kernel answers for its own address, so nobody holds it.
        true => candidates.iter().filter(|name| unready(nodes, name).is_none()).cloned().collect(),
        false => holding(nodes, address),
    };
    let leased = record.leases.len() * usize::from(record.block_size);
    let all = if record.node_address { OWN_PORTS } else { PORTS };
    let name = |claim: &egret_api::Claim| match claim.namespace.as_str() {
        "" => format!("{} {}", claim.kind, claim.name),
        namespace => format!("{} {namespace}/{}", claim.kind, claim.name),
    };
    Address {
        address,
        pool: record.pool.clone(),
        why: why(nodes, address, record.node_address, &active, &candidates),
        active,
        candidates,
        policies: record.claims.iter().map(name).collect(),
        leased,
        free: all.saturating_sub(leased),
        nodes: record.leases.iter().map(|lease| &lease.node).collect::<BTreeSet<_>>().len(),
    }
}

/// Why these gateways are active: the first candidate that lives is, by every node's own reckoning.
fn why(
    nodes: &BTreeMap<String, &EgressNodeSpec>,
    address: IpAddr,
    own: bool,
    active: &[String],
    candidates: &[String],
) -> String {
    if candidates.is_empty() {
        return "no node is selected by the pool and has a wire that reaches it".to_owned();
    }
    if own {
        return "it is the node's own address".to_owned();
    }
    let one = match active {
        [] => {
            let reasons: Vec<String> = candidates
                .iter()
                .map(|name| {
                    format!(
                        "{name} {}",
                        unready(nodes, name).unwrap_or_else(|| "does not hold it".to_owned())
                    )
                })
                .collect();
            return reasons.join("; ");
        }
        [one] => one,
        several => return format!("{} say so: it is being handed over", several.len()),
    };
    let before: Vec<&String> = candidates.iter().take_while(|name| *name != one).collect();
    if before.is_empty() {
        return format!("it comes first of {}", candidates.len());
    }
    let missed = |name: &&String| {
        let unready = unready(nodes, name);
        let why = unready.unwrap_or_else(|| match believers(nodes, address, one) {
            0 => "has not taken over yet".to_owned(),
            count => format!("does not answer: {one} is the holder for {count} other nodes"),
        });
        format!("{name} comes before it and {why}")
    };
    before.iter().map(missed).collect::<Vec<_>>().join("; ")
}

fn gateway(nodes: &BTreeMap<String, &EgressNodeSpec>, name: &str, may_serve: usize) -> Gateway {
    let spec = nodes.get(name);
    let wires = spec.map(|spec| spec.wires.as_slice()).unwrap_or_default();
    let dark =
        wires.iter().find(|wire| !wire.carrier).map(|wire| format!("{} has no carrier", wire.interface));
    Gateway {
        name: name.to_owned(),
        ready: spec.is_some_and(|spec| spec.ready),
        holds: spec.map(|spec| spec.holds.clone()).unwrap_or_default(),
        may_serve,
        why: unready(nodes, name).or(dark),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ports::tests::world;

    fn with_nodes(nodes: &[(&str, Value)]) -> Status {
        let mut objects = world();
        for (name, spec) in nodes {
            let record = json!({"metadata": {"name": name}, "spec": spec});
            objects.push(Arc::new(Kind::EgressNode.decode(record).unwrap()));
        }
        gather(&objects, &[], "egret-system").unwrap()
    }

    #[test]
    fn an_address_says_who_serves_it_and_why() {
        let of = |spec: Value| with_nodes(&[("gateway", spec)]).addresses.remove(0);
        let served = of(json!({"ready": true, "holds": ["192.0.2.11"]}));
        assert_eq!((served.active, served.why.as_str()), (vec!["gateway".to_owned()], "it comes first of 1"));
        assert_eq!((served.leased, served.free, served.nodes), (768, 64_512 - 768, 2));
        let waits = of(json!({"ready": false, "waiting": ["a wire"], "holds": ["192.0.2.11"]}));
        assert_eq!((waits.active, waits.why.as_str()), (vec![], "gateway is not ready: a wire"));
        let silent = with_nodes(&[]).addresses.remove(0);
        assert_eq!(silent.why, "gateway has never reported");
    }

    #[test]
    fn who_is_dead_says_what_it_said_last_and_the_others_know_better() {
        let spec = |holder: &str, holds: &[&str]| json!({"ready": true, "holds": holds, "holders": {"192.0.2.11": holder}});
        let mut objects = world();
        let record = json!({"metadata": {"name": "192-0-2-11"}, "spec": {"address": "192.0.2.11", "pool": "EgressPool/prod",
            "candidates": ["x", "y"], "blockSize": 256, "revision": 3, "claims": [], "leases": []}});
        objects[0] = Arc::new(Kind::EgressAddress.decode(record).unwrap());
        let first = gather(&objects, &[], "egret-system").unwrap().addresses.remove(0).candidates;
        let (dead, alive) = (first[0].as_str(), first[1].as_str());
        let all = ["192.0.2.11"];
        for (name, spec) in [(dead, spec(dead, &all)), (alive, spec(alive, &all)), ("c", spec(alive, &[]))] {
            let record = json!({"metadata": {"name": name}, "spec": spec});
            objects.push(Arc::new(Kind::EgressNode.decode(record).unwrap()));
        }
        let address = gather(&objects, &[], "egret-system").unwrap().addresses.remove(0);
        assert_eq!(address.active, [alive]);
        assert_eq!(
            address.why,
            format!("{dead} comes before it and does not answer: {alive} is the holder for 1 other nodes")
        );
    }

    #[test]
    fn what_is_wrong_is_what_the_check_says() {
        let status = with_nodes(&[("gateway", json!({"ready": false}))]);
        assert_eq!(status.report.verdict, egret_check::Verdict::Failure);
        let found: Vec<&str> = status.report.findings.iter().map(|finding| finding.found.as_str()).collect();
        assert!(found.iter().any(|found| found.contains("nobody holds 192.0.2.11")), "{found:?}");
    }
}

//! What the planner keeps of the cluster's objects: the few facts that decide, read once.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use egret_api::{EgressAddress, EgressAddressSpec, EgressNode, EgressNodeSpec};
use ipnet::IpNet;
use k8s_openapi::api::core::v1::{Node, Pod};

use crate::elect;
use crate::range::{host, parse_net};
use crate::select::Labels;
use crate::tables::Mac;

/// A pod that has a network of its own, runs on a node and has not finished. Others are nobody's business here.
#[derive(Clone, Debug, PartialEq)]
pub struct PodFacts {
    /// Its node.
    pub node: String,
    /// Its labels.
    pub labels: Labels,
    /// Its addresses, of both families.
    pub addresses: BTreeSet<IpAddr>,
}

impl PodFacts {
    /// Reads a pod; `None` for pods that no policy ever selects.
    pub fn read(pod: &Pod) -> Option<PodFacts> {
        let (spec, status) = (pod.spec.as_ref()?, pod.status.as_ref());
        let finished = matches!(status.and_then(|s| s.phase.as_deref()), Some("Succeeded" | "Failed"));
        if spec.host_network == Some(true) || finished {
            return None;
        }
        let several = status.and_then(|s| s.pod_ips.as_ref()).into_iter().flatten().map(|ip| &ip.ip);
        let one = status.and_then(|s| s.pod_ip.as_ref());
        let usable = |ip: &IpAddr| !ip.is_unspecified() && !ip.is_loopback() && !ip.is_multicast();
        Some(PodFacts {
            node: spec.node_name.clone().filter(|n| !n.is_empty())?,
            labels: pod.metadata.labels.clone().unwrap_or_default(),
            addresses: several.chain(one).filter_map(|ip| read(ip)).filter(usable).collect(),
        })
    }
}

/// A node as the cluster describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeFacts {
    /// Its labels.
    pub labels: Labels,
    /// Networks of its pods.
    pub pod_networks: BTreeSet<IpNet>,
    /// Every address that it is known by.
    pub addresses: BTreeSet<IpAddr>,
    /// Its addresses between nodes (`InternalIP`), in the order given.
    pub internal: Vec<IpAddr>,
}

impl NodeFacts {
    /// Reads a node.
    pub fn read(node: &Node) -> NodeFacts {
        let spec = node.spec.as_ref();
        let several = spec.and_then(|s| s.pod_cidrs.as_ref()).into_iter().flatten();
        let one = spec.and_then(|s| s.pod_cidr.as_ref());
        let given = node.status.as_ref().and_then(|s| s.addresses.as_ref()).into_iter().flatten();
        let given: Vec<(&str, IpAddr)> =
            given.filter_map(|a| read(&a.address).map(|ip| (a.type_.as_str(), ip))).collect();
        NodeFacts {
            labels: node.metadata.labels.clone().unwrap_or_default(),
            // A network of prefix 0 would put the whole world inside the cluster.
            pod_networks: several
                .chain(one)
                .filter_map(|c| parse_net(c))
                .filter(|n| n.prefix_len() > 0)
                .collect(),
            addresses: given.iter().map(|(_, ip)| *ip).collect(),
            internal: given.iter().filter(|(kind, _)| *kind == "InternalIP").map(|(_, ip)| *ip).collect(),
        }
    }
}

/// A node's own report.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// As written.
    pub spec: EgressNodeSpec,
    /// The node's underlay address.
    pub underlay: Option<IpAddr>,
    /// Its link-layer address on the underlay.
    pub mac: Option<Mac>,
    /// Wires with their networks.
    pub wires: Vec<ReportedWire>,
    /// For each egress address: the revision that the node has programmed as a gateway.
    pub programmed: BTreeMap<IpAddr, u64>,
    /// Egress addresses that it answers for.
    pub holds: BTreeSet<IpAddr>,
}

/// A wire in a report.
#[derive(Clone, Debug, PartialEq)]
pub struct ReportedWire {
    /// Name of the interface.
    pub interface: String,
    /// Addresses with prefix length.
    pub addresses: Vec<IpNet>,
    /// It has a carrier.
    pub carrier: bool,
}

impl ReportedWire {
    /// The wire can carry an egress address: it is the one that the pool names, or its subnet holds the address.
    pub fn reaches(&self, interface: Option<&str>, address: IpAddr) -> bool {
        reaches(interface, address, &self.interface, &self.addresses)
    }
}

/// A wire of this name and these subnets can carry the address of a pool that may name an interface.
pub(crate) fn reaches<'a>(
    wanted: Option<&str>,
    address: IpAddr,
    interface: &str,
    subnets: impl IntoIterator<Item = &'a IpNet>,
) -> bool {
    match wanted {
        Some(wanted) => wanted == interface,
        None => subnets.into_iter().any(|n| n.contains(&address)),
    }
}

impl Report {
    /// Reads a report; what cannot be read is left out.
    pub fn read(node: &EgressNode) -> Report {
        let spec = node.spec.clone();
        let wires = spec.wires.iter().map(|w| ReportedWire {
            interface: w.interface.clone(),
            addresses: w.addresses.iter().filter_map(|a| a.parse().ok()).collect(),
            carrier: w.carrier,
        });
        Report {
            underlay: read(&spec.underlay),
            mac: spec.underlay_mac.as_deref().and_then(read_mac),
            wires: wires.collect(),
            programmed: spec.programmed.iter().filter_map(|(a, r)| Some((read(a)?, *r))).collect(),
            holds: spec.holds.iter().filter_map(|a| read(a)).collect(),
            spec,
        }
    }

    /// The wire that can carry an address, if there is one.
    pub fn wire(&self, interface: Option<&str>, address: IpAddr) -> Option<&ReportedWire> {
        self.wires.iter().find(|w| w.reaches(interface, address))
    }

    /// Addresses of the node itself that the report adds to the cluster's inside.
    pub fn inside(&self) -> impl Iterator<Item = IpNet> {
        self.wires.iter().flat_map(|w| &w.addresses).map(|n| host(n.addr().to_canonical()))
    }
}

/// A record of an egress address.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// As written.
    pub spec: EgressAddressSpec,
    /// The address.
    pub address: IpAddr,
    /// Candidates, the one that holds the address if all live first.
    pub ranking: Vec<String>,
}

impl Record {
    /// Reads a record; `None` if its address cannot be read.
    pub fn read(record: &EgressAddress) -> Option<Record> {
        let (spec, address) = (record.spec.clone(), read(&record.spec.address)?);
        let ranking = elect::ranking(address, &spec.candidates);
        Some(Record { spec, address, ranking })
    }
}

/// The name of an address's record: the address with `-` for `.` and `:`, all eight groups written.
pub fn record_name(address: IpAddr) -> String {
    match address {
        IpAddr::V4(a) => a.octets().map(|o| o.to_string()).join("-"),
        IpAddr::V6(a) => a.segments().map(|s| format!("{s:x}")).join("-"),
    }
}

fn read(text: &str) -> Option<IpAddr> {
    text.parse::<IpAddr>().ok().map(|a| a.to_canonical())
}

fn read_mac(text: &str) -> Option<Mac> {
    let bytes: Vec<u8> = text.split(':').map(|b| u8::from_str_radix(b, 16)).collect::<Result<_, _>>().ok()?;
    bytes.try_into().ok()
}

//! What the planner keeps of the cluster's objects: the few facts that decide, read once.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use egret_api::{EgressAddress, EgressAddressSpec, EgressNode, PortUse};
use ipnet::IpNet;
use k8s_openapi::api::core::v1::Node;

use crate::elect;
use crate::range::{host, parse_net};
use crate::select::Labels;
use crate::tables::Mac;

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
    /// It is Ready, as far as it says, and not cordoned.
    pub suitable: bool,
}

impl NodeFacts {
    /// Reads a node.
    pub fn read(node: Node) -> NodeFacts {
        let spec = node.spec.unwrap_or_default();
        let conditions = node.status.as_ref().and_then(|s| s.conditions.as_ref()).into_iter().flatten();
        let unready = conditions.filter(|c| c.type_ == "Ready").any(|c| c.status != "True");
        let suitable = !unready && spec.unschedulable != Some(true);
        let networks = spec.pod_cidrs.into_iter().flatten().chain(spec.pod_cidr);
        let given = node.status.and_then(|s| s.addresses).into_iter().flatten();
        let given: Vec<(String, IpAddr)> =
            given.filter_map(|a| read(&a.address).map(|ip| (a.type_, ip))).collect();
        NodeFacts {
            labels: node.metadata.labels.unwrap_or_default(),
            // A network of prefix 0 would put the whole world inside the cluster.
            pod_networks: networks.filter_map(|c| parse_net(&c)).filter(|n| n.prefix_len() > 0).collect(),
            addresses: given.iter().map(|(_, ip)| *ip).collect(),
            internal: given.iter().filter(|(kind, _)| *kind == "InternalIP").map(|(_, ip)| *ip).collect(),
            suitable,
        }
    }

    /// Without what only gateways are chosen by.
    pub(crate) fn for_a_node(self) -> NodeFacts {
        NodeFacts { labels: Labels::new(), ..self }
    }

    /// What the node adds to the cluster's inside.
    pub fn inside(&self) -> Vec<IpNet> {
        self.pod_networks.iter().copied().chain(self.addresses.iter().copied().map(host)).collect()
    }
}

/// A node's own report.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// The node's underlay address.
    pub underlay: Option<IpAddr>,
    /// Its link-layer address on the underlay.
    pub mac: Option<Mac>,
    /// Wires with their networks.
    pub wires: Vec<ReportedWire>,
    /// For each egress address that it can serve: the revision that it has programmed.
    pub programmed: BTreeMap<IpAddr, u64>,
    /// For each egress address that its pods use: how its ports are used.
    pub ports: BTreeMap<IpAddr, PortUse>,
    /// Egress addresses that it answers for.
    pub holds: BTreeSet<IpAddr>,
    /// For each egress address that it uses or serves: whom it believes to be the holder.
    pub holders: BTreeMap<IpAddr, String>,
    /// Gateways that it exchanges packets with without tunnel.
    pub links: BTreeSet<String>,
    /// Its programs are attached and its first plan is in force.
    pub ready: bool,
}

/// A wire in a report.
#[derive(Clone, Debug, PartialEq)]
pub struct ReportedWire {
    /// Name of the interface.
    pub interface: String,
    /// Addresses with prefix length.
    pub addresses: Vec<IpNet>,
    /// The first of a family, where it is not the first of `addresses`.
    pub primary: Vec<IpAddr>,
    /// It has a carrier.
    pub carrier: bool,
}

impl ReportedWire {
    /// The wire can carry an egress address: it is the one that the pool names, or its subnet holds the address.
    pub fn reaches(&self, interface: Option<&str>, address: IpAddr) -> bool {
        reaches(interface, address, &self.interface, &self.addresses)
    }

    /// The interface's first address of a family.
    pub fn first(&self, v6: bool) -> Option<IpAddr> {
        let addresses = self.addresses.iter().map(|net| net.addr().to_canonical());
        self.primary.iter().copied().chain(addresses).find(|address| address.is_ipv6() == v6)
    }
}

/// One of these is the address itself.
pub(crate) fn has_address<'a>(addresses: impl IntoIterator<Item = &'a IpNet>, address: IpAddr) -> bool {
    addresses.into_iter().any(|net| net.addr().to_canonical() == address)
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
    /// Nothing differs that other nodes plan by, but which ports are programmed.
    pub(crate) fn same_but_for_ports(&self, other: &Report) -> bool {
        let Report { underlay, mac, wires, links, ready, programmed: _, ports: _, holds: _, holders: _ } =
            self;
        (underlay, mac, wires, links, ready)
            == (&other.underlay, &other.mac, &other.wires, &other.links, &other.ready)
    }

    /// Reads a report; what cannot be read is left out.
    pub fn read(node: &EgressNode) -> Report {
        let spec = &node.spec;
        let wires = spec.wires.iter().map(|w| ReportedWire {
            interface: w.interface.clone(),
            addresses: w.addresses.iter().filter_map(|a| a.parse().ok()).collect(),
            primary: w.primary.iter().filter_map(|a| read(a)).collect(),
            carrier: w.carrier,
        });
        Report {
            underlay: read(&spec.underlay),
            mac: spec.underlay_mac.as_deref().and_then(read_mac),
            wires: wires.collect(),
            programmed: spec.programmed.iter().filter_map(|(a, r)| Some((read(a)?, *r))).collect(),
            ports: spec.ports.iter().filter_map(|(a, p)| Some((read(a)?, p.clone()))).collect(),
            holds: spec.holds.iter().filter_map(|a| read(a)).collect(),
            holders: spec.holders.iter().filter_map(|(a, h)| Some((read(a)?, h.clone()))).collect(),
            links: spec.links.iter().cloned().collect(),
            ready: spec.ready,
        }
    }

    /// Without what ports are leased by, and what other nodes than this one may know of each other.
    pub(crate) fn for_node(self, planner: &str) -> Report {
        let links = self.links.into_iter().filter(|name| name == planner).collect();
        Report { ports: BTreeMap::new(), holders: BTreeMap::new(), links, ..self }
    }

    /// The wire that can carry an address, if there is one.
    pub fn wire(&self, interface: Option<&str>, address: IpAddr) -> Option<&ReportedWire> {
        self.wires.iter().find(|w| w.reaches(interface, address))
    }

    /// The wire that has an address itself.
    pub fn own_wire(&self, address: IpAddr) -> Option<&ReportedWire> {
        self.wires.iter().find(|wire| has_address(&wire.addresses, address))
    }

    /// The wire that carries packets of a record's address.
    pub fn wire_of(&self, record: &EgressAddressSpec, address: IpAddr) -> Option<&ReportedWire> {
        match record.node_address {
            true => self.own_wire(address),
            false => self.wire(record.interface.as_deref(), address),
        }
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
    /// Places in the list of candidates, the one that holds the address if all live first.
    order: Vec<usize>,
}

impl Record {
    /// Reads a record; `None` if its address cannot be read, or another name belongs to it.
    pub fn read(record: EgressAddress) -> Option<Record> {
        let (name, spec) = (record.metadata.name, record.spec);
        let address = read(&spec.address).filter(|a| name == Some(record_name(*a)))?;
        let order = elect::order(address, &spec.candidates, &spec.preferred);
        Some(Record { spec, address, order })
    }

    /// Nothing differs but who leases which ports, and how these are shared.
    pub(crate) fn same_but_for_leases(&self, other: &Record) -> bool {
        let EgressAddressSpec { pool, interface, claims, candidates, preferred, node_address, .. } =
            &self.spec;
        let new = &other.spec;
        (pool, interface, claims, candidates, preferred, node_address)
            == (&new.pool, &new.interface, &new.claims, &new.candidates, &new.preferred, &new.node_address)
    }

    /// The candidates in the order in which they hold the address: the first living one does.
    pub fn ranked(&self) -> impl Iterator<Item = &str> {
        self.order.iter().filter_map(|at| self.spec.candidates.get(*at)).map(String::as_str)
    }

    /// The holder, given who lives.
    pub fn holder(&self, lives: impl Fn(&str) -> bool) -> Option<&str> {
        self.ranked().find(|candidate| lives(candidate))
    }

    /// The node is a candidate. The list is sorted when the controller writes it, but need not be.
    pub fn has_candidate(&self, node: &str) -> bool {
        self.spec.candidates.iter().any(|c| c == node)
    }
}

/// The name of an address's record: the address with `-` for `.` and `:`, all eight groups written.
pub fn record_name(address: IpAddr) -> String {
    match address {
        IpAddr::V4(a) => a.octets().map(|o| o.to_string()).join("-"),
        IpAddr::V6(a) => a.segments().map(|s| format!("{s:x}")).join("-"),
    }
}

/// The address whose record has this name.
pub fn address_of_record(name: &str) -> Option<IpAddr> {
    let parts: Vec<&str> = name.split('-').collect();
    let text = if parts.len() == 4 { parts.join(".") } else { parts.join(":") };
    read(&text).filter(|a| record_name(*a) == name)
}

fn read(text: &str) -> Option<IpAddr> {
    text.parse::<IpAddr>().ok().map(|a| a.to_canonical())
}

fn read_mac(text: &str) -> Option<Mac> {
    let bytes: Vec<u8> = text.split(':').map(|b| u8::from_str_radix(b, 16)).collect::<Result<_, _>>().ok()?;
    bytes.try_into().ok()
}

//! The plan of one node: what its kernel must hold, whom it must probe, and what it has to report.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use egret_api::{Family, ObjectKey, WhenUnavailable};
use ipnet::IpNet;

use crate::elect;
use crate::facts::{Record, Report, has_address, reaches};
use crate::guard;
use crate::hops::hops;
use crate::inside::{self, ClusterSettings};
use crate::intent::{Intent, Rank, Traffic, reference};
use crate::link::LinkProbe;
use crate::local::{Local, LocalWire, PodLink, SecondLink};
use crate::rules::{self, Layer, RuleSet, Verdict};
use crate::tables::{
    EgressEntry, LinkIndex, MAX_BLOCKS, NodeEntry, Path, PodEntry, PortMatch, ServedEntry, Settings, Tables,
};
use crate::world::{PodFacts, World};

/// The plan of one node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodePlan {
    /// What the kernel must hold.
    pub tables: Tables,
    /// Gateways to probe, with their underlay addresses.
    pub probes: BTreeMap<String, IpAddr>,
    /// How to try the links to gateways on the same link, by gateway and whether the datagram is IPv6.
    pub link_probes: BTreeMap<(String, bool), LinkProbe>,
    /// Gateways with which packets go without tunnel, as far as this node has a say.
    pub links: BTreeSet<String>,
    /// For each egress address that the node uses or can serve: the holder, if a candidate lives.
    pub holders: BTreeMap<IpAddr, String>,
    /// Egress addresses that the node holds, with the wire.
    pub holds: BTreeMap<IpAddr, LinkIndex>,
    /// For each egress address that the node can serve: the revision that is programmed once the tables are.
    pub programmed: BTreeMap<IpAddr, u64>,
    /// What waits, and for what, but for what is in `waiting_for_ports`.
    pub waiting: Vec<String>,
    /// Egress addresses without ports that this node may use, and what they wait for.
    pub waiting_for_ports: BTreeMap<IpAddr, String>,
}

impl NodePlan {
    /// All that waits, and for what.
    pub fn waits(&self) -> impl Iterator<Item = &String> {
        self.waiting.iter().chain(self.waiting_for_ports.values())
    }
}

/// Plans one node.
pub fn plan(world: &World, settings: &ClusterSettings, local: &Local) -> NodePlan {
    let mut planner = Planner::new(world, local);
    planner.plan.tables.settings = Settings {
        unknown_pods: local.unknown_pods,
        overlay_mtu: local.overlay_mtu,
        hops: hops(&local.underlay, &local.wires),
    };
    planner.plan.tables.inside = inside::networks(world, settings);
    planner.nodes();
    planner.pods();
    planner.left();
    planner.serve();
    planner.plan
}

/// What a policy does now, with what the records say of its address.
pub(crate) fn verdict(world: &World, intent: &Intent, lives: impl Fn(&Record, &str) -> bool) -> Verdict {
    let usable = |record: &&Record| {
        intent.pool.as_ref().is_none_or(|pool| match node_address(world, pool) {
            Some(_) => record.spec.node_address,
            None => record.spec.pool == reference(pool),
        }) && intent.address.is_none_or(|asked| asked == record.address)
    };
    let claim = intent.rank.claim();
    let mut records: Vec<&Record> = world.records_claimed_by(&claim).filter(usable).collect();
    let carried = |record: &Record| record.holder(|c| lives(record, c)).is_some();
    if let Some(pool) = intent.pool.as_ref().filter(|_| records.len() > 1) {
        let pool = reference(pool);
        let node = |record: &Record| record.spec.candidates.first().cloned().unwrap_or_default();
        records.sort_by_cached_key(|record| Reverse(elect::preference(&pool, &node(record))));
    }
    let record = records.iter().copied().find(|record| carried(record)).or(records.first().copied());
    let carried = record.is_some_and(carried);
    match (record, intent.when_unavailable) {
        (_, WhenUnavailable::Bypass) if !carried => Verdict::Ordinary,
        (Some(record), _) => Verdict::Egress(record.address),
        (None, _) => Verdict::Drop,
    }
}

/// The family of a pool of nodes' own addresses.
fn node_address(world: &World, pool: &ObjectKey) -> Option<Family> {
    world.pools().get(pool)?.meaning.as_ref().ok()?.node_address
}

/// Compiles the rules of a pod that these policies select.
pub(crate) fn compile(world: &World, intents: &[Arc<Intent>], verdicts: &[Verdict]) -> RuleSet {
    rules::compile(&layers(world, intents, verdicts))
}

fn layers<'a>(world: &World, intents: &'a [Arc<Intent>], verdicts: &[Verdict]) -> Vec<Layer<'a>> {
    intents
        .iter()
        .zip(verdicts)
        .map(|(intent, verdict)| {
            let (v4, v6) = families(world, intent, *verdict);
            Layer { traffic: &intent.traffic, verdict: *verdict, v4, v6 }
        })
        .collect()
}

/// The families that a policy captures: its address's; without an address those that its pool could give.
pub(crate) fn families(world: &World, intent: &Intent, verdict: Verdict) -> (bool, bool) {
    let one = |address: IpAddr| (address.is_ipv4(), address.is_ipv6());
    match (verdict, intent.address) {
        (Verdict::Egress(address), _) | (_, Some(address)) => one(address),
        _ => {
            let pool =
                intent.pool.as_ref().and_then(|p| world.pools().get(p)).and_then(|p| p.meaning.as_ref().ok());
            if let Some(family) = pool.and_then(|p| p.node_address) {
                return (family == Family::IPv4, family == Family::IPv6);
            }
            let ranges = pool.map(|p| p.ranges.as_slice()).unwrap_or_default();
            let has = |v4: bool| ranges.is_empty() || ranges.iter().any(|r| r.first.is_ipv4() == v4);
            (has(true), has(false))
        }
    }
}

pub(crate) struct Planner<'a> {
    pub(crate) world: &'a World,
    pub(crate) local: &'a Local,
    /// Gateways believed alive, with what they report.
    alive: BTreeMap<&'a str, Option<&'a Report>>,
    /// The candidates that were noted for probing last: those of the next address are mostly the same.
    noted: &'a [String],
    /// Underlay addresses of nodes that lease ports.
    sources: BTreeMap<&'a str, Option<IpAddr>>,
    pub(crate) plan: NodePlan,
}

impl<'a> Planner<'a> {
    pub(crate) fn new(world: &'a World, local: &'a Local) -> Self {
        let alive = local.alive.iter().map(|name| (name.as_str(), world.reports().get(name)));
        let (alive, sources) = (alive.collect(), BTreeMap::new());
        Planner { world, local, alive, noted: &[], sources, plan: NodePlan::default() }
    }

    /// A node's address between nodes, in the family that this node uses.
    pub(crate) fn underlay(&self, node: &str) -> Option<IpAddr> {
        self.world.underlay(node, Some(self.local.underlay.address))
    }

    /// The wire of this node that can carry an address.
    fn wire(&self, record: &Record) -> Option<&'a LocalWire> {
        let interface = record.spec.interface.as_deref();
        self.local.wires.iter().find(|w| match record.spec.node_address {
            true => has_address(&w.addresses, record.address),
            false => reaches(interface, record.address, &w.interface, &w.addresses),
        })
    }

    /// A candidate can carry packets of an address now, as far as this node believes.
    pub(crate) fn lives(&self, record: &Record, candidate: &str) -> bool {
        let Some(report) = self.alive.get(candidate) else { return false };
        if candidate == self.local.node {
            return self.wire(record).is_some_and(|w| w.carrier);
        }
        // Every node reads the same reports, so all leave out a gateway whose other wire is cut.
        let wire = report.and_then(|r| r.wire_of(&record.spec, record.address));
        // An address that has left its node is not there, whatever else the node can carry.
        wire.map_or(!record.spec.node_address, |w| w.carrier)
    }

    fn nodes(&mut self) {
        let own = self.local.node.as_str();
        let others = self.world.underlays(self.local.underlay.address).filter(|(name, ..)| *name != own);
        let entry = |(_, address, report): (&str, IpAddr, Option<&Report>)| {
            let mac = self.neighbour(report, address);
            // The node found that packets without tunnel from this one reach it.
            let direct = mac.is_some() && report.is_some_and(|r| r.links.contains(own));
            (address, NodeEntry { mac, direct })
        };
        self.plan.tables.nodes = others.map(entry).collect();
    }

    fn pods(&mut self) {
        let node = self.world.nodes().get(&self.local.node);
        self.plan.tables.guard.pod_networks = node.map(|n| n.pod_networks.clone()).unwrap_or_default();
        let mut compiled: BTreeMap<Vec<&Rank>, Arc<RuleSet>> = BTreeMap::new();
        let own = |(_, pod): &(_, &PodFacts)| pod.network.is_none();
        for (key, pod) in self.world.pods_on(&self.local.node).filter(own) {
            let intents = &pod.policies;
            let ranks: Vec<&Rank> = intents.iter().map(|i| &i.rank).collect();
            let set = match compiled.get(&ranks) {
                Some(set) => set.clone(),
                None => {
                    let set = Arc::new(self.rule_set(intents));
                    compiled.insert(ranks, set.clone());
                    set
                }
            };
            self.pod(&format!("{}/{}", key.0, key.1), pod, &set);
        }
        // After all that is the cluster's own, which they cannot be.
        for (key, pod) in self.world.pods_on(&self.local.node).filter(|pod| !own(pod)) {
            self.second(&key.0, &key.1, pod);
        }
    }

    /// A pod in another network than the cluster's, where only what policies select is Egret's business.
    fn second(&mut self, namespace: &str, place: &str, pod: &'a PodFacts) {
        let name = format!("{namespace}/{}", place.split('/').next().unwrap_or_default());
        for address in pod.addresses.iter().filter(|_| !pod.policies.is_empty()) {
            let tables = &self.plan.tables;
            // Whoever writes the pod's annotation may write anybody's address there.
            let taken = tables.pods.contains_key(address)
                || tables.guard.free.contains(address)
                || tables.guard.selected.contains_key(address)
                || tables.inside.iter().any(|net| net.contains(address));
            let link = match (taken, self.local.second_links.get(&(name.clone(), *address))) {
                (true, _) => {
                    Err("is inside the cluster, or another pod's: give each network addresses of its own")
                }
                (false, None) => {
                    Err("is on no veth or macvlan of the pod: only networks of these are served")
                }
                (false, Some(link)) => Ok(*link),
            };
            match link {
                Err(why) => self.plan.waiting.push(format!("pod {namespace}/{place}: {address} {why}")),
                Ok(SecondLink { at, network, shared }) => {
                    let set = self.second_rules(&pod.policies, network);
                    let PodLink { link, mac, host_mac } = at;
                    let entry = PodEntry { link, mac, host_mac, rules: set.id, shared };
                    self.plan.tables.pods.insert(*address, entry);
                    let rules = set.rules.into_iter().map(|(net, list)| ((set.id, net), list));
                    self.plan.tables.rules.extend(rules);
                }
            }
        }
    }

    /// The rules of a pod in another network: its neighbours there are no matter of policies.
    fn second_rules(&mut self, intents: &'a [Arc<Intent>], network: IpNet) -> RuleSet {
        let verdicts = self.verdicts(intents);
        let on_link = [Traffic { net: network.trunc(), except: Vec::new(), ports: vec![PortMatch::Any] }];
        let on_link = Layer { traffic: &on_link, verdict: Verdict::Ordinary, v4: true, v6: true };
        let layers = layers(self.world, intents, &verdicts);
        rules::compile(&[vec![on_link], layers].concat())
    }

    /// The rules of pods that these policies select, and the egress addresses they use.
    fn rule_set(&mut self, intents: &[Arc<Intent>]) -> RuleSet {
        let verdicts = self.verdicts(intents);
        let set = compile(self.world, intents, &verdicts);
        if set.id != 0 {
            self.plan.tables.guard.captured.insert(set.id, guard::captured(&set.rules));
            self.plan.tables.rules.extend(set.rules.iter().map(|(net, list)| ((set.id, *net), list.clone())));
        }
        set
    }

    /// What policies do now, with the egress addresses that they use in the plan.
    fn verdicts(&mut self, intents: &[Arc<Intent>]) -> Vec<Verdict> {
        let verdicts: Vec<Verdict> =
            intents.iter().map(|i| verdict(self.world, i, |r, c| self.lives(r, c))).collect();
        for verdict in &verdicts {
            if let Verdict::Egress(address) = verdict
                && !self.plan.tables.egress.contains_key(address)
                && let Some(record) = self.world.record(*address)
            {
                self.egress(record, true);
            }
        }
        verdicts
    }

    fn pod(&mut self, name: &str, pod: &PodFacts, set: &RuleSet) {
        for address in &pod.addresses {
            let guard = &mut self.plan.tables.guard;
            // Two pods with one address contradict each other: a selected one counts, so nothing leaks.
            if guard.selected.contains_key(address) || (set.id == 0 && guard.free.contains(address)) {
                continue;
            }
            match set.id {
                0 => {
                    guard.free.insert(*address);
                }
                id => {
                    guard.free.remove(address);
                    guard.selected.insert(*address, id);
                }
            }
            match self.local.pod_links.get(address) {
                Some(l) => {
                    let entry = PodEntry {
                        link: l.link,
                        mac: l.mac,
                        host_mac: l.host_mac,
                        rules: set.id,
                        shared: false,
                    };
                    self.plan.tables.pods.insert(*address, entry);
                }
                None => self.plan.waiting.push(format!("pod {name}: {address} has no link on this node yet")),
            }
        }
    }

    /// Addresses of nodes that no rule of this node names now: those that stand by, and those that connections have
    /// which began while a rule named them. They end with their address, not with the rule.
    fn left(&mut self) {
        for record in self.world.records_naming(&self.local.node) {
            let leased = || record.spec.leases.iter().any(|lease| lease.node == self.local.node);
            if record.spec.node_address && leased() && !self.plan.tables.egress.contains_key(&record.address)
            {
                self.egress(record, false);
            }
        }
    }

    /// An egress address that pods of this node use, or used. `wanted`: a rule names it.
    fn egress(&mut self, record: &'a Record, wanted: bool) {
        let address = record.address;
        let holder = self.holder(record);
        let here = record.has_candidate(&self.local.node) && self.lives(record, &self.local.node);
        let path = match (here.then(|| self.wire(record)).flatten(), holder) {
            (Some(wire), _) => Path::Wire(wire.link),
            (None, Some(holder)) => self.way_to(holder),
            (None, None) => Path::None,
        };
        let (entry, waits) = self.entry(record, path, wanted);
        if let Some(port) = entry.blocks.first() {
            self.try_links(record, *port);
        }
        self.plan.waiting_for_ports.extend(waits.map(|waits| (address, waits)));
        self.plan.tables.egress.insert(address, entry);
    }

    /// The ports of an egress address from which new flows take one; or what it waits for if there are none.
    /// `wanted`: a rule names the address.
    pub(crate) fn entry(
        &self,
        record: &'a Record,
        path: Path,
        wanted: bool,
    ) -> (EgressEntry, Option<String>) {
        let mine = record.spec.leases.iter().filter(|l| l.node == self.local.node && l.released.is_none());
        let (usable, early): (Vec<_>, Vec<_>) =
            mine.partition(|l| self.unprogrammed(record, l.revision).is_none());
        let waits = (usable.is_empty() && (wanted || !early.is_empty())).then(|| {
            let blocks = match early.first().and_then(|l| self.unprogrammed(record, l.revision)) {
                Some(gateway) => format!("gateway {gateway} to program its ports"),
                None => "the controller to lease ports of it to this node".to_owned(),
            };
            format!("egress address {}: waits for {blocks}", record.address)
        });
        let mut blocks: Vec<u16> = usable.iter().map(|l| l.first_port).collect();
        blocks.sort_unstable();
        blocks.dedup();
        blocks.truncate(MAX_BLOCKS);
        let spec = &record.spec;
        let (block_size, pod_share, timers) = (spec.block_size, spec.pod_share, spec.timeouts.into());
        let node_address = spec.node_address;
        (EgressEntry { path, block_size, blocks, pod_share, timers, node_address }, waits)
    }

    /// Whose ports of an egress address are: by first port, the underlay address of the node.
    pub(crate) fn leases(&mut self, record: &'a Record) -> Vec<((IpAddr, u16), IpAddr)> {
        let own = self.local.underlay.address;
        let mut leases = Vec::with_capacity(record.spec.leases.len());
        for lease in &record.spec.leases {
            let source = match self.sources.get(lease.node.as_str()) {
                Some(source) => *source,
                None => {
                    let source =
                        if lease.node == self.local.node { Some(own) } else { self.underlay(&lease.node) };
                    self.sources.insert(&lease.node, source);
                    source
                }
            };
            leases.extend(source.map(|source| ((record.address, lease.first_port), source)));
        }
        leases
    }

    /// A living candidate that has not programmed a revision yet. This node itself programs it with this plan.
    fn unprogrammed(&self, record: &'a Record, revision: u64) -> Option<&'a str> {
        let programmed = |candidate: &str| {
            let report = self.alive.get(candidate).copied().flatten();
            report.and_then(|r| r.programmed.get(&record.address)).is_some_and(|r| *r >= revision)
        };
        record.ranked().find(|c| *c != self.local.node && self.lives(record, c) && !programmed(c))
    }

    /// Elects the holder of an address and notes whom to probe for it.
    fn holder(&mut self, record: &'a Record) -> Option<&'a str> {
        if self.noted != record.spec.candidates {
            self.noted = &record.spec.candidates;
            for candidate in self.noted.iter().filter(|c| **c != self.local.node) {
                if !self.plan.probes.contains_key(candidate)
                    && let Some(address) = self.underlay(candidate)
                {
                    self.plan.probes.insert(candidate.clone(), address);
                }
            }
        }
        let holder = record.holder(|c| self.lives(record, c))?;
        self.plan.holders.insert(record.address, holder.to_owned());
        Some(holder)
    }

    /// Addresses that this node can serve as a gateway.
    fn serve(&mut self) {
        let (mut served, mut leases) = (Vec::new(), Vec::new());
        for record in self.world.records_naming(&self.local.node) {
            let address = record.address;
            if !record.has_candidate(&self.local.node) {
                continue;
            }
            let holder = self.holder(record);
            let Some(wire) = self.wire(record) else {
                self.plan.waiting.push(format!("egress address {address}: no wire of this node reaches it"));
                continue;
            };
            let node_address = record.spec.node_address;
            // For a node's own address the kernel answers.
            let holds = holder == Some(self.local.node.as_str()) && !node_address;
            if holds {
                self.plan.holds.insert(address, wire.link);
            }
            let block_size = record.spec.block_size;
            let (wire, mac) = (wire.link, wire.mac);
            served.push((address, ServedEntry { wire, mac, holder: holds, block_size, node_address }));
            leases.extend(self.leases(record));
            self.plan.programmed.insert(address, record.spec.revision);
        }
        self.plan.tables.served = served.into_iter().collect();
        self.plan.tables.leases = leases.into_iter().collect();
    }
}

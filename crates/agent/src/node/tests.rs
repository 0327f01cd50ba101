//! The node against a kernel that keeps its tables in memory and fails where it is told to.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use egret_api::{EgressAddress, EgressNode, Kind, Lease, Modes, Object};
use egret_datapath::{AddressUse, ApplyError, DatapathError, GuardDrops, LinkSnapshot, Role, Sweep};
use egret_plan::tables::{Guard, Hops, LinkIndex, Mac, Path, Settings, Tables, UnknownPods};
use egret_plan::{Change, ClusterSettings, LocalWire, PodLink, SecondLink, Steering, Underlay};
use egret_store::Changes;
use serde_json::{Value, json};

use super::{Node, PATIENCE, Setup};
use crate::kernel::Kernel;
use crate::liveness::Verdict;

const ADDRESS: &str = "192.0.2.11";
const POD: &str = "10.244.1.10";
const UNDERLAY: LinkIndex = 2;
const WIRE: LinkIndex = 3;
const POD_LINK: LinkIndex = 7;

#[derive(Default)]
struct Memory {
    tables: Tables,
    guard: Guard,
    ready: Option<bool>,
    attached: BTreeSet<(LinkIndex, Role)>,
    announced: RefCell<Vec<IpAddr>>,
    /// Every call in order, by what it was about.
    log: RefCell<Vec<String>>,
    refuse_pods: bool,
    refuse_leases: bool,
    refuse_links: BTreeSet<LinkIndex>,
    used: BTreeMap<IpAddr, AddressUse>,
    opened: BTreeMap<IpAddr, u32>,
}

impl Memory {
    fn write(&mut self, change: &Change) {
        let tables = &mut self.tables;
        match change.clone() {
            Change::Settings(settings) => tables.settings = settings,
            Change::SetInside(network) => drop(tables.inside.insert(network)),
            Change::RemoveInside(network) => drop(tables.inside.remove(&network)),
            Change::SetNode(address, node) => drop(tables.nodes.insert(address, node)),
            Change::RemoveNode(address) => drop(tables.nodes.remove(&address)),
            Change::SetPod(address, pod) => drop(tables.pods.insert(address, pod)),
            Change::RemovePod(address) => drop(tables.pods.remove(&address)),
            Change::SetRule(set, network, rules) => drop(tables.rules.insert((set, network), rules)),
            Change::RemoveRule(set, network) => drop(tables.rules.remove(&(set, network))),
            Change::SetEgress(address, entry) => drop(tables.egress.insert(address, entry)),
            Change::RemoveEgress(address) => drop(tables.egress.remove(&address)),
            Change::SetServed(address, entry) => drop(tables.served.insert(address, entry)),
            Change::RemoveServed(address) => drop(tables.served.remove(&address)),
            Change::SetLease(address, first, _, node) => drop(tables.leases.insert((address, first), node)),
            Change::RemoveLease(address, first, _) => drop(tables.leases.remove(&(address, first))),
            Change::SetGuard(guard) => self.guard = guard,
        }
    }
}

impl Kernel for Memory {
    fn read(&self) -> Result<Tables, DatapathError> {
        Ok(self.tables.clone())
    }
    fn apply(&mut self, changes: &[Change]) -> Result<(), ApplyError> {
        let mut failures = Vec::new();
        for change in changes {
            self.log
                .borrow_mut()
                .push(format!("{change:?}").split(['(', ' ']).next().unwrap_or_default().to_owned());
            match (self.refuse_pods, change) {
                (true, Change::SetPod(pod, _)) => failures.push(format!("map pods: {pod}: no room")),
                (_, Change::SetLease(address, ..)) if self.refuse_leases => {
                    failures.push(format!("map leases: {address}: no room"));
                }
                _ => self.write(change),
            }
        }
        match failures.is_empty() {
            true => Ok(()),
            false => Err(ApplyError { failures, total: changes.len() }),
        }
    }
    fn set_ready(&mut self, ready: bool) -> Result<(), DatapathError> {
        self.log.borrow_mut().push(format!("ready {ready}"));
        self.ready = Some(ready);
        Ok(())
    }
    fn attach(&mut self, link: LinkIndex, role: Role) -> Result<(), DatapathError> {
        if self.refuse_links.contains(&link) {
            return Err(DatapathError::Attach {
                program: "from_pod".into(),
                link,
                why: "no such device".into(),
            });
        }
        self.log.borrow_mut().push(format!("attach {link} {role:?}"));
        self.attached.insert((link, role));
        Ok(())
    }
    fn detach(&mut self, link: LinkIndex, role: Role) -> Result<(), DatapathError> {
        self.attached.remove(&(link, role));
        Ok(())
    }
    fn attached(&self) -> BTreeSet<(LinkIndex, Role)> {
        self.attached.clone()
    }
    fn guard_drops(&self) -> GuardDrops {
        GuardDrops::default()
    }
    fn opened(&self) -> Result<BTreeMap<IpAddr, u32>, DatapathError> {
        Ok(self.opened.clone())
    }
    fn sweep(&mut self) -> Result<Option<Sweep>, DatapathError> {
        Ok(Some(Sweep { use_: self.used.clone(), ..Sweep::default() }))
    }
    fn reserve_ports(&mut self, wanted: bool) -> Result<(), DatapathError> {
        self.log.borrow_mut().push(format!("reserve {wanted}"));
        Ok(())
    }
    fn announce(&self, _: LinkIndex, _: Mac, address: IpAddr) -> io::Result<()> {
        self.announced.borrow_mut().push(address);
        self.log.borrow_mut().push("announce".to_owned());
        Ok(())
    }
    fn overlay_mtu(&self) -> u16 {
        1450
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn decode(kind: Kind, value: Value) -> Object {
    kind.decode(value).unwrap()
}

fn cluster_node(number: u8) -> Object {
    decode(
        Kind::Node,
        json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": format!("node-{number}")},
            "spec": {"podCIDR": format!("10.244.{number}.0/24")},
            "status": {"addresses": [{"type": "InternalIP", "address": format!("10.0.0.{number}")}]},
        }),
    )
}

/// Two gateways, one source node with a selected pod, and one address whose port block it leases.
fn cluster() -> Vec<Object> {
    let gateway = |number: u8| {
        let value = json!({
            "apiVersion": "egret.dev/v1alpha1", "kind": "EgressNode", "metadata": {"name": format!("node-{number}")},
            "spec": {
                "underlay": format!("10.0.0.{number}"), "ready": true, "programmed": {ADDRESS: 1},
                "wires": [{"interface": "eth1", "addresses": [format!("192.0.2.{number}/24")], "carrier": true}],
            },
        });
        Object::EgressNode(Box::new(serde_json::from_value::<EgressNode>(value).unwrap()))
    };
    let record = json!({
        "apiVersion": "egret.dev/v1alpha1", "kind": "EgressAddress", "metadata": {"name": "192-0-2-11"},
        "spec": {
            "address": ADDRESS, "pool": "EgressPool/pool", "blockSize": 1024, "revision": 1,
            "claims": [{"kind": "EgressPolicy", "namespace": "prod", "name": "web"}],
            "candidates": ["node-4", "node-5"],
            "leases": [
                {"node": "node-1", "firstPort": 1024, "revision": 1},
                {"node": "node-2", "firstPort": 2048, "revision": 1},
            ],
        },
    });
    let mut objects: Vec<_> = [1, 2, 4, 5].into_iter().map(cluster_node).collect();
    objects.extend([
        gateway(4),
        gateway(5),
        Object::EgressAddress(Box::new(serde_json::from_value::<EgressAddress>(record).unwrap())),
        decode(
            Kind::EgressPool,
            json!({
                "apiVersion": "egret.dev/v1alpha1", "kind": "EgressPool", "metadata": {"name": "pool"},
                "spec": {"ranges": [{"start": ADDRESS, "end": ADDRESS}], "namespaces": {"names": ["prod"]}},
            }),
        ),
        decode(
            Kind::EgressPolicy,
            json!({
                "apiVersion": "egret.dev/v1alpha1", "kind": "EgressPolicy",
                "metadata": {"name": "web", "namespace": "prod"}, "spec": {"podSelector": {}, "pool": "pool"},
            }),
        ),
        decode(
            Kind::Pod,
            json!({
                "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-1", "namespace": "prod"},
                "spec": {"nodeName": "node-1", "containers": []}, "status": {"podIPs": [{"ip": POD}]},
            }),
        ),
    ]);
    objects
}

fn batch(applied: Vec<Object>) -> Changes {
    let applied = applied.into_iter().map(Into::into).collect();
    Changes { applied, objects_digest: "o1".into(), addresses_digest: "a1".into(), ..Changes::default() }
}

fn wire(link: LinkIndex, interface: &str, address: &str, carrier: bool) -> LocalWire {
    let addresses = [address.parse().unwrap()].into();
    LocalWire {
        interface: interface.into(),
        link,
        mac: [2, 0, 0, 0, 0, link as u8],
        addresses,
        primary: [].into(),
        carrier,
    }
}

fn links(number: u8, carrier: bool, pods: bool) -> LinkSnapshot {
    let underlay = format!("10.0.0.{number}");
    let mut wires = vec![wire(UNDERLAY, "eth0", &format!("{underlay}/24"), true)];
    if number > 3 {
        wires.push(wire(WIRE, "eth1", &format!("192.0.2.{number}/24"), carrier));
    }
    let pod = PodLink { link: POD_LINK, mac: [6; 6], host_mac: [8; 6] };
    LinkSnapshot {
        underlay: Some(Underlay {
            link: UNDERLAY,
            address: ip(&underlay),
            mac: [2, 0, 0, 0, 0, 2],
            addresses: [format!("{underlay}/24").parse().unwrap()].into(),
        }),
        underlay_interface: "eth0".into(),
        wires,
        candidates: if number == 1 { [POD_LINK].into() } else { BTreeSet::new() },
        pod_links: if pods && number == 1 { [(ip(POD), pod)].into() } else { BTreeMap::new() },
        second: BTreeSet::new(),
        second_links: BTreeMap::new(),
    }
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn verdict(alive: &[&str], dead: &[&str]) -> Verdict {
    Verdict { alive: names(alive), dead: names(dead), reachable: names(alive) }
}

fn adopt(number: u8, kernel: Memory) -> Node<Memory> {
    adopt_steering(number, kernel, Steering::Overlay)
}

fn adopt_steering(number: u8, kernel: Memory, steering: Steering) -> Node<Memory> {
    let setup = Setup {
        node: format!("node-{number}"),
        unknown_pods: UnknownPods::Hold,
        steering,
        cluster: ClusterSettings::default(),
        modes: Modes::default(),
    };
    let actual = kernel.read().unwrap();
    Node::adopt(setup, kernel, actual)
}

/// A node with its first plan in force.
fn running(number: u8) -> (Node<Memory>, Instant) {
    let mut node = adopt(number, Memory::default());
    let now = Instant::now();
    node.objects(batch(cluster()));
    node.links(links(number, true, true));
    let others: Vec<_> =
        ["node-4", "node-5"].into_iter().filter(|name| *name != format!("node-{number}")).collect();
    node.gateways(verdict(&others, &[]));
    node.step(now);
    assert_eq!(node.waiting(), Vec::<String>::new());
    assert!(node.in_force().is_some());
    (node, now)
}

fn path(node: &Node<Memory>) -> Path {
    node.kernel.tables.egress[&ip(ADDRESS)].path
}

#[test]
fn a_new_node_programs_all_before_it_attaches_and_is_ready_last() {
    let (node, _) = running(1);
    let log = node.kernel.log.borrow();
    let at = |what: &str| {
        log.iter().position(|entry| entry == what).unwrap_or_else(|| panic!("{what} in {log:?}"))
    };
    assert!(at("SetGuard") < at("SetPod"));
    assert!(at("SetPod") < at("attach 7 Pod"));
    assert!(at("attach 7 Pod") < at("ready true"));
    assert_eq!(node.kernel.tables, node.in_force().unwrap().plan.tables.clone().without_guard());
    assert_eq!(node.kernel.tables.egress[&ip(ADDRESS)].blocks, [1024]);
}

const SECOND_LINK: LinkIndex = 9;

/// The pod's link into another network: known as that, or as one that may be any pod's.
fn links_with_second(known: bool) -> LinkSnapshot {
    let mut links = links(1, true, true);
    match known {
        true => links.second.insert(SECOND_LINK),
        false => links.candidates.insert(SECOND_LINK),
    };
    links
}

fn roles_at(node: &Node<Memory>, link: LinkIndex) -> Vec<Role> {
    node.kernel.attached.iter().filter(|(at, _)| *at == link).map(|(_, role)| *role).collect()
}

#[test]
fn a_link_into_another_network_is_held_back_until_it_is_planned_for() {
    let (mut node, now) = running(1);
    node.links(links_with_second(false));
    assert_eq!(roles_at(&node, SECOND_LINK), [Role::Pod], "nobody knows whose it is");
    node.links(links_with_second(true));
    assert_eq!(roles_at(&node, SECOND_LINK), [Role::Pod], "the tables do not know it yet");
    node.step(now);
    assert_eq!(roles_at(&node, SECOND_LINK), [Role::Second]);
    node.links(links_with_second(true));
    assert_eq!(roles_at(&node, SECOND_LINK), [Role::Second]);
}

#[test]
fn a_new_agent_leaves_a_link_into_another_network_as_it_is_until_it_has_planned() {
    let kernel = Memory { attached: [(SECOND_LINK, Role::Second)].into(), ..Memory::default() };
    let mut node = adopt(1, kernel);
    node.links(links_with_second(false));
    assert_eq!(roles_at(&node, SECOND_LINK), [Role::Second], "it has not looked for the pods' links yet");
    node.objects(batch(cluster()));
    node.links(links_with_second(true));
    node.gateways(verdict(&["node-4", "node-5"], &[]));
    node.step(Instant::now());
    assert!(node.in_force().is_some());
    assert_eq!(roles_at(&node, SECOND_LINK), [Role::Second]);
}

const PARENT: LinkIndex = 8;

/// A pod has a macvlan in another network: found, or not.
fn links_with_macvlan(found: bool) -> LinkSnapshot {
    let mut links = links(1, true, true);
    if found {
        let at = PodLink { link: PARENT, mac: [6; 6], host_mac: [8; 6] };
        let place = SecondLink { at, network: "123.123.123.0/24".parse().unwrap(), shared: true };
        links.second_links.insert(("a/pod".to_owned(), ip("123.123.123.17")), place);
    }
    links
}

#[test]
fn the_parent_of_a_macvlan_is_looked_at_until_no_plan_has_a_pod_on_it() {
    let (mut node, now) = running(1);
    node.links(links_with_macvlan(true));
    assert_eq!(roles_at(&node, PARENT), [Role::Parent], "nothing is held back by that");
    node.step(now);
    node.links(links_with_macvlan(false));
    assert_eq!(roles_at(&node, PARENT), [Role::Parent], "the tables still have its pod");
    node.step(now);
    assert_eq!(roles_at(&node, PARENT), []);

    let kernel = Memory { attached: [(PARENT, Role::Parent)].into(), ..Memory::default() };
    let mut anew = adopt(1, kernel);
    anew.links(links_with_macvlan(false));
    assert_eq!(roles_at(&anew, PARENT), [Role::Parent], "it has not looked for the pods' links yet");
}

#[test]
fn the_death_of_a_gateway_moves_the_path_and_nothing_else() {
    let (mut node, now) = running(1);
    let Path::Overlay(first) = path(&node) else { panic!("{:?}", path(&node)) };
    let (dead, alive) = if first == ip("10.0.0.4") { ("node-4", "node-5") } else { ("node-5", "node-4") };
    node.kernel.log.borrow_mut().clear();
    node.gateways(verdict(&[alive], &[dead]));
    node.step(now);
    assert_eq!(*node.kernel.log.borrow(), ["SetEgress"], "no rule of the guard, no file is in the way");
    assert_ne!(path(&node), Path::Overlay(first));
    node.gateways(verdict(&[], &["node-4", "node-5"]));
    node.step(now);
    assert_eq!(path(&node), Path::None, "dropped and counted, never sent another way");
}

#[test]
fn nothing_happens_twice() {
    let (mut node, now) = running(1);
    node.kernel.log.borrow_mut().clear();
    for _ in 0..3 {
        node.objects(batch(cluster()));
        node.links(links(1, true, true));
        node.sweep();
        let took = node.step(now);
        assert_eq!((took.changes, took.apply), (0, None));
    }
    assert!(node.kernel.log.borrow().is_empty());
}

#[test]
fn a_restarted_agent_takes_nothing_away_before_it_has_looked() {
    let (before, now) = running(1);
    let tables = before.kernel.tables.clone();
    let kernel =
        Memory { tables: tables.clone(), attached: before.kernel.attached.clone(), ..Memory::default() };
    let mut node = adopt(1, kernel);
    node.step(now);
    assert!(node.waiting()[0].contains("no Node node-1"), "{:?}", node.waiting());
    node.objects(batch(cluster()));
    node.step(now);
    node.links(links(1, true, false));
    node.step(now);
    assert_eq!(node.kernel.tables, tables, "gateways are not judged, the pod's neighbour entry has aged out");
    assert!(node.in_force().is_none(), "and no record is written");
    node.gateways(verdict(&["node-4", "node-5"], &[]));
    node.step(now);
    assert_eq!(node.kernel.tables, tables, "the pod is where it was");
    assert!(node.in_force().is_some());
}

#[test]
fn a_restarted_agent_does_not_wait_for_ever() {
    let mut node = adopt(1, Memory::default());
    let now = Instant::now();
    node.objects(batch(cluster()));
    node.links(links(1, true, false));
    node.step(now);
    assert!(node.in_force().is_none());
    assert_eq!(node.next(), Some(now + PATIENCE));
    node.step(now + PATIENCE);
    assert!(node.in_force().is_some());
    assert_eq!(node.kernel.tables.pods.len(), 0, "a pod without a link cannot be programmed");
    assert!(node.waiting()[0].contains(POD), "{:?}", node.waiting());
}

#[test]
fn a_new_link_gets_its_program_before_it_is_known_whose_it_is() {
    let (mut node, _) = running(1);
    node.kernel.log.borrow_mut().clear();
    let mut more = links(1, true, true);
    more.candidates.insert(9);
    node.links(more);
    assert_eq!(*node.kernel.log.borrow(), ["attach 9 Pod"]);
    node.links(links(1, true, true));
    assert!(!node.kernel.attached.contains(&(9, Role::Pod)));
}

#[test]
fn a_refused_entry_is_told_and_tried_again_and_the_others_are_in_force() {
    let mut node = adopt(1, Memory { refuse_pods: true, ..Memory::default() });
    let mut now = Instant::now();
    node.objects(batch(cluster()));
    node.links(links(1, true, true));
    node.gateways(verdict(&["node-4", "node-5"], &[]));
    node.step(now);
    assert!(node.in_force().is_none());
    assert!(node.waiting()[0].contains("no room"), "{:?}", node.waiting());
    assert!(!node.kernel.tables.egress.is_empty());
    assert!(node.kernel.attached.contains(&(POD_LINK, Role::Pod)), "an unknown pod is held, not let out");
    for _ in 0..3 {
        now = node.next().unwrap();
        node.step(now);
    }
    node.kernel.refuse_pods = false;
    node.step(now);
    assert!(node.in_force().is_some());
    assert_eq!((node.next(), node.waiting()), (None, Vec::new()));
    assert_eq!(node.kernel.guard, node.in_force().unwrap().plan.tables.guard);
}

#[test]
fn a_program_that_cannot_be_attached_is_tried_again() {
    let mut node = adopt(1, Memory { refuse_links: [POD_LINK].into(), ..Memory::default() });
    let now = Instant::now();
    node.objects(batch(cluster()));
    node.links(links(1, true, true));
    node.gateways(verdict(&["node-4", "node-5"], &[]));
    node.step(now);
    assert!(node.waiting()[0].contains("cannot attach"), "{:?}", node.waiting());
    node.kernel.refuse_links.clear();
    node.step(node.next().unwrap());
    assert!(node.kernel.attached.contains(&(POD_LINK, Role::Pod)));
    assert_eq!((node.next(), node.waiting()), (None, Vec::new()));
}

#[test]
fn what_others_changed_in_the_kernel_is_set_right() {
    let (mut node, now) = running(1);
    let tables = node.kernel.tables.clone();
    node.kernel.tables.pods.clear();
    node.kernel.tables.settings =
        Settings { unknown_pods: UnknownPods::Pass, overlay_mtu: 1, hops: Hops::default() };
    node.kernel.guard = Guard::default();
    node.step(now);
    assert!(node.kernel.tables.pods.is_empty(), "nobody looks at each step");
    node.verify();
    node.step(now);
    assert_eq!(node.kernel.tables, tables);
    assert_eq!(node.kernel.guard, node.in_force().unwrap().plan.tables.guard);
}

#[test]
fn a_wire_without_carrier_is_told_to_others_at_once_and_gives_the_address_away() {
    let holder = [4, 5].into_iter().map(running).find(|(node, _)| node.holds(ip(ADDRESS)));
    let (mut node, now) = holder.unwrap();
    let number = if node.setup.node == "node-4" { 4 } else { 5 };
    assert_eq!(*node.kernel.announced.borrow(), [ip(ADDRESS)]);
    node.announce_due(now + Duration::from_secs(3));
    assert_eq!(node.kernel.announced.borrow().len(), 2);

    node.kernel.log.borrow_mut().clear();
    node.links(links(number, false, true));
    assert_eq!(*node.kernel.log.borrow(), ["ready false"], "before anything is planned");
    node.step(now);
    assert!(!node.holds(ip(ADDRESS)));
    assert_eq!(node.kernel.tables.leases.len(), 2, "what comes late is still carried");

    node.links(links(number, true, true));
    node.step(now);
    assert_eq!(node.kernel.ready, Some(true));
    assert!(node.holds(ip(ADDRESS)));
    assert_eq!(node.kernel.announced.borrow().len(), 3, "it is back, and says so");
}

#[test]
fn who_does_not_hold_does_not_announce() {
    let other = [4, 5].into_iter().map(running).find(|(node, _)| !node.holds(ip(ADDRESS)));
    let (mut node, now) = other.unwrap();
    assert!(node.kernel.announced.borrow().is_empty());
    assert_eq!(node.kernel.ready, Some(true));
    assert_eq!(node.probes()["10.0.0.1"], ip("10.0.0.1"), "a node that it delivers to is its witness");
    node.gateways(Verdict {
        reachable: names(&["10.0.0.1"]),
        ..verdict(&[], &["node-4", "node-5", "10.0.0.1"])
    });
    node.step(now);
    assert!(node.holds(ip(ADDRESS)));
    assert_eq!(*node.kernel.announced.borrow(), [ip(ADDRESS)]);
    node.gateways(verdict(&["node-4", "node-5"], &[]));
    node.step(now);
    node.announce_due(now + Duration::from_secs(3));
    assert_eq!(node.kernel.announced.borrow().len(), 1, "it is another's to announce now");
}

#[test]
fn who_is_cut_off_does_not_take_addresses_from_the_others() {
    let other = [4, 5].into_iter().map(running).find(|(node, _)| !node.holds(ip(ADDRESS)));
    let (mut node, now) = other.unwrap();
    node.gateways(verdict(&[], &["node-4", "node-5", "10.0.0.1", "10.0.0.2"]));
    node.step(now);
    assert!(!node.holds(ip(ADDRESS)));
    assert_eq!(node.kernel.ready, Some(false));
    assert!(node.kernel.announced.borrow().is_empty());
    node.gateways(Verdict {
        reachable: names(&["10.0.0.1"]),
        ..verdict(&[], &["node-4", "node-5", "10.0.0.1", "10.0.0.2"])
    });
    node.step(now);
    assert!(!node.holds(ip(ADDRESS)), "the others may be heard in a moment");
    node.step(node.next().unwrap());
    assert!(node.holds(ip(ADDRESS)), "one witness is enough");
    assert_eq!(node.kernel.ready, Some(true));
}

#[test]
fn a_new_gateway_announces_when_its_programs_are_there() {
    let holder = [4, 5].into_iter().map(running).find(|(node, _)| node.holds(ip(ADDRESS)));
    let (node, _) = holder.unwrap();
    let log = node.kernel.log.borrow();
    let at = |what: &str| {
        log.iter().position(|entry| entry == what).unwrap_or_else(|| panic!("{what} in {log:?}"))
    };
    assert!(at("attach 3 Wire") < at("SetServed"));
    assert!(at("SetLease") < at("SetServed"));
    assert!(at("SetServed") < at("announce"));
}

#[test]
fn ports_are_asked_for_before_the_next_sweep() {
    let (mut node, now) = running(1);
    node.sweep();
    node.step(now);
    node.kernel.opened = [(ip(ADDRESS), 3000)].into();
    assert!(node.count_opened());
    assert!(node.ask());
    let used = &crate::report::record(&node).unwrap().ports[ADDRESS];
    assert_eq!(used.flows, 3000);
    assert!(used.wanted_blocks > 2, "as many as they need, at once: {used:?}");
    assert!(!node.count_opened(), "nothing is new");
}

#[test]
fn how_others_use_their_ports_changes_no_plan() {
    let (mut node, _) = running(1);
    let gateway = cluster().into_iter().find_map(|object| match object {
        Object::EgressNode(node) if node.metadata.name.as_deref() == Some("node-4") => Some(node),
        _ => None,
    });
    let mut gateway = gateway.unwrap();
    let apply = |node: &mut Node<Memory>, gateway: &EgressNode| {
        node.objects(batch(vec![Object::EgressNode(Box::new(gateway.clone()))]))
    };
    gateway.spec.ports.insert(ADDRESS.into(), egret_api::PortUse { flows: 7, ..Default::default() });
    assert!(!apply(&mut node, &gateway));
    gateway.spec.ready = !gateway.spec.ready;
    assert!(apply(&mut node, &gateway), "whether it can carry packets does");
    assert!(
        node.objects(Changes { objects_digest: "o2".into(), ..batch(vec![]) }),
        "what people wrote must be answered"
    );
}

/// The address's record with more leases, each as a node and a first port, at a revision.
fn leased(revision: u64, more: &[(&str, u16)]) -> Object {
    let record = cluster().into_iter().find_map(|object| match object {
        Object::EgressAddress(record) => Some(record),
        _ => None,
    });
    let mut record = record.unwrap();
    record.spec.revision = revision;
    record.spec.leases.extend(more.iter().map(|(node, first_port)| Lease {
        node: (*node).into(),
        first_port: *first_port,
        revision,
        released: None,
    }));
    Object::EgressAddress(record)
}

/// Whoever comes anew and knows the same objects has the same plan.
fn is_as_from_scratch(node: &Node<Memory>, number: u8, record: Object) {
    let mut other = adopt(number, Memory::default());
    other.objects(batch(cluster()));
    other.objects(batch(vec![record]));
    other.links(links(number, true, true));
    other.verdict = node.verdict.clone();
    other.step(Instant::now());
    assert_eq!(*node.plan, *other.plan);
    assert_eq!(node.kernel.tables, other.kernel.tables);
    assert_eq!(node.actual, other.actual);
}

#[test]
fn a_lease_changes_its_own_entries_and_what_is_reported_of_them_and_nothing_else() {
    let (mut node, now) = running(4);
    node.kernel.log.borrow_mut().clear();
    let more = leased(2, &[("node-2", 3072)]);
    assert!(node.objects(batch(vec![more.clone()])));
    assert_eq!(node.step(now).changes, 1);
    assert_eq!(*node.kernel.log.borrow(), ["SetLease"]);
    assert_eq!(crate::report::record(&node).unwrap().programmed[ADDRESS], 2);
    is_as_from_scratch(&node, 4, more);

    node.kernel.refuse_leases = true;
    let (more, digest) = (leased(3, &[("node-2", 3072), ("node-1", 4096)]), "a2");
    assert!(node.objects(Changes { addresses_digest: digest.into(), ..batch(vec![more.clone()]) }));
    node.step(now);
    let record = crate::report::record(&node).unwrap();
    assert_eq!(
        (record.programmed[ADDRESS], record.observed_addresses.as_str()),
        (2, "a1"),
        "nothing is claimed"
    );
    assert!(record.waiting[0].contains("no room"), "{:?}", record.waiting);
    node.kernel.refuse_leases = false;
    node.step(node.next().unwrap());
    let record = crate::report::record(&node).unwrap();
    assert_eq!((record.programmed[ADDRESS], record.observed_addresses.as_str()), (3, digest));
    is_as_from_scratch(&node, 4, more);

    assert!(node.objects(batch(vec![leased(4, &[])])));
    node.step(now);
    is_as_from_scratch(&node, 4, leased(4, &[]));
}

#[test]
fn a_node_uses_ports_when_every_gateway_has_them() {
    let (mut node, now) = running(1);
    let more = leased(2, &[("node-1", 4096)]);
    node.objects(batch(vec![more.clone()]));
    node.step(now);
    assert_eq!(node.kernel.tables.egress[&ip(ADDRESS)].blocks, [1024]);
    let reports = |node: &mut Node<Memory>, name: &str, revision: u64| {
        let mut gateways = cluster().into_iter().filter_map(|object| match object {
            Object::EgressNode(node) => Some(node),
            _ => None,
        });
        let mut gateway = gateways.find(|node| node.metadata.name.as_deref() == Some(name)).unwrap();
        gateway.spec.programmed.insert(ADDRESS.into(), revision);
        assert!(node.objects(batch(vec![Object::EgressNode(gateway)])));
        node.kernel.log.borrow_mut().clear();
        node.step(now);
        node.kernel.log.borrow().clone()
    };
    assert!(reports(&mut node, "node-4", 2).is_empty(), "the other does not know whose they are");
    assert_eq!(reports(&mut node, "node-5", 2), ["SetEgress"]);
    assert_eq!(node.kernel.tables.egress[&ip(ADDRESS)].blocks, [1024, 4096]);
    assert_eq!(node.kernel.tables, node.plan.tables.clone().without_guard());
}

#[test]
fn flows_that_are_counted_are_reported() {
    let (mut node, _) = running(1);
    node.kernel.used = [(ip(ADDRESS), AddressUse { flows: 900, busy_blocks: vec![1024] })].into();
    node.sweep();
    assert!(node.ask());
    let record = crate::report::record(&node).unwrap();
    let used = &record.ports[ADDRESS];
    assert_eq!((used.flows, used.busy_blocks.as_slice()), (900, [1024].as_slice()));
    assert!(used.wanted_blocks > 1, "more than half of its ports are in use: {used:?}");
    assert_eq!((record.observed_objects.as_str(), record.observed_addresses.as_str()), ("o1", "a1"));
    assert_eq!(record.underlay_mac, None, "packets without tunnel are not taken here");
}

#[test]
fn a_link_that_works_is_used_and_reported_and_given_up_when_it_does_not() {
    let mut node = adopt_steering(1, Memory::default(), Steering::Auto);
    let now = Instant::now();
    let mut objects = cluster();
    for object in &mut objects {
        if let Object::EgressNode(gateway) = object {
            gateway.spec.underlay_mac = Some("02:00:00:00:00:04".into());
        }
    }
    node.objects(batch(objects));
    node.links(links(1, true, true));
    node.gateways(verdict(&["node-4", "node-5"], &[]));
    node.step(now);
    assert!(node.kernel.attached.contains(&(UNDERLAY, Role::Underlay)));
    assert!(matches!(path(&node), Path::Overlay(_)));
    assert_eq!(node.link_probes().len(), 2);
    let record = crate::report::record(&node).unwrap();
    assert_eq!(record.underlay_mac.as_deref(), Some("02:00:00:00:00:02"), "questions and answers are taken");
    assert_eq!(record.links, Vec::<String>::new());

    node.direct(names(&["node-4", "node-5"]));
    node.step(now);
    assert!(matches!(path(&node), Path::Link(_, UNDERLAY)));
    assert_eq!(crate::report::record(&node).unwrap().links, ["node-4", "node-5"]);

    node.direct(names(&[]));
    node.step(now);
    assert!(matches!(path(&node), Path::Overlay(_)));
    assert_eq!(crate::report::record(&node).unwrap().links, Vec::<String>::new());
}

trait WithoutGuard {
    fn without_guard(self) -> Self;
}

impl WithoutGuard for Tables {
    fn without_guard(self) -> Self {
        Tables { guard: Guard::default(), ..self }
    }
}

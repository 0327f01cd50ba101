//! What a node does first, what it leaves as it finds it, and new links.

use std::time::Instant;

use egret_datapath::{LinkSnapshot, Role};
use egret_plan::tables::LinkIndex;
use egret_plan::{PodLink, SecondLink};

use super::cluster::{ADDRESS, POD, adopt, batch, cluster, ip, links, running, verdict};
use super::memory::{Memory, WithoutGuard};
use crate::node::{Node, PATIENCE};

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

//! What was refused, or changed by others, is set right.

use std::time::Instant;

use egret_datapath::Role;
use egret_plan::tables::{Guard, Hops, Settings, UnknownPods};

use super::cluster::{POD_LINK, adopt, batch, cluster, links, running, verdict};
use super::memory::Memory;

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

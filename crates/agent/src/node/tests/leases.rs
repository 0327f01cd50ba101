//! Ports of addresses: asked for, leased, used and reported.

use std::time::Instant;

use egret_api::{EgressNode, Lease, Object};
use egret_datapath::AddressUse;
use egret_store::Changes;

use super::cluster::{ADDRESS, adopt, batch, cluster, ip, links, running};
use super::memory::{Memory, WithoutGuard};
use crate::node::Node;

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

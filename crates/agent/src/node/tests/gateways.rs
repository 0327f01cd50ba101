//! Gateways die, return and announce; links to them work or do not.

use std::time::{Duration, Instant};

use egret_api::Object;
use egret_datapath::Role;
use egret_plan::Steering;
use egret_plan::tables::Path;

use super::cluster::{
    ADDRESS, UNDERLAY, adopt_steering, batch, cluster, ip, links, names, path, running, verdict,
};
use super::memory::Memory;
use crate::liveness::Verdict;

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

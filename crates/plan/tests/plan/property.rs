//! What holds for every cluster.

use std::collections::BTreeMap;
use std::net::IpAddr;

use egret_api::{Modes, Object, WhenUnavailable};
use egret_plan::tables::{Captured, PortMatch, PortRule, Tables};
use egret_plan::{Expected, Packet, Steering, World, allocate, diff, expected_source, node};
use ipnet::{IpNet, Ipv4Net};
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::sim::{Cluster, put, refers_only_to_what_is_there};
use crate::strategy::{self, NETWORKS};

fn cases(count: u32) -> ProptestConfig {
    ProptestConfig {
        cases: count,
        failure_persistence: None,
        max_shrink_iters: 300,
        ..ProptestConfig::default()
    }
}

/// Everything that is decided about a cluster, as bytes.
fn decided(world: &World, cluster: &Cluster) -> String {
    let decision = allocate::decide(world, &cluster.settings, cluster.now);
    let mut text = format!("{decision:?}");
    for node in cluster.nodes() {
        text.push_str(&format!("{:?}", node::plan(world, &cluster.settings, &cluster.local(&node))));
    }
    text
}

/// The rule that decides in the kernel: longest prefix, then first match.
fn kernel_decides(tables: &Tables, pod: IpAddr, packet: Packet) -> Option<PortRule> {
    let set = tables.pods.get(&pod)?.rules;
    let at = tables.rules.range((set, IpNet::V4(Ipv4Net::default()))..).take_while(|((id, _), _)| *id == set);
    let found =
        at.filter(|((_, net), _)| net.contains(&packet.address)).max_by_key(|((_, net), _)| net.prefix_len());
    found?.1.iter().find(|rule| fits(rule.ports, packet)).copied()
}

fn fits(ports: PortMatch, packet: Packet) -> bool {
    match ports {
        PortMatch::Any => true,
        PortMatch::Tcp(first, last) => packet.protocol == 6 && (first..=last).contains(&packet.port),
        PortMatch::Udp(first, last) => packet.protocol == 17 && (first..=last).contains(&packet.port),
    }
}

fn packet() -> impl Strategy<Value = Packet> {
    let address = (select(&NETWORKS[..]), any::<u8>()).prop_map(|(net, n)| {
        let net: IpNet = net.parse().unwrap();
        let base = egret_plan::range::number(net.network());
        let room = egret_plan::range::number(net.broadcast()) - base;
        egret_plan::range::address(base + u128::from(n) % (room.max(1)), net.network())
    });
    (address, select(vec![6u8, 17, 1]), select(vec![22u16, 80, 443, 550, 9]))
        .prop_map(|(address, protocol, port)| Packet { address, protocol, port })
}

proptest! {
    #![proptest_config(cases(40))]

    #[test]
    fn the_order_of_objects_does_not_matter(cluster in strategy::cluster(), seed in any::<[Index; 8]>()) {
        let mut objects: Vec<Object> = cluster.objects.values().cloned().collect();
        for (n, index) in seed.iter().enumerate() {
            let at = index.index(objects.len());
            objects.swap(n.min(at), at);
        }
        let (one, other) = (World::from_objects(objects.clone()), World::from_objects(objects.into_iter().rev()));
        let decided_here = decided(&one, &cluster);
        prop_assert_eq!(&decided_here, &decided(&other, &cluster));
        prop_assert_eq!(&decided_here, &decided(&cluster.world, &cluster), "incremental is not from scratch");
    }

    #[test]
    fn a_node_that_keeps_only_what_it_plans_by_plans_the_same(cluster in strategy::cluster()) {
        for node in cluster.nodes() {
            let mut world = World::of_node(&node, Modes::default());
            cluster.objects.values().for_each(|object| drop(world.apply(object.clone())));
            let local = cluster.local(&node);
            let [own, whole] = [&world, &cluster.world].map(|world| node::plan(world, &cluster.settings, &local));
            prop_assert_eq!(own, whole, "{}", node);
        }
    }

    #[test]
    fn a_settled_cluster_has_nothing_to_write(cluster in strategy::cluster()) {
        let mut again = cluster.clone();
        prop_assert!(!again.controller());
    }

    #[test]
    fn the_controller_decides_from_changes_as_from_scratch(
        start in strategy::cluster(),
        story in prop::collection::vec((strategy::event(), 0..8u8, any::<u16>()), 1..12),
    ) {
        let mut cluster = start;
        for (event, turn, which) in story {
            event.happen(&mut cluster);
            // Writes may fail or come late; agents may be slow.
            let writes = cluster.writes();
            match turn {
                0..=2 => writes.iter().enumerate().filter(|(n, _)| which >> (n % 16) & 1 == 1).for_each(|(_, w)| cluster.write(w)),
                3..=4 => {
                    let nodes: Vec<String> = cluster.nodes().into_iter().filter(|n| !cluster.off.contains(n)).collect();
                    if let Some(node) = nodes.get(usize::from(which) % nodes.len().max(1)) {
                        cluster.agent(node);
                    }
                }
                5 => cluster.settle(),
                _ => {}
            }
            cluster.writes();
        }
        cluster.settle();
    }

    #[test]
    fn a_node_plans_ports_again_as_from_scratch(
        start in strategy::cluster(),
        steering in select(vec![Steering::Overlay, Steering::Auto, Steering::Link]),
        story in prop::collection::vec((prop_oneof![4 => strategy::flows(), 1 => strategy::event()], 0..4u8, 1..=6u8), 1..16),
    ) {
        let mut cluster = start;
        cluster.steering = steering;
        for (event, turn, n) in story {
            event.happen(&mut cluster);
            // Every agent and the controller are as slow as chance has it; each plan is compared.
            match turn {
                0 => drop(cluster.controller()),
                1 | 2 => {
                    let node = format!("node-{n}");
                    if cluster.world.nodes().contains_key(&node) && !cluster.off.contains(&node) {
                        cluster.agent(&node);
                    }
                }
                _ => cluster.settle(),
            }
        }
        cluster.settle();
    }

    #[test]
    fn nobody_changes_another_namespaces_plan(cluster in strategy::cluster(), writes in prop::collection::vec(strategy::write_in(1), 1..5)) {
        let mut after = cluster.clone();
        for write in &writes {
            write.happen(&mut after);
        }
        after.settle();
        nothing_changed_but_in("b", &cluster, &after)?;
    }

    #[test]
    fn an_unrelated_change_moves_no_address_and_no_lease(cluster in strategy::cluster(), event in strategy::event()) {
        let mut after = cluster.clone();
        event.happen(&mut after);
        after.settle();
        let strategy::Event::Put(object) = &event else { return Ok(()) };
        if object.key().namespace.is_empty() {
            return Ok(());
        }
        for (name, old) in cluster.world.records() {
            let mine = |c: &egret_api::Claim| c.namespace == object.key().namespace;
            let wide = |c: &egret_api::Claim| c.namespace.is_empty();
            // Pods of the namespace that is written may use addresses of its own and cluster-wide policies.
            if old.spec.claims.is_empty() || old.spec.claims.iter().any(|c| mine(c) || wide(c)) {
                continue;
            }
            prop_assert_eq!(Some(&old.spec), after.world.records().get(name).map(|r| &r.spec));
        }
    }

    #[test]
    fn any_way_from_plan_to_plan_is_safe(one in strategy::cluster(), other in strategy::cluster(), nodes in any::<[Index; 2]>()) {
        let tables = |cluster: &Cluster, index: Index| {
            let nodes = cluster.nodes();
            cluster.kernels.get(&nodes[index.index(nodes.len())]).cloned().unwrap_or_default()
        };
        let (mut kernel, desired) = (tables(&one, nodes[0]), tables(&other, nodes[1]));
        for change in diff(&kernel.clone(), &desired) {
            put(&mut kernel, &change);
            refers_only_to_what_is_there(&kernel, &desired);
        }
        prop_assert_eq!(&kernel, &desired);
        prop_assert!(diff(&desired, &desired).is_empty());
    }

    #[test]
    fn the_kernels_look_up_finds_the_first_policy_that_matches(cluster in strategy::cluster(), packets in prop::collection::vec(packet(), 1..12)) {
        // The agent of a node that is off, or was deleted, knows nothing of what came since.
        let at_work = |node: &str| !cluster.off.contains(node) && cluster.world.nodes().contains_key(node);
        for pod in cluster.world.pods().values().filter(|p| at_work(&p.node) && p.network.is_none()) {
            let tables = &cluster.kernels[&*pod.node];
            for address in &pod.addresses {
                for packet in packets.iter().filter(|p| p.address.is_ipv4() == address.is_ipv4()) {
                    agrees(&cluster, tables, *address, *packet)?;
                }
            }
        }
    }
}

/// The rules of every other namespace's pods are as before, and so are the egress addresses that they use.
pub fn nothing_changed_but_in(
    namespace: &str,
    before: &Cluster,
    after: &Cluster,
) -> Result<(), TestCaseError> {
    for (key, pod) in before.world.pods().iter().filter(|(key, _)| &*key.0 != namespace) {
        let (old, new) = (&before.kernels[&*pod.node], &after.kernels[&*pod.node]);
        for address in &pod.addresses {
            let (then, now) = (rules_of(old, *address), rules_of(new, *address));
            // A policy that waits for an address may get one that was freed.
            let waits = then.values().flatten().any(|r| r.egress.is_some_and(|a| a.is_unspecified()));
            if before.off.contains(&*pod.node) || waits {
                continue;
            }
            prop_assert_eq!(&then, &now, "pod {:?} {}", key, address);
            for egress in then.values().flatten().filter_map(|r| r.egress) {
                prop_assert_eq!(old.egress.get(&egress), new.egress.get(&egress), "egress {}", egress);
            }
        }
    }
    Ok(())
}

fn rules_of(tables: &Tables, pod: IpAddr) -> BTreeMap<IpNet, Vec<PortRule>> {
    let set = tables.pods.get(&pod).map_or(0, |p| p.rules);
    tables.rules.iter().filter(|((id, _), _)| *id == set).map(|((_, net), r)| (*net, r.clone())).collect()
}

/// The kernel's tables, the guard and `expected_source` say the same of a packet.
fn agrees(cluster: &Cluster, tables: &Tables, pod: IpAddr, packet: Packet) -> Result<(), TestCaseError> {
    let inside = tables.inside.iter().any(|n| n.contains(&packet.address));
    let found = kernel_decides(tables, pod, packet).filter(|_| !inside).and_then(|r| r.egress);
    let expected = expected_source(&cluster.world, &cluster.settings, pod, packet);
    let agreed = match (found, expected) {
        (None, Expected::Ordinary | Expected::EgressOrOrdinary(_)) => true,
        (Some(address), Expected::Dropped) => address.is_unspecified(),
        (Some(address), Expected::Egress(wanted) | Expected::EgressOrOrdinary(wanted)) => address == wanted,
        _ => false,
    };
    prop_assert!(agreed, "{pod} {packet:?}: the kernel finds {found:?}, expected is {expected:?}");
    let guard = &tables.guard;
    let captured = guard.selected.get(&pod).and_then(|set| guard.captured.get(set));
    let within =
        |c: &Captured| c.first <= packet.address && packet.address <= c.last && fits(c.ports, packet);
    let drops = captured.is_some_and(|set| set.iter().any(within)) && !inside;
    // Beside ports that a bypassing policy frees, the guard can name TCP and UDP only.
    let named = packet.protocol != 1 || !bypasses(cluster);
    prop_assert!(drops == found.is_some() || !named, "{pod} {packet:?}: guard {drops}, kernel {found:?}");
    Ok(())
}

fn bypasses(cluster: &Cluster) -> bool {
    let bypass = |w: &egret_plan::world::Written<egret_plan::intent::Intent>| {
        w.meaning.as_ref().is_ok_and(|i| i.when_unavailable == WhenUnavailable::Bypass)
    };
    cluster.world.policies().values().any(bypass)
}

//! Systems that are on, observed or off, and processes that do not agree about it.

use egret_api::{Dialect, Mode, Modes, Object, WhenUnavailable};
use egret_plan::{Expected, Packet, World, allocate, expected_source, node};
use proptest::prelude::*;
use proptest::sample::select;

use crate::sim::Cluster;
use crate::strategy::{self, mode_object};

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 300, ..ProptestConfig::default() }
}

/// What is decided and planned of these objects by a process that was told these modes.
fn decided(objects: impl IntoIterator<Item = Object>, told: Modes, cluster: &Cluster) -> String {
    let mut world = World::with_modes(told);
    for object in objects {
        world.apply(object);
    }
    let mut text = format!("{:?}", allocate::decide(&world, &cluster.settings, cluster.now));
    for name in cluster.nodes() {
        text.push_str(&format!("{:?}", node::plan(&world, &cluster.settings, &cluster.local(&name))));
    }
    text
}

fn packets() -> Vec<Packet> {
    let to = |address: &str, protocol, port| Packet { address: address.parse().unwrap(), protocol, port };
    vec![to("198.51.100.1", 6, 443), to("198.51.100.200", 17, 550), to("2001:db8:1::1", 6, 80)]
}

/// The source of each packet of each pod, as a world has it.
fn sources(world: &World, cluster: &Cluster) -> Vec<Expected> {
    let pods = cluster.world.pods().values().flat_map(|pod| pod.addresses.clone());
    let of = |pod| {
        let packets = packets()
            .into_iter()
            .filter(move |p: &Packet| p.address.is_ipv4() == std::net::IpAddr::is_ipv4(&pod));
        packets.map(move |packet| (pod, packet)).collect::<Vec<_>>()
    };
    pods.flat_map(of).map(|(pod, packet)| expected_source(world, &cluster.settings, pod, packet)).collect()
}

fn bypasses(cluster: &Cluster) -> bool {
    let bypass = |world: &World| {
        let mut read = world.policies().values().filter_map(|p| p.meaning.as_ref().ok());
        read.any(|i| i.when_unavailable == WhenUnavailable::Bypass)
    };
    bypass(&cluster.world)
}

proptest! {
    #![proptest_config(cases(40))]

    /// No address, no packet, no status: the cluster is as if the system's objects were not there.
    #[test]
    fn a_system_that_is_not_on_changes_nothing(
        cluster in strategy::cluster(),
        dialect in select(&Dialect::ALL[..]),
        mode in select(vec!["Observe", "Off"]),
    ) {
        let is_of_people = |o: &&Object| !matches!(o, Object::EgressAddress(_) | Object::EgressDialect(_));
        let people = || cluster.objects.values().filter(is_of_people).cloned();
        let others = people().filter(|o| o.kind().dialect() != Some(dialect));
        let without = decided(others, Modes::default(), &cluster);
        let said = mode_object(dialect, mode);
        let first = decided(std::iter::once(said.clone()).chain(people()), Modes::default(), &cluster);
        prop_assert_eq!(&without, &first, "said before the objects");
        let last = decided(people().chain([said.clone()]), Modes::default(), &cluster);
        prop_assert_eq!(&without, &last, "said after the objects");
        // Whatever a process was told itself: what the controller says counts.
        let told = |mode| Modes::from_iter([(dialect, mode)]);
        let obeying = decided(people().chain([said]), told(Mode::On), &cluster);
        prop_assert_eq!(&without, &obeying, "told otherwise");
        let on = || decided(people().chain([mode_object(dialect, "On")]), Modes::default(), &cluster);
        let obeying = decided(people().chain([mode_object(dialect, "On")]), told(Mode::Off), &cluster);
        prop_assert_eq!(&on(), &obeying, "on, told otherwise");
    }

    /// Switched off and on again while a cluster lives: it ends as it would have from scratch.
    #[test]
    fn a_system_that_comes_back_is_as_one_that_was_always_there(
        start in strategy::cluster(),
        dialect in select(&Dialect::ALL[..]),
        events in prop::collection::vec(strategy::event(), 0..6),
    ) {
        let mut cluster = start;
        cluster.apply(mode_object(dialect, "Observe"));
        events.iter().for_each(|event| event.happen(&mut cluster));
        cluster.settle();
        cluster.apply(mode_object(dialect, "On"));
        cluster.settle();
        let scratch = World::from_objects(cluster.objects.values().cloned());
        prop_assert_eq!(sources(&scratch, &cluster), sources(&cluster.world, &cluster));
    }

    /// An agent that has not heard yet that a system is only observed drops what it would have sent by an address, and
    /// sends nothing by another.
    #[test]
    fn an_agent_that_has_not_heard_yet_sends_nothing_by_a_wrong_address(
        start in strategy::cluster(),
        dialect in select(&Dialect::ALL[..]),
    ) {
        let mut cluster = start;
        cluster.apply(mode_object(dialect, "Observe"));
        cluster.settle();
        let bypasses = bypasses(&cluster);
        let heard = sources(&cluster.world, &cluster);
        let mut late = World::from_objects(cluster.objects.values().cloned());
        late.apply(mode_object(dialect, "On"));
        for (late, heard) in sources(&late, &cluster).into_iter().zip(heard) {
            let safe = late == heard || late == Expected::Dropped || bypasses && late == Expected::Ordinary;
            prop_assert!(safe, "{late:?}, and who has heard {heard:?}");
        }
    }
}

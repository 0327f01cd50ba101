//! Objects that wish us ill: nothing panics, nothing takes long, nothing of others is disturbed.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use egret_api::Object;
use egret_plan::{Packet, allocate, check, expected_source, explain, node};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};

use crate::sim::{Cluster, pod_object};
use crate::strategy;

/// Values that somebody may write anywhere.
fn odd() -> impl Strategy<Value = Value> {
    let texts = vec![
        "",
        " ",
        "0",
        "-1",
        "::/0",
        "0.0.0.0/0",
        "255.255.255.255",
        "::ffff:10.10.0.11",
        "::ffff:10.0.0.0/104",
        "10.10.0.11/32",
        "fe80::1%eth0",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "10.10.0.256",
        "\u{202e}prod",
        "ß\u{0301}🦀",
        "*",
        "../..",
        "a\nb",
        "\u{0}",
        "1970-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "node-4",
        "p",
    ];
    prop_oneof![
        4 => select(texts).prop_map(Value::from),
        1 => any::<String>().prop_map(Value::from),
        1 => select(vec![json!(0), json!(1), json!(65535), json!(-1), json!(u64::MAX), json!(true), json!(null)]),
        1 => select(vec![json!([]), json!({}), json!({"": ""}), json!(["", ""])]),
    ]
}

/// Places in a JSON value, as pointers.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (k, v) in map {
                places(v, &format!("{at}/{}", k.replace('~', "~0").replace('/', "~1")), found);
            }
        }
        Value::Array(list) => {
            for (n, v) in list.iter().enumerate() {
                places(v, &format!("{at}/{n}"), found);
            }
        }
        _ => {}
    }
    if !at.is_empty() && at != "/kind" && at != "/apiVersion" {
        found.push(at.to_owned());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, max_shrink_iters: 300, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_can_be_decoded_makes_the_planner_panic(
        objects in prop::collection::vec((any::<Index>(), prop::collection::vec((any::<Index>(), odd()), 1..4)), 1..6),
        cluster in strategy::cluster(),
    ) {
        let mut world = cluster.world.clone();
        let present: Vec<&Object> = cluster.objects.values().collect();
        for (which, changes) in objects {
            let object = present[which.index(present.len())];
            let mut value = object.encode().unwrap();
            for (place, odd) in changes {
                let mut found = Vec::new();
                places(&value, "", &mut found);
                *value.pointer_mut(&found[place.index(found.len())]).unwrap() = odd;
            }
            if let Ok(object) = object.kind().decode(value) {
                check(&object);
                world.apply(object);
            }
        }
        let decision = allocate::decide(&world, &cluster.settings, cluster.now);
        for (name, spec) in &decision.addresses {
            prop_assert!(spec.address.parse::<IpAddr>().is_ok(), "{name}");
            prop_assert!(spec.leases.iter().all(|l| l.first_port >= 1024));
        }
        for name in cluster.nodes().into_iter().filter(|n| world.nodes().contains_key(n)) {
            node::plan(&world, &cluster.settings, &cluster.local(&name));
        }
        for (key, pod) in world.pods() {
            let packet = Packet { address: [198, 51, 100, 1].into(), protocol: 6, port: 80 };
            let _ = explain(&world, &cluster.settings, (&key.0, &key.1), Some(packet)).to_string();
            for address in &pod.addresses {
                expected_source(&world, &cluster.settings, *address, packet);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, max_shrink_iters: 300, ..ProptestConfig::default() })]

    #[test]
    fn broken_objects_of_one_namespace_change_nothing_of_others_and_are_told_field_and_cure(
        cluster in strategy::cluster(),
        writes in prop::collection::vec((strategy::policy_in(1), prop::collection::vec((any::<Index>(), odd()), 1..4)), 1..5),
    ) {
        let mut after = cluster.clone();
        for (object, changes) in writes {
            let mut value = object.encode().unwrap();
            for (place, odd) in changes {
                let mut found = Vec::new();
                places(&value, "", &mut found);
                // Whose the object is stays: a user of a namespace writes there and nowhere else.
                found.retain(|place| place.starts_with("/spec/") || place.starts_with("/metadata/annotations/"));
                if !found.is_empty() {
                    *value.pointer_mut(&found[place.index(found.len())]).unwrap() = odd;
                }
            }
            let Ok(object) = object.kind().decode(value) else { continue };
            for fault in check(&object) {
                prop_assert!(!fault.field.is_empty() && !fault.message.is_empty() && !fault.cure.is_empty(), "{fault:?}");
            }
            strategy::Event::Put(Box::new(object)).happen(&mut after);
        }
        after.settle();
        crate::property::nothing_changed_but_in("b", &cluster, &after)?;
        for (key, told) in allocate::decide(&after.world, &after.settings, after.now).statuses {
            let conditions = told["conditions"].as_array().cloned().unwrap_or_default();
            let bad = conditions.iter().find(|c| c["status"] == "False" && c["reason"] == "InvalidField");
            let message = bad.map(|c| c["message"].as_str().unwrap_or_default().to_owned());
            prop_assert!(message.is_none_or(|m| m.contains(": ") && m.contains("; ")), "{key}: {conditions:?}");
        }
    }
}

fn pool(ranges: Value) -> Object {
    crate::sim::decode(json!({
        "apiVersion": "egret.dev/v1alpha1", "kind": "EgressPool", "metadata": {"name": "p"},
        "spec": {"ranges": ranges, "namespaces": {"names": ["*"]}},
    }))
}

fn policy(name: &str, destinations: Value) -> Object {
    crate::sim::decode(json!({
        "apiVersion": "egret.dev/v1alpha1", "kind": "EgressPolicy", "metadata": {"name": name, "namespace": "a"},
        "spec": {"podSelector": {}, "pool": "p", "destinations": destinations},
    }))
}

/// As large as the limits allow, and larger: each is answered within a time that a debug build meets easily.
#[test]
fn the_largest_objects_are_planned_in_time() {
    let mut cluster = Cluster::six_nodes();
    let begun = Instant::now();
    cluster.apply(pool(
        json!([{"cidr": "10.0.0.0/8"}, {"cidr": "::/0"}, {"start": "10.10.0.11", "end": "10.10.0.20"}]),
    ));
    cluster.apply(pod_object("a", "pod", "node-1", 10, json!({})));
    for n in 0..4 {
        let large: Vec<Value> = (0..256)
            .map(|i| {
                let except: Vec<String> =
                    (0..64).map(|e| format!("{}.{}.{}.0/24", 60 + n, i, e * 4)).collect();
                json!({"cidr": format!("{}.{}.0.0/16", 60 + n, i), "except": except})
            })
            .collect();
        cluster.apply(policy(&format!("large-{n}"), large.into()));
    }
    let nested: Vec<Value> = (1..=128).map(|bits| json!({"cidr": format!("2001:db8::/{bits}")})).collect();
    cluster.apply(policy("nested", nested.into()));
    let over: Vec<Value> =
        (0..10_000).map(|n| json!({"cidr": format!("70.{}.{}.0/24", n / 256, n % 256)})).collect();
    cluster.apply(policy("over", over.into()));
    while cluster.controller() {}
    let plan = node::plan(&cluster.world, &cluster.settings, &cluster.local("node-1"));
    assert!(plan.tables.rules.len() > 60_000, "{}", plan.tables.rules.len());
    let over = cluster.world.policies().iter().find(|(k, _)| k.name == "over").unwrap().1;
    assert!(over.meaning.is_err());
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
}

/// A network of prefix 0 among the nodes' would make the whole world inside.
#[test]
fn a_node_cannot_take_the_world_inside() {
    let mut cluster = Cluster::six_nodes();
    let mut node = crate::sim::node_object(6).encode().unwrap();
    node["spec"]["podCIDRs"] = json!(["0.0.0.0/0", "::/0", "10.244.6.0/24"]);
    cluster.apply(crate::sim::decode(node));
    cluster.settle();
    assert!(cluster.kernels["node-1"].inside.iter().all(|n| n.prefix_len() > 0));
}

//! Small clusters by chance: few names, so that things meet.

use egret_api::{Dialect, Kind, Object, ObjectKey, PortUse};
use jiff::SignedDuration;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Value, json};

use crate::sim::{Cluster, decode, node_object, pod_object};

/// Something that happens.
#[derive(Clone, Debug)]
pub enum Event {
    Put(Box<Object>),
    Delete(ObjectKey),
    Off(String),
    On(String),
    Pass(i64),
    /// A node has so many flows by an address, in every other of its blocks or in each.
    Flows(String, u8, u64, bool),
}

impl Event {
    pub fn happen(&self, cluster: &mut Cluster) {
        match self.clone() {
            // A write by people leaves the status alone.
            Event::Put(object) if !cluster.objects.contains_key(&object.key()) => cluster.apply(*object),
            Event::Put(object) => {
                let status =
                    cluster.objects.get(&object.key()).map(|o| o.encode().unwrap()["status"].clone());
                let mut value = object.encode().unwrap();
                match (status, object.kind()) {
                    (_, Kind::Pod | Kind::Node) | (None, _) => {}
                    (Some(_), Kind::Service) => keep_told(cluster, &object, &mut value),
                    (Some(status), _) => value["status"] = status,
                }
                cluster.apply(object.kind().decode(value).unwrap());
            }
            Event::Delete(key) => cluster.delete(&key),
            Event::Off(node) => drop(cluster.off.insert(node)),
            Event::On(node) => drop(cluster.off.remove(&node)),
            Event::Pass(seconds) => cluster.pass(SignedDuration::from_secs(seconds)),
            Event::Flows(node, which, flows, everywhere) => {
                let records: Vec<_> = cluster.world.records().values().collect();
                let Some(record) = records.get(usize::from(which) % records.len().max(1)) else { return };
                let mine = record.spec.leases.iter().filter(|lease| lease.node == node);
                let mine = mine.step_by(if everywhere { 1 } else { 2 }).map(|lease| lease.first_port);
                let used = PortUse { wanted_blocks: 0, flows, busy_blocks: mine.collect() };
                let address = record.address;
                cluster.flows.insert((node, address), used);
            }
        }
    }
}

/// Conditions and annotations that the controller wrote stay where they are.
fn keep_told(cluster: &Cluster, object: &Object, value: &mut Value) {
    let before = cluster.objects[&object.key()].encode().unwrap();
    value["status"]["conditions"] = before["status"]["conditions"].clone();
    for name in egret_api::service::TOLD {
        if let Some(told) = before["metadata"]["annotations"].get(name) {
            value["metadata"]["annotations"][name] = told.clone();
        }
    }
}

const NAMESPACES: [&str; 3] = ["a", "b", "c"];

fn object(kind: &str, version: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec})
}

/// A selector of pods.
fn selector() -> impl Strategy<Value = Value> {
    select(vec![
        json!({}),
        json!({"matchLabels": {"app": "x"}}),
        json!({"matchLabels": {"app": "y"}}),
        json!({"matchExpressions": [{"key": "app", "operator": "In", "values": ["x", "z"]}]}),
        json!({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["x"]}]}),
        json!({"matchExpressions": [{"key": "blue", "operator": "Exists"}]}),
    ])
}

fn namespace_selector() -> impl Strategy<Value = Value> {
    select(vec![
        json!({}),
        json!({"matchLabels": {"tier": "gold"}}),
        json!({"matchLabels": {"kubernetes.io/metadata.name": "a"}}),
        json!({"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}),
    ])
}

fn created() -> impl Strategy<Value = Option<String>> {
    proptest::option::of((10..14u8).prop_map(|hour| format!("2026-01-01T{hour}:00:00Z")))
}

pub const NETWORKS: [&str; 8] = [
    "0.0.0.0/0",
    "198.51.0.0/16",
    "198.51.100.0/24",
    "198.51.100.128/25",
    "203.0.113.7/32",
    "2001:db8::/32",
    "2001:db8:1::/48",
    "::/0",
];

fn destinations() -> impl Strategy<Value = Value> {
    let port = (select(vec!["TCP", "UDP"]), select(vec![22u16, 80, 443]), proptest::option::of(500..600u16))
        .prop_map(|(protocol, port, end)| match end {
            Some(end) => json!({"protocol": protocol, "port": port, "endPort": end}),
            None => json!({"protocol": protocol, "port": port}),
        });
    let except = subsequence(NETWORKS[1..].to_vec(), 0..3);
    let destination = (select(&NETWORKS[..]), except, prop::collection::vec(port, 0..3)).prop_map(
        |(cidr, except, ports)| {
            let net: ipnet::IpNet = cidr.parse().unwrap();
            let inner: Vec<&str> =
                except.into_iter().filter(|e| net.contains(&e.parse::<ipnet::IpNet>().unwrap())).collect();
            json!({"cidr": cidr, "except": inner, "ports": ports})
        },
    );
    prop::collection::vec(destination, 0..4).prop_map(Value::from)
}

fn policy_spec() -> impl Strategy<Value = Value> {
    let address = proptest::option::weighted(
        0.2,
        select(vec!["10.10.0.12", "10.10.0.13", "10.10.0.99", "fd00:10:10::b1"]),
    );
    let pool = select(vec!["p", "q", "nobody's"]);
    let when = select(vec!["Drop", "Drop", "Bypass"]);
    (selector(), destinations(), pool, address, when).prop_map(|(pods, destinations, pool, address, when)| {
        let mut spec =
            json!({"podSelector": pods, "destinations": destinations, "pool": pool, "whenUnavailable": when});
        if let Some(address) = address {
            spec["address"] = address.into();
        }
        spec
    })
}

fn stamped(mut value: Value, namespace: Option<&str>, created: Option<String>) -> Box<Object> {
    if let Some(namespace) = namespace {
        value["metadata"]["namespace"] = namespace.into();
    }
    if let Some(created) = created {
        value["metadata"]["creationTimestamp"] = created.into();
    }
    Box::new(decode(value))
}

fn pod(namespace: impl Strategy<Value = usize>) -> impl Strategy<Value = Box<Object>> {
    let labels =
        select(vec![json!({"app": "x"}), json!({"app": "y"}), json!({"app": "y", "blue": "1"}), json!({})]);
    (namespace, 0..4u8, 1..=6u8, labels, 0..14u8).prop_map(|(ns, name, node, labels, odd)| {
        let last = 10 + 4 * u8::try_from(ns).unwrap() + name;
        let pod = pod_object(NAMESPACES[ns], &format!("pod-{name}"), &format!("node-{node}"), last, labels);
        let mut value = pod.encode().unwrap();
        match odd {
            0 => value["status"]["phase"] = "Succeeded".into(),
            1 => value["spec"]["hostNetwork"] = true.into(),
            5 => value["status"]["conditions"] = json!([{"type": "Ready", "status": "False"}]),
            6 => value["metadata"]["deletionTimestamp"] = "2026-01-01T11:59:00Z".into(),
            // Its address in another network, or whatever else one may write there.
            2..=4 => {
                let (own, others) = (format!("10.88.{ns}.{last}"), format!("10.88.{}.{last}", (ns + 1) % 3));
                let ips = match odd {
                    2 => vec![own],
                    3 => {
                        vec![others, own, "10.244.1.11".into(), format!("10.244.2.{last}"), "10.0.0.2".into()]
                    }
                    _ => vec!["10.10.0.12".into(), format!("10.244.{node}.{last}"), own],
                };
                let status = json!([{"name": "a/vlan5", "interface": "net1", "ips": ips}]).to_string();
                value["metadata"]["annotations"] = json!({"k8s.v1.cni.cncf.io/network-status": status});
            }
            _ => {}
        }
        Box::new(decode(value))
    })
}

fn policy(namespace: impl Strategy<Value = usize>) -> impl Strategy<Value = Box<Object>> {
    (namespace, 0..3u8, policy_spec(), created()).prop_map(|(ns, name, spec, created)| {
        let value = object("EgressPolicy", "egret.dev/v1alpha1", &format!("policy-{name}"), spec);
        stamped(value, Some(NAMESPACES[ns]), created)
    })
}

fn cluster_policy() -> impl Strategy<Value = Box<Object>> {
    (0..2u8, policy_spec(), namespace_selector(), created()).prop_map(
        |(name, mut spec, namespaces, created)| {
            spec["namespaceSelector"] = namespaces;
            stamped(
                object("ClusterEgressPolicy", "egret.dev/v1alpha1", &format!("wide-{name}"), spec),
                None,
                created,
            )
        },
    )
}

fn egress() -> impl Strategy<Value = Box<Object>> {
    let scope = (proptest::option::of(selector()), proptest::option::of(namespace_selector()));
    let address = proptest::option::weighted(0.2, select(vec!["10.10.0.32", "10.10.0.99"]));
    let pool = proptest::option::weighted(0.9, select(vec!["e", "nobody's"]));
    (0..3u8, scope, address, pool, created()).prop_map(
        |(name, (pods, namespaces), address, pool, created)| {
            let mut spec = json!({"appliedTo": {"podSelector": pods, "namespaceSelector": namespaces}});
            if let Some(address) = address {
                spec["egressIP"] = address.into();
            }
            if let Some(pool) = pool {
                spec["externalIPPool"] = pool.into();
            }
            stamped(object("Egress", "crd.antrea.io/v1beta1", &format!("egress-{name}"), spec), None, created)
        },
    )
}

fn pool() -> impl Strategy<Value = Box<Object>> {
    let ranges = vec![
        json!({"start": "10.10.0.11", "end": "10.10.0.13"}),
        json!({"start": "10.10.0.13", "end": "10.10.0.20"}),
        json!({"cidr": "fd00:10:10::b0/126"}),
        json!({"cidr": "10.10.0.32/30"}),
    ];
    let grant = select(vec![
        json!({"names": ["*"]}),
        json!({"names": ["a", "b"]}),
        json!({"selector": {"matchLabels": {"tier": "gold"}}}),
    ]);
    let ports = select(vec![
        json!({}),
        json!({"blockSize": 8192, "initialBlocks": 3}),
        json!({"blockSize": 64, "maxBlocks": 4}),
        json!({"podShare": 8}),
    ]);
    let timeouts =
        select(vec![json!({}), json!({"udp": 120, "tcpClosed": 240}), json!({"tcpEstablished": 86400})]);
    (select(vec!["p", "q"]), subsequence(ranges, 1..=3), grant, ports, timeouts, created()).prop_map(
        |(name, ranges, grant, ports, timeouts, created)| {
            let spec = json!({"ranges": ranges, "namespaces": grant, "ports": ports, "timeouts": timeouts});
            stamped(object("EgressPool", "egret.dev/v1alpha1", name, spec), None, created)
        },
    )
}

fn external_pool() -> impl Strategy<Value = Box<Object>> {
    let ranges = vec![json!({"cidr": "10.10.0.32/29"}), json!({"start": "10.10.0.12", "end": "10.10.0.14"})];
    (subsequence(ranges, 1..=2), created()).prop_map(|(ranges, created)| {
        let spec = json!({"ipRanges": ranges, "nodeSelector": {}});
        stamped(object("ExternalIPPool", "crd.antrea.io/v1alpha2", "e", spec), None, created)
    })
}

fn gateway() -> impl Strategy<Value = Box<Object>> {
    let address = select(vec!["10.10.0.50", "10.10.0.12", "fd00:10:10::b1", "10.10.0.50"]);
    let nodes = select(vec![json!({}), json!({"wire": "eth1"}), json!({"kubernetes.io/hostname": "node-5"})]);
    let mode =
        select(vec!["VirtualIPAddress", "VirtualIPAddress", "PrimaryIPFromEgressGatewayNodeInterface"]);
    (0..2u8, address, nodes, mode, created()).prop_map(|(name, address, nodes, mode, created)| {
        let block = match mode {
            "VirtualIPAddress" => ("virtualIPAddress", json!({"ip": address})),
            _ => ("primaryIPFromEgressGatewayNodeInterface", json!({"interfaceName": "eth1"})),
        };
        let spec = json!({"nodeSelector": nodes, "sourceIP": {"mode": mode, block.0: block.1}});
        let value = object("EgressGateway", "network.deckhouse.io/v1alpha1", &format!("gw-{name}"), spec);
        stamped(value, None, created)
    })
}

fn gateway_policy() -> impl Strategy<Value = Box<Object>> {
    let nets = subsequence(NETWORKS.to_vec(), 1..3);
    let except = subsequence(NETWORKS[1..].to_vec(), 0..2);
    let pods = select(vec![
        json!({"matchLabels": {"app": "x", "io.kubernetes.pod.namespace": "a"}}),
        json!({"matchLabels": {"io.cilium.k8s.namespace.labels.tier": "gold"}}),
        json!({"matchExpressions": [{"key": "io.kubernetes.pod.namespace", "operator": "In", "values": ["b", "c"]}]}),
        json!({"matchLabels": {"app": "y"}}),
    ]);
    let gateway = select(vec!["gw-0", "gw-0", "gw-1", "nobody's"]);
    let pods = prop::collection::vec(pods, 1..3);
    (0..3u8, nets, except, pods, gateway, created()).prop_map(|(name, nets, except, pods, gateway, created)| {
        let selectors: Vec<Value> = pods.into_iter().map(|pods| json!({"podSelector": pods})).collect();
        let spec = json!({
            "egressGatewayName": gateway, "destinationCIDRs": nets, "excludedCIDRs": except, "selectors": selectors,
        });
        let kind = "EgressGatewayPolicy";
        stamped(object(kind, "network.deckhouse.io/v1alpha1", &format!("gwp-{name}"), spec), None, created)
    })
}

const VIPS: [&str; 6] =
    ["10.10.0.12", "10.10.0.13", "10.10.0.33", "10.10.0.50", "10.10.0.99", "fd00:10:10::b1"];

fn loxilb(namespace: impl Strategy<Value = usize>) -> impl Strategy<Value = Box<Object>> {
    let addresses = vec!["10.244.1.11", "10.244.2.0/24", "10.88.0.0/16", "fd00:10:244::/48", "10.244.0.0/33"];
    let chosen = subsequence(addresses, 0..3);
    let labels = select(vec![json!({"app": "x"}), json!({"blue": "1"}), json!({})]);
    (namespace, 0..2u8, chosen, labels, select(&VIPS[..]), created()).prop_map(
        |(ns, name, addresses, labels, vip, created)| {
            let spec = json!({"addresses": addresses, "selector": labels, "vip": vip});
            let value = object("Egress", "egress.loxilb.io/v1", &format!("loxilb-{name}"), spec);
            stamped(value, Some(NAMESPACES[ns]), created)
        },
    )
}

fn service(namespace: impl Strategy<Value = usize>) -> impl Strategy<Value = Box<Object>> {
    let ports = proptest::option::of(select(vec!["udp:550", "tcp:80,udp:22", "sctp:80", "tcp:443, x"]));
    let allowed = proptest::option::of(select(vec!["198.51.100.0/24,2001:db8::/32", "nowhere", "0.0.0.0/0"]));
    let denied = proptest::option::of(select(vec!["198.51.100.128/25", "198.51.0.0/16"]));
    let address = proptest::option::weighted(0.9, select(&VIPS[..]));
    let egress = select(vec!["true", "true", "true", "false"]);
    let labels = select(vec![json!({"app": "x"}), json!({"app": "y"}), json!({})]);
    let inbound = select(vec!["Local", "Cluster"]);
    ((namespace, 0..2u8), (egress, ports, allowed, denied, inbound), address, labels, created()).prop_map(
        |((ns, name), (egress, ports, allowed, denied, inbound), address, labels, created)| {
            let spec = json!({"type": "LoadBalancer", "selector": labels, "externalTrafficPolicy": inbound,
                "publishNotReadyAddresses": inbound == "Local" && ns == 0});
            let mut value = object("Service", "v1", &format!("service-{name}"), spec);
            let annotations = &mut value["metadata"]["annotations"];
            annotations["kube-vip.io/egress"] = egress.into();
            for (name, text) in [
                ("egress-destination-ports", ports),
                ("egress-allowed-networks", allowed),
                ("egress-denied-networks", denied),
                ("loadbalancerIPs", address),
            ] {
                if let Some(text) = text {
                    annotations[format!("kube-vip.io/{name}")] = text.into();
                }
            }
            value["status"] = json!({"loadBalancer": {"ingress": [{"ip": "10.10.0.12"}]}});
            stamped(value, Some(NAMESPACES[ns]), created)
        },
    )
}

fn node() -> impl Strategy<Value = Box<Object>> {
    (1..=6u8, 0..4u8).prop_map(|(n, state)| {
        let mut value = node_object(n).encode().unwrap();
        match state {
            0 => value["spec"]["unschedulable"] = true.into(),
            1 => value["status"]["conditions"] = json!([{"type": "Ready", "status": "False"}]),
            _ => {}
        }
        Box::new(decode(value))
    })
}

fn namespace() -> impl Strategy<Value = Box<Object>> {
    (0..3usize, select(vec![json!({}), json!({"tier": "gold"}), json!({"tier": "low"})])).prop_map(|(n, labels)| {
        let value = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACES[n], "labels": labels}});
        Box::new(decode(value))
    })
}

/// An object of any kind that people write.
pub fn any_object() -> impl Strategy<Value = Box<Object>> {
    prop_oneof![
        6 => pod(0..3usize),
        4 => policy(0..3usize),
        2 => cluster_policy(),
        2 => egress(),
        3 => pool(),
        1 => external_pool(),
        1 => namespace(),
        1 => node(),
        1 => gateway(),
        2 => gateway_policy(),
        2 => loxilb(0..3usize),
        2 => service(0..3usize),
    ]
}

/// A policy of any dialect that a user of one namespace may write.
pub fn policy_in(namespace: usize) -> impl Strategy<Value = Box<Object>> {
    prop_oneof![policy(Just(namespace)), loxilb(Just(namespace)), service(Just(namespace))]
}

/// A write that a user of one namespace may do.
pub fn write_in(namespace: usize) -> impl Strategy<Value = Event> {
    let object = prop_oneof![1 => pod(Just(namespace)), 3 => policy_in(namespace)];
    (object, 0..4u8).prop_map(|(object, deletes)| match deletes {
        0 => Event::Delete(object.key()),
        _ => Event::Put(object),
    })
}

/// The load on some address changes.
pub fn flows() -> impl Strategy<Value = Event> {
    let node = (1..=6u8).prop_map(|n| format!("node-{n}"));
    (node, any::<u8>(), select(vec![0, 1, 400, 3_000, 20_000]), any::<bool>())
        .prop_map(|(node, which, flows, everywhere)| Event::Flows(node, which, flows, everywhere))
}

/// The controller says how far a system's objects count.
fn dialect() -> impl Strategy<Value = Event> {
    let modes = select(vec!["On", "Observe", "Off"]);
    (select(&Dialect::ALL[..]), modes, 0..3u8).prop_map(|(dialect, mode, deletes)| {
        let said = mode_object(dialect, mode);
        match deletes {
            0 => Event::Delete(said.key()),
            _ => Event::Put(Box::new(said)),
        }
    })
}

/// What the controller says of a system.
pub fn mode_object(dialect: Dialect, mode: &str) -> Object {
    decode(object("EgressDialect", "egret.dev/v1alpha1", dialect.name(), json!({"mode": mode})))
}

/// Anything that can happen.
pub fn event() -> impl Strategy<Value = Event> {
    let node = (1..=6u8).prop_map(|n| format!("node-{n}"));
    prop_oneof![
        12 => any_object().prop_map(Event::Put),
        3 => any_object().prop_map(|o| Event::Delete(o.key())),
        1 => dialect(),
        1 => node.clone().prop_map(Event::Off),
        1 => node.prop_map(Event::On),
        1 => (1..200i64).prop_map(Event::Pass),
        2 => flows(),
    ]
}

/// A settled cluster with some history.
pub fn cluster() -> impl Strategy<Value = Cluster> {
    let setting = (pool(), external_pool());
    (setting, prop::collection::vec(event(), 5..25)).prop_map(|((pool, external), events)| {
        let mut cluster = Cluster::six_nodes();
        cluster.apply(*pool);
        cluster.apply(*external);
        for event in events {
            event.happen(&mut cluster);
        }
        cluster.settle();
        cluster
    })
}

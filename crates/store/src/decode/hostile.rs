//! Broken and hostile objects of every kind that people write: nobody panics, nobody else notices, and whoever wrote the
//! object is told the field and the cure, at once or in a condition.
//!
//! A kind has one good manifest, and a table of its fields. What can be wrong with a field follows from what it holds.

use std::collections::BTreeMap;
use std::net::IpAddr;

use egret_plan::{ClusterSettings, Expected, Packet, World, allocate, expected_source};
use serde_json::{Value, json};

use super::{Decoded, manifest};
use egret_api::{EgressAddress, Kind, Object, ObjectKey};

/// At least so many wrong objects of each kind.
const EACH: usize = 50;

/// What a field holds.
#[derive(Clone, Copy)]
enum Holds {
    Address,
    Network,
    AddressOrNetwork,
    Selector,
    /// Labels without operators.
    Labels,
    /// A list that may have at most so many of what the good manifest has.
    List(usize),
    /// The name of something that must exist.
    Name,
    Port,
    Protocol,
    /// A number, and too large for it.
    Count(i64),
    Choice,
    /// An annotation with a list of ports, networks or addresses.
    TextOfPorts,
    TextOfNetworks,
    TextOfAddresses,
    TextOfChoice,
}

use Holds::*;

/// A good manifest and its fields.
struct Sample {
    kind: Kind,
    good: Value,
    fields: Vec<(&'static str, Holds)>,
    /// Good manifests in which one thing is changed that a table of fields does not reach: where, and into what.
    also: Vec<(&'static str, Value)>,
}

/// Text that is long, of another script, or not what it looks like.
fn odd_text() -> Vec<Value> {
    let long = "a".repeat(100_000);
    vec![json!("ß🦀"), json!("\u{202e}10.99.0.5"), json!("a\nb"), json!("\u{0}"), json!("../.."), json!(long)]
}

fn no_text() -> Vec<Value> {
    vec![json!(7), json!(true), json!([]), json!({}), json!(["10.99.0.5"]), json!({"a": "b"})]
}

fn texts(texts: &[&str]) -> Vec<Value> {
    texts.iter().map(|text| json!(text)).collect()
}

/// Everything that is wrong in a field.
fn wrong(holds: Holds, good: &Value) -> Vec<Value> {
    let networks =
        ["10.0.0.0/33", "2001:db8::/129", "10.0.0.0/-1", "10.0.0.0/", "/8", "10.0.0/8", "fe80::%eth0/64"];
    let addresses = ["10.0.0", "10.0.0.256", "fe80::1%eth0", "0x0a000001", "١٠.٠.٠.١", "10.0.0.1:80"];
    let no_list = || vec![json!("x"), json!(7), json!(true), json!({"a": 1}), json!([7.5]), json!([[["x"]]])];
    let ports = [
        "udp",
        "5060:udp",
        "udp:0",
        "udp:65536",
        "udp:-1",
        "icmp:8",
        "udp:5060-5070",
        "udp:５０６０",
        "sctp:80",
        "udp:5060;tcp:80",
        "x",
        "udp::5060",
    ];
    match holds {
        Address => [no_text(), odd_text(), texts(&addresses), texts(&["10.0.0.1/32"])].concat(),
        Network => [no_text(), odd_text(), texts(&networks), texts(&["10.0.0.1"])].concat(),
        AddressOrNetwork => [no_text(), odd_text(), texts(&networks), texts(&addresses)].concat(),
        Selector => {
            let expression = |e: Value| json!({"matchExpressions": [e]});
            let many: Vec<Value> = (0..10_000).map(|_| json!({"key": "a", "operator": "Maybe"})).collect();
            vec![
                json!("app=web"),
                json!(7),
                json!({"matchLabels": {"a": 7}}),
                json!({"matchLabels": "a=b"}),
                json!({"matchExpressions": {"key": "a"}}),
                expression(json!({"key": "a", "operator": "Near", "values": ["b"]})),
                expression(json!({"key": "a", "operator": "In"})),
                expression(json!({"key": "a", "operator": "NotIn", "values": []})),
                expression(json!({"key": "a", "operator": "Exists", "values": ["b"]})),
                expression(json!({"key": "a", "operator": "In\u{200b}", "values": ["b"]})),
                expression(json!({"key": 7, "operator": "Exists"})),
                expression(json!({"key": "a", "operator": "In", "values": "b"})),
                json!({"matchExpressions": many}),
            ]
        }
        Labels => {
            let values = [json!(7), json!(true), json!([]), json!({}), json!(["b"])].map(|v| json!({"a": v}));
            [vec![json!("a=b"), json!(7), json!([1])], values.to_vec()].concat()
        }
        List(most) => {
            let many = |count: usize| json!(vec![good[0].clone(); count]);
            [no_list(), vec![many(most + 1), many(10_000)]].concat()
        }
        Name => [vec![json!(7), json!([]), json!({}), json!(true)], texts(&["nobody's", "hostile", "ß🦀"])]
            .concat(),
        Port => vec![json!(0), json!(-1), json!(65_536), json!("http"), json!(1.5), json!([]), json!({})],
        Protocol => [texts(&["tcp", "SCTP", "ICMP", "ß"]), vec![json!(6), json!([])]].concat(),
        Count(large) => vec![json!(-1), json!(large), json!("1024"), json!(1.5), json!([]), json!(u64::MAX)],
        Choice => [texts(&["drop", "Bypass ", "ß", "DROP"]), vec![json!(7), json!([]), json!({})]].concat(),
        TextOfPorts => [vec![json!(7), json!([]), json!({})], texts(&ports)].concat(),
        TextOfNetworks => {
            let many = vec!["198.51.100.0/24"; 10_000].join(",");
            [vec![json!(7), json!([]), json!({}), json!(many)], texts(&networks), texts(&["10.0.0.1", "ß/8"])]
                .concat()
        }
        TextOfAddresses => {
            [vec![json!(7), json!([])], texts(&addresses), texts(&["sip.example.org", "ß"])].concat()
        }
        TextOfChoice => [vec![json!(7), json!([])], texts(&["drop", "Open", "ß", "Drop,Bypass"])].concat(),
    }
}

/// What is wrong with the metadata of any object.
fn wrong_metadata(kind: Kind) -> Vec<(&'static str, Value)> {
    let times = [json!("yesterday"), json!(7), json!([]), json!({}), json!("2026-13-45T99:99:99Z")];
    let mut all: Vec<_> = times.map(|time| ("/metadata/creationTimestamp", time)).to_vec();
    all.extend([json!(7), json!("x"), json!([1])].map(|labels| ("/metadata/labels", labels)));
    all.extend([json!(7), json!("x"), json!(true)].map(|spec| ("/spec", spec)));
    if kind != Kind::Service {
        all.extend([json!(7), json!(["x"])].map(|annotations| ("/metadata/annotations", annotations)));
        all.extend([json!(""), json!(null), json!(7)].map(|name| ("/metadata/name", name)));
    }
    all
}

const WHEN: &str = "/metadata/annotations/egret.dev~1when-unavailable";

fn samples() -> Vec<Sample> {
    let object = |version: &str, kind: &str, spec: Value| {
        json!({
            "apiVersion": version, "kind": kind, "spec": spec,
            "metadata": {
                "name": "hostile", "namespace": "hostile", "creationTimestamp": "2026-02-02T00:00:00Z",
                "annotations": {"egret.dev/when-unavailable": "Drop"},
            },
        })
    };
    let own = |kind: &str, spec: Value| object("egret.dev/v1alpha1", kind, spec);
    let destinations = json!([{
        "cidr": "198.51.100.0/24", "except": ["198.51.100.128/25"],
        "ports": [{"protocol": "TCP", "port": 443, "endPort": 444}],
    }]);
    let of_policy = || {
        vec![
            ("/spec/podSelector", Selector),
            ("/spec/destinations", List(256)),
            ("/spec/destinations/0/cidr", Network),
            ("/spec/destinations/0/except", List(64)),
            ("/spec/destinations/0/except/0", Network),
            ("/spec/destinations/0/ports", List(16)),
            ("/spec/destinations/0/ports/0/port", Port),
            ("/spec/destinations/0/ports/0/endPort", Port),
            ("/spec/destinations/0/ports/0/protocol", Protocol),
            ("/spec/pool", Name),
            ("/spec/address", Address),
            ("/spec/whenUnavailable", Choice),
        ]
    };
    let also_policy = || {
        vec![
            ("/spec/destinations/0/except/0", json!("203.0.113.0/24")),
            ("/spec/destinations/0/except/0", json!("2001:db8::/32")),
            ("/spec/destinations/0/ports/0/endPort", json!(80)),
            ("/spec/address", json!("2001:db8::7")),
            ("/spec/pool", json!("")),
        ]
    };
    let policy = json!({"podSelector": {}, "destinations": destinations, "pool": "pool", "address": "10.99.0.5", "whenUnavailable": "Drop"});
    let mut wide = policy.clone();
    wide["namespaceSelector"] = json!({"matchLabels": {"kubernetes.io/metadata.name": "hostile"}});
    let mut of_wide = of_policy();
    of_wide.push(("/spec/namespaceSelector", Selector));
    vec![
        Sample {
            kind: Kind::EgressPool,
            good: own(
                "EgressPool",
                json!({
                    "ranges": [{"cidr": "10.98.0.0/28"}, {"start": "10.98.1.1", "end": "10.98.1.9"}], "nodeSelector": {},
                    "namespaces": {"names": ["hostile"], "selector": {}}, "ports": {"blockSize": 1024}, "timeouts": {"udp": 300},
                }),
            ),
            fields: vec![
                ("/spec/ranges", List(64)),
                ("/spec/ranges/0/cidr", Network),
                ("/spec/ranges/1/start", Address),
                ("/spec/ranges/1/end", Address),
                ("/spec/nodeSelector", Selector),
                ("/spec/namespaces/selector", Selector),
                ("/spec/ports/blockSize", Count(65_536)),
                ("/spec/timeouts/udp", Count(1 << 40)),
            ],
            also: vec![
                ("/spec/ranges", json!([])),
                ("/spec/ranges/1/end", json!("2001:db8::7")),
                ("/spec/ranges/1/end", json!("10.98.1.0")),
                ("/spec/ranges/0", json!({})),
                ("/spec/ranges/0", json!({"cidr": "10.98.0.0/28", "start": "10.98.0.1"})),
                ("/spec/ports/blockSize", json!(1000)),
                ("/spec/rangs", json!([])),
            ],
        },
        Sample {
            kind: Kind::EgressPolicy,
            good: own("EgressPolicy", policy),
            fields: of_policy(),
            also: also_policy(),
        },
        Sample {
            kind: Kind::ClusterEgressPolicy,
            good: own("ClusterEgressPolicy", wide),
            fields: of_wide,
            also: also_policy(),
        },
        Sample {
            kind: Kind::Egress,
            good: object(
                "crd.antrea.io/v1beta1",
                "Egress",
                json!({
                    "appliedTo": {"podSelector": {}, "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "hostile"}}},
                    "egressIP": "10.97.0.5", "externalIPPool": "external",
                }),
            ),
            fields: vec![
                ("/spec/appliedTo/podSelector", Selector),
                ("/spec/appliedTo/namespaceSelector", Selector),
                ("/spec/egressIP", Address),
                ("/spec/externalIPPool", Name),
                (WHEN, TextOfChoice),
            ],
            also: vec![
                ("/spec/egressIPs", json!(["10.97.0.5"])),
                ("/spec/egressIPs", json!(["10.97.0.5", "10.97.0.6"])),
                ("/spec/egressIPs", json!(7)),
                ("/spec/externalIPPools", json!(["external"])),
                ("/spec/externalIPPools", json!({"a": 1})),
                ("/spec/bandwidth", json!({"rate": "1M", "burst": "1M"})),
                ("/spec/bandwidth", json!("fast")),
                ("/spec/egressIP", json!("2001:db8::7")),
                ("/spec/appliedTo", json!("prod")),
                ("/spec/appliedTo", json!(null)),
            ],
        },
        Sample {
            kind: Kind::ExternalIPPool,
            good: object(
                "crd.antrea.io/v1alpha2",
                "ExternalIPPool",
                json!({
                    "ipRanges": [{"cidr": "10.98.2.0/28"}, {"start": "10.98.3.1", "end": "10.98.3.9"}], "nodeSelector": {},
                }),
            ),
            fields: vec![
                ("/spec/ipRanges", List(1024)),
                ("/spec/ipRanges/0/cidr", Network),
                ("/spec/ipRanges/1/start", Address),
                ("/spec/ipRanges/1/end", Address),
                ("/spec/nodeSelector", Selector),
            ],
            also: vec![
                ("/spec/ipRanges/1/end", json!("2001:db8::7")),
                ("/spec/ipRanges/1/end", json!("10.98.3.0")),
                ("/spec/ipRanges/0", json!({})),
                ("/spec/ipRanges/0", json!({"cidr": "10.98.2.0/28", "end": "10.98.2.1"})),
            ],
        },
        Sample {
            kind: Kind::EgressGateway,
            good: object(
                "network.deckhouse.io/v1alpha1",
                "EgressGateway",
                json!({
                    "nodeSelector": {"dedicated/egress": ""},
                    "sourceIP": {"mode": "VirtualIPAddress", "virtualIPAddress": {"ip": "10.99.1.5", "interfaces": ["eth1"]}},
                }),
            ),
            fields: vec![
                ("/spec/nodeSelector", Labels),
                ("/spec/sourceIP/mode", Choice),
                ("/spec/sourceIP/virtualIPAddress/ip", Address),
            ],
            also: vec![
                ("/spec/sourceIP", json!("10.99.1.5")),
                ("/spec/sourceIP", json!({})),
                ("/spec/sourceIP", json!(null)),
                ("/spec/sourceIP", json!({"mode": "VirtualIPAddress"})),
                ("/spec/sourceIP", json!({"mode": "PrimaryIPFromEgressGatewayNodeInterface"})),
                ("/spec/sourceIP/virtualIPAddress", json!([7])),
                ("/spec/sourceIP/virtualIPAddress", json!({})),
                ("/spec/sourceIP/virtualIPAddress/interfaces", json!("eth1")),
                ("/spec/sourceIP/virtualIPAddress/interfaces", json!([7])),
                ("/spec/sourceIP/virtualIPAddress/interfaces", json!({"a": 1})),
                ("/spec/sourceIP/primaryIPFromEgressGatewayNodeInterface", json!({"interfaceName": "eth1"})),
                ("/spec/sourceIP/primaryIPFromEgressGatewayNodeInterface", json!({})),
                ("/spec/sourceIP/primaryIPFromEgressGatewayNodeInterface", json!(7)),
            ],
        },
        Sample {
            kind: Kind::EgressGatewayPolicy,
            good: object(
                "network.deckhouse.io/v1alpha1",
                "EgressGatewayPolicy",
                json!({
                    "egressGatewayName": "gateway", "destinationCIDRs": ["198.51.100.0/24"], "excludedCIDRs": ["198.51.100.128/25"],
                    "selectors": [{"podSelector": {"matchLabels": {"io.kubernetes.pod.namespace": "hostile"}}}],
                }),
            ),
            fields: vec![
                ("/spec/egressGatewayName", Name),
                ("/spec/destinationCIDRs", List(1024)),
                ("/spec/destinationCIDRs/0", Network),
                ("/spec/excludedCIDRs", List(1024)),
                ("/spec/excludedCIDRs/0", Network),
                ("/spec/selectors", List(1024)),
                ("/spec/selectors/0/podSelector", Selector),
                (WHEN, TextOfChoice),
            ],
            also: vec![
                ("/spec/destinationCIDRs", json!([])),
                ("/spec/selectors", json!([])),
                ("/spec/selectors", json!([{}])),
                ("/spec/egressGatewayName", json!("")),
            ],
        },
        Sample {
            kind: Kind::LoxilbEgress,
            good: object(
                "egress.loxilb.io/v1",
                "Egress",
                json!({
                    "addresses": ["10.244.1.77", "10.244.1.96/28"], "vip": "10.99.0.6", "selector": {"app": "hostile"},
                }),
            ),
            fields: vec![
                ("/spec/addresses", List(4096)),
                ("/spec/addresses/0", AddressOrNetwork),
                ("/spec/vip", Address),
                ("/spec/selector", Labels),
                (WHEN, TextOfChoice),
            ],
            also: vec![
                ("/spec/vip", json!("")),
                ("/spec/vip", json!("192.0.2.1")),
                ("/spec", json!({})),
                ("/spec", json!({"vip": "10.99.0.6"})),
                ("/metadata/annotations/loxilb.io~1multus-nets", json!("default/vlan5/x")),
                ("/metadata/annotations/loxilb.io~1multus-nets", json!("/vlan5,default/")),
            ],
        },
        Sample {
            kind: Kind::Service,
            good: {
                let mut service =
                    object("v1", "Service", json!({"type": "LoadBalancer", "selector": {"app": "hostile"}}));
                for (name, text) in [
                    ("egress", "true"),
                    ("egress-destination-ports", "udp:5060"),
                    ("egress-allowed-networks", "198.51.100.0/24"),
                    ("egress-denied-networks", "198.51.100.128/25"),
                    ("loadbalancerIPs", "10.99.0.7"),
                ] {
                    service["metadata"]["annotations"][format!("kube-vip.io/{name}")] = text.into();
                }
                service
            },
            fields: vec![
                ("/metadata/annotations/kube-vip.io~1egress-destination-ports", TextOfPorts),
                ("/metadata/annotations/kube-vip.io~1egress-allowed-networks", TextOfNetworks),
                ("/metadata/annotations/kube-vip.io~1egress-denied-networks", TextOfNetworks),
                ("/metadata/annotations/kube-vip.io~1loadbalancerIPs", TextOfAddresses),
                ("/spec/selector", Labels),
                (WHEN, TextOfChoice),
            ],
            also: vec![
                ("/spec/selector", json!({})),
                ("/spec/selector", json!(null)),
                ("/spec/type", json!(7)),
                ("/spec/loadBalancerIP", json!("ß")),
                ("/metadata/annotations/kube-vip.io~1serviceInterface", json!("eth7")),
                ("/metadata/annotations/kube-vip.io~1loadbalancerIPs", json!("192.0.2.1")),
            ],
        },
    ]
}

/// A good manifest with one thing changed.
fn changed(good: &Value, at: &str, into: &Value) -> Value {
    let mut value = good.clone();
    match value.pointer_mut(at) {
        Some(place) => *place = into.clone(),
        None => {
            let (parent, name) = at.rsplit_once('/').unwrap();
            value.pointer_mut(parent).unwrap()[name.replace("~1", "/")] = into.clone();
        }
    }
    value
}

/// Everything that is wrong with objects of a kind: where, and the object.
fn hostile(sample: &Sample) -> Vec<(String, Value)> {
    let good =
        |at: &str| sample.good.pointer(at).unwrap_or_else(|| panic!("{at}: {:#}", sample.good)).clone();
    let fields = sample.fields.iter().flat_map(|(at, holds)| {
        wrong(*holds, &good(at)).into_iter().map(|value| (*at, value)).collect::<Vec<_>>()
    });
    let all = fields.chain(sample.also.iter().cloned()).chain(wrong_metadata(sample.kind));
    all.map(|(at, into)| (at.to_owned(), changed(&sample.good, at, &into))).collect()
}

/// Others, who were there before: a gateway, a pod and its policy; and what the samples refer to.
fn bystanders() -> Vec<Object> {
    let meta = |name: &str| json!({"name": name, "creationTimestamp": "2026-01-01T00:00:00Z"});
    let objects = [
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1", "labels": {"dedicated/egress": ""}},
               "spec": {"podCIDRs": ["10.244.1.0/24"]}, "status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]}}),
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod", "namespace": "other"}, "spec": {"nodeName": "node-1"},
               "status": {"podIPs": [{"ip": "10.244.1.10"}]}}),
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod", "namespace": "hostile", "labels": {"app": "hostile"}},
               "spec": {"nodeName": "node-1"}, "status": {"podIPs": [{"ip": "10.244.1.77"}]}}),
        json!({"apiVersion": "egret.dev/v1alpha1", "kind": "EgressPool", "metadata": meta("theirs"),
               "spec": {"ranges": [{"cidr": "10.20.0.0/28"}], "namespaces": {"names": ["other"]}}}),
        json!({"apiVersion": "egret.dev/v1alpha1", "kind": "EgressPolicy",
               "metadata": {"name": "theirs", "namespace": "other", "creationTimestamp": "2026-01-01T00:00:00Z"},
               "spec": {"podSelector": {}, "pool": "theirs"}}),
        json!({"apiVersion": "egret.dev/v1alpha1", "kind": "EgressPool", "metadata": meta("pool"),
               "spec": {"ranges": [{"cidr": "10.99.0.0/28"}], "namespaces": {"names": ["hostile"]}}}),
        json!({"apiVersion": "crd.antrea.io/v1beta1", "kind": "ExternalIPPool", "metadata": meta("external"),
               "spec": {"ipRanges": [{"cidr": "10.97.0.0/28"}], "nodeSelector": {}}}),
        json!({"apiVersion": "network.deckhouse.io/v1alpha1", "kind": "EgressGateway", "metadata": meta("gateway"),
               "spec": {"sourceIP": {"mode": "VirtualIPAddress", "virtualIPAddress": {"ip": "10.99.2.5"}}}}),
    ];
    let mut objects: Vec<Object> = objects.into_iter().map(|value| good_object(&value)).collect();
    let report = json!({
        "apiVersion": "egret.dev/v1alpha1", "kind": "EgressNode", "metadata": {"name": "node-1"},
        "spec": {"underlay": "10.0.0.1", "ready": true, "wires": [{
            "interface": "eth1", "carrier": true,
            "addresses": ["10.20.0.15/24", "10.99.0.15/16", "10.97.0.15/24", "10.98.0.15/16"],
        }]},
    });
    objects.push(Kind::EgressNode.decode(report).unwrap());
    objects
}

fn good_object(value: &Value) -> Object {
    match manifest(value.clone()) {
        Decoded::Object(object, faults) if faults.is_empty() => object,
        Decoded::Object(_, faults) => panic!("{value:#}: {}", faults[0].message),
        Decoded::Broken(fault) => panic!("{value:#}: {}", fault.message),
        Decoded::Foreign(what) => panic!("{value:#}: {what}"),
    }
}

/// What others have in a world, and what everybody is told.
fn decided(mut world: World) -> (Expected, BTreeMap<ObjectKey, Value>) {
    let now = "2026-03-03T00:00:00Z".parse().unwrap();
    let decision = allocate::decide(&world, &ClusterSettings::default(), now);
    for (name, spec) in &decision.addresses {
        world.apply(Object::EgressAddress(Box::new(EgressAddress::new(name, spec.clone()))));
    }
    let packet = Packet { address: [198, 51, 100, 1].into(), protocol: 6, port: 443 };
    let pod = IpAddr::from([10, 244, 1, 10]);
    (expected_source(&world, &ClusterSettings::default(), pod, packet), decision.statuses)
}

/// Field, message and cure of everything that is told of a manifest; the object, if there is one.
fn told(value: Value, world: &World) -> (Vec<String>, Option<Object>) {
    let line = |field: Option<String>, message: String, cure: String| {
        assert!(!cure.is_empty(), "{message}");
        format!("{}: {message}; {cure}", field.unwrap_or_default())
    };
    match manifest(value) {
        Decoded::Foreign(what) => (vec![format!("not read: {what}")], None),
        Decoded::Broken(fault) => (vec![line(fault.field, fault.message, fault.cure)], None),
        Decoded::Object(object, faults) => {
            let mut lines: Vec<String> =
                faults.into_iter().map(|fault| line(fault.field, fault.message, fault.cure)).collect();
            let mut world = world.clone();
            world.apply(object.clone());
            let (others, statuses) = decided(world);
            assert_eq!(others, theirs(), "{:#}", object.encode().unwrap());
            let conditions = statuses.get(&object.key()).and_then(|s| s["conditions"].as_array().cloned());
            let unmet = conditions.into_iter().flatten().filter(|c| c["status"] == "False");
            lines.extend(unmet.filter_map(|c| c["message"].as_str().map(str::to_owned)));
            (lines, Some(object))
        }
    }
}

fn theirs() -> Expected {
    Expected::Egress(IpAddr::from([10, 20, 0, 0]))
}

/// The names in a pointer that a message may use for the place.
fn names(at: &str) -> Vec<String> {
    let parts: Vec<String> = at.split('/').skip(1).map(|part| part.replace("~1", "/")).collect();
    let named = parts.iter().filter(|part| part.parse::<usize>().is_err());
    named.rev().take(2).cloned().collect()
}

#[test]
fn of_every_kind_fifty_broken_objects_are_told_field_and_cure_and_change_nothing_of_others() {
    let world = World::from_objects(bystanders());
    assert_eq!(decided(world.clone()).0, theirs(), "the bystander has its address");
    let mut silent = Vec::new();
    for sample in samples() {
        let (lines, _) = told(sample.good.clone(), &world);
        // No agent answers here for any address.
        let alone = ["no gateway holds it yet", "Can't announce VirtualIP"];
        let broken: Vec<_> =
            lines.iter().filter(|line| !alone.iter().any(|text| line.contains(text))).collect();
        assert!(broken.is_empty(), "{:?} as it should be: {broken:?}", sample.kind);
        let hostile = hostile(&sample);
        assert!(hostile.len() >= EACH, "{:?}: {}", sample.kind, hostile.len());
        for (at, value) in hostile {
            let shown: String =
                value.pointer(&at).map(Value::to_string).unwrap_or_default().chars().take(60).collect();
            let (lines, _) = told(value, &world);
            let names = names(&at);
            let says =
                |line: &String| line.contains("; ") && names.iter().any(|name| line.contains(name.as_str()));
            if !lines.iter().any(says) {
                let lines: Vec<String> = lines.iter().map(|line| line.chars().take(160).collect()).collect();
                silent.push(format!("{:?} {at} = {shown}: {lines:?}", sample.kind));
            }
        }
    }
    assert!(silent.is_empty(), "{} objects are not told what is wrong:\n{}", silent.len(), silent.join("\n"));
}

#[test]
fn ten_thousand_broken_objects_change_nothing_of_others() {
    let mut objects = bystanders();
    let all: Vec<Value> = samples().iter().flat_map(hostile).map(|(_, value)| value).collect();
    let (mut read, mut number) = (0, 0);
    for value in all.iter().cycle() {
        // What is large was looked at before.
        if value.to_string().len() > 20_000 || !value["metadata"]["name"].is_string() {
            continue;
        }
        let mut value = value.clone();
        number += 1;
        value["metadata"]["name"] = format!("hostile-{number}").into();
        match manifest(value) {
            Decoded::Object(object, _) => objects.push(object),
            Decoded::Broken(fault) => assert!(!fault.cure.is_empty(), "{}", fault.message),
            Decoded::Foreign(_) => {}
        }
        read += 1;
        if read == 10_000 {
            break;
        }
    }
    assert!(objects.len() > 4000, "{} of them are objects", objects.len());
    assert_eq!(decided(World::from_objects(objects)).0, theirs());
}

//! Good manifests of Egret's own kinds.

use egret_api::Kind;
use serde_json::{Value, json};

use super::sample::{Sample, object};
use super::wrong::Holds::*;

pub fn samples() -> Vec<Sample> {
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
    ]
}

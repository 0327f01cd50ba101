//! Others, whom nothing of it may concern.

use egret_api::{Kind, Object};
use serde_json::{Value, json};

use super::super::{Decoded, manifest};

/// Others, who were there before: a gateway, a pod and its policy; and what the samples refer to.
pub fn bystanders() -> Vec<Object> {
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

//! Good manifests of other systems' kinds.

use egret_api::Kind;
use serde_json::json;

use super::sample::{Sample, WHEN, object};
use super::wrong::Holds::*;

pub fn samples() -> Vec<Sample> {
    vec![
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
                ("/spec/externalTrafficPolicy", json!(7)),
                ("/spec/externalTrafficPolicy", json!(["Local"])),
                ("/spec/publishNotReadyAddresses", json!("yes")),
                ("/metadata/annotations/kube-vip.io~1serviceInterface", json!("eth7")),
                ("/metadata/annotations/kube-vip.io~1loadbalancerIPs", json!("192.0.2.1")),
            ],
        },
    ]
}

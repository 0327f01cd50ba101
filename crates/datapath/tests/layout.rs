//! The Rust mirror of the kernel's types against the object's BTF. Needs bpftool. (`struct probe` and
//! `struct flow_record` are in no map and so not in the BTF: the vectors about them hold their bytes.)
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is a test's verdict")]

use std::collections::BTreeMap;
use std::mem::offset_of;
use std::process::Command;

use egret_datapath::layout::{
    Addr, Budget, Carried, Counter, Egress, Flow, FlowKey, Fragment, FragmentKey, LeaseKey, Mapping,
    MappingKey, NetworkData, Node, OwnerKey, PodValue, PortRule, Refusal, RefusalKey, ReturnFlow, ReturnKey,
    Rule, RuleData, Served, Settings, Sweep, Timers,
};
use serde_json::Value;

/// Size in bytes, and the offset of each field.
#[derive(Debug, PartialEq, Eq)]
struct Shape {
    size: usize,
    fields: BTreeMap<String, usize>,
}

/// Every structure of the object.
fn in_object() -> BTreeMap<String, Shape> {
    let object = concat!(env!("OUT_DIR"), "/egret.bpf.o");
    let output = Command::new("bpftool")
        .args(["-j", "btf", "dump", "file", object, "format", "raw"])
        .output()
        .expect("this test needs bpftool: apt-get install bpftool");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let dump: Value = serde_json::from_slice(&output.stdout).unwrap();
    let structures = dump["types"].as_array().unwrap().iter().filter(|t| t["kind"] == "STRUCT");
    structures
        .map(|structure| {
            let members = structure["members"].as_array().cloned().unwrap_or_default();
            let fields = members.iter().filter(|member| member["name"] != "pad").map(|member| {
                let bits = member["bits_offset"].as_u64().unwrap() as usize;
                (member["name"].as_str().unwrap().to_owned(), bits / 8)
            });
            let size = structure["size"].as_u64().unwrap() as usize;
            (structure["name"].as_str().unwrap().to_owned(), Shape { size, fields: fields.collect() })
        })
        .collect()
}

macro_rules! shape {
    ($type:ty: $($field:ident),*) => {
        Shape {
            size: size_of::<$type>(),
            fields: [$((stringify!($field).to_owned(), offset_of!($type, $field))),*].into(),
        }
    };
}

/// A key of a trie: aya puts the prefix length in front of the data.
fn behind_prefix(size: usize, fields: &[(&str, usize)]) -> Shape {
    let prefix = size_of::<u32>();
    let mut all: BTreeMap<String, usize> =
        fields.iter().map(|(name, offset)| ((*name).to_owned(), prefix + offset)).collect();
    all.insert("prefix".to_owned(), 0);
    Shape { size: prefix + size, fields: all }
}

#[test]
fn every_shared_type_has_the_same_layout_on_both_sides() {
    let mirror = [
        (
            "settings",
            shape!(Settings: overlay_link, underlay_link, overlay_mtu, hold_unknown, ready, overlay_mac,
                underlay_mac, pod_flows, overlay_port, tell_flows, underlay, hop4, hop6),
        ),
        ("network", behind_prefix(size_of::<NetworkData>(), &[("addr", offset_of!(NetworkData, addr))])),
        ("node", shape!(Node: mac, on_link, direct)),
        ("pod", shape!(PodValue: rules, link, mac, host_mac, shared)),
        (
            "rule_key",
            behind_prefix(
                size_of::<RuleData>(),
                &[("set", offset_of!(RuleData, set)), ("addr", offset_of!(RuleData, addr))],
            ),
        ),
        ("port_rule", shape!(PortRule: egress, first, last, protocol, action)),
        ("rule", shape!(Rule: count, ports)),
        ("timers", shape!(Timers: tcp_established, tcp_transitory, tcp_closed, udp, icmp)),
        (
            "egress",
            shape!(Egress: gateway, link, path, shift, block_count, blocks, timers, opened, share, node_address),
        ),
        ("served", shape!(Served: wire, mac, holder, shift, node_address)),
        ("carried", shape!(Carried: node, seen, sent, received)),
        ("lease_key", shape!(LeaseKey: egress, block)),
        ("flow_key", shape!(FlowKey: pod, remote, pod_port, remote_port, protocol)),
        ("flow", shape!(Flow: egress, egress_port, flags, scale, seen, expects, link)),
        ("return_key", shape!(ReturnKey: egress, remote, egress_port, remote_port, protocol)),
        ("return_flow", shape!(ReturnFlow: pod, link, seen, pod_port, flags, opened)),
        ("refusal_key", shape!(RefusalKey: pod, remote, remote_port, protocol, reason, link)),
        ("refusal", shape!(Refusal: told, packets)),
        ("mapping_key", shape!(MappingKey: pod, egress, pod_port, protocol)),
        ("mapping", shape!(Mapping: egress_port, idle, flows)),
        ("owner_key", shape!(OwnerKey: egress, egress_port, protocol)),
        ("fragment_key", shape!(FragmentKey: src, dst, id, protocol, place)),
        ("fragment", shape!(Fragment: to, id, seen, passed)),
        ("budget", shape!(Budget: second, spent)),
        ("counter", shape!(Counter: packets, bytes)),
        ("sweep", shape!(Sweep: count, mappings, expired, orphaned)),
    ];
    let object = in_object();
    for (name, shape) in &mirror {
        let in_kernel = object.get(*name).unwrap_or_else(|| panic!("the object has no struct {name}"));
        assert_eq!(shape, in_kernel, "struct {name}");
    }
    assert_eq!(object["addr"].size, size_of::<Addr>());
}

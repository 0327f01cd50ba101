//! Networks besides the cluster's that a pod is attached to, as Multus tells of them in an annotation of the pod (Network
//! Plumbing Working Group, Multi-network de-facto standard 1.3, section 5). Whoever may write the pod may write it, so it
//! says only what to look for: what counts is what the pod's node finds.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use k8s_openapi::api::core::v1::Pod;
use serde::Deserialize;
use serde_json::Value;

const STATUS: &str = "k8s.v1.cni.cncf.io/network-status";
/// Most networks of one pod that are read, and most addresses of each.
const MANY: usize = 16;

/// A pod's attachment to another network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attached {
    /// Namespace and name of its definition.
    pub network: String,
    /// The pod's interface.
    pub interface: String,
    /// The pod's addresses there. IPv4 only: an egress address answers ARP there, and no neighbour discovery.
    pub addresses: BTreeSet<Ipv4Addr>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    name: String,
    #[serde(default)]
    interface: String,
    #[serde(default)]
    ips: Vec<String>,
    /// The cluster's own network, which `status.podIPs` is about.
    #[serde(default)]
    default: bool,
}

/// The other networks of a pod. An entry that cannot be read is none.
pub(crate) fn of(pod: &Pod) -> Vec<Attached> {
    let text = pod.metadata.annotations.as_ref().and_then(|annotations| annotations.get(STATUS));
    let entries: Vec<Value> = text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let entries = entries.into_iter().filter_map(|entry| serde_json::from_value::<Entry>(entry).ok());
    let usable = |ip: &Ipv4Addr| !ip.is_unspecified() && !ip.is_loopback() && !ip.is_multicast();
    let mut found: Vec<Attached> = Vec::new();
    for entry in entries.filter(|entry| !entry.default && !entry.interface.is_empty()).take(MANY) {
        let read = |ip: &String| match ip.parse() {
            Ok(IpAddr::V4(ip)) => Some(ip).filter(usable),
            _ => None,
        };
        if found.iter().all(|other| other.interface != entry.interface) {
            let addresses = entry.ips.iter().filter_map(read).take(MANY).collect();
            found.push(Attached { network: entry.name, interface: entry.interface, addresses });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(status: &str) -> Vec<Attached> {
        let pod = json!({"metadata": {"annotations": {STATUS: status}}});
        of(&serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn what_multus_writes_is_read_without_the_clusters_own_network() {
        let found = read(
            r#"[{"name": "cbr0", "interface": "eth0", "ips": ["10.244.1.10"], "mac": "0a:58", "default": true, "dns": {}},
                {"name": "default/vlan5", "interface": "net1", "ips": ["123.123.123.17", "fd00::17"], "mac": "0a:59", "dns": {}}]"#,
        );
        let vlan5 = Attached {
            network: "default/vlan5".into(),
            interface: "net1".into(),
            addresses: [Ipv4Addr::new(123, 123, 123, 17)].into(),
        };
        assert_eq!(found, [vlan5]);
    }

    #[test]
    fn what_cannot_be_read_is_left_out() {
        for text in ["", "{}", "[", "null", "[1, null, {\"interface\": 7}]", "[{\"name\": \"a\"}]"] {
            assert_eq!(read(text), [], "{text}");
        }
        let odd = read(r#"[{"interface": "net1", "ips": ["x", "0.0.0.0", "127.0.0.1", "224.0.0.1"]}]"#);
        assert_eq!(odd.len(), 1);
        assert!(odd[0].addresses.is_empty(), "{odd:?}");
        let many: Vec<Value> =
            (0..1000).map(|n| json!({"interface": format!("net{n}"), "ips": []})).collect();
        assert_eq!(read(&Value::from(many).to_string()).len(), MANY);
    }
}

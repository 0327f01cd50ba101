//! The lab's networks: namespaces, bridges, links, addresses and routes, as lines for `ip`.

use std::net::IpAddr;

use anyhow::Result;
use ipnet::IpNet;

use crate::state::{Host, HostKind, State, StoreKind};
use crate::topology::{Cni, Masquerade, Network, Node, Router, of_family};
use crate::{kubernetes, netns, tool};

/// One link of a host, plugged into a network's bridge.
struct Plug<'a> {
    host: &'a str,
    link: &'static str,
    network: Network,
    addresses: &'a [IpNet],
}

impl Plug<'_> {
    fn port(&self) -> String {
        format!("{}.{}", self.host, self.link)
    }
}

/// The hosts of the topology, without pods.
pub fn hosts(state: &State) -> Vec<(String, Host)> {
    let topology = &state.topology;
    let kinds = topology.nodes.iter().map(|n| (n.name.as_str(), HostKind::Node));
    let kinds = kinds.chain([("router", HostKind::Router)]);
    let kinds =
        kinds.chain((state.store == StoreKind::Kubernetes).then_some((kubernetes::HOST, HostKind::Control)));
    let kinds = kinds.chain(topology.outside.iter().map(|o| (o.name.as_str(), HostKind::Outside)));
    let plugs = plugs(state);
    kinds
        .map(|(name, kind)| {
            let own = || plugs.iter().filter(|p| p.host == name);
            let host = Host {
                kind,
                netns: format!("{}-{name}", state.name),
                addresses: own().flat_map(|p| p.addresses.iter().map(IpNet::addr)).collect(),
                ports: own().map(|p| (p.link.to_owned(), p.port())).collect(),
                pod: None,
            };
            (name.to_owned(), host)
        })
        .collect()
}

/// Makes all networks of a lab, whose hosts are already in its state.
///
/// # Errors
/// The first command that fails.
pub fn build(state: &State) -> Result<()> {
    let namespaces = state.namespaces();
    tool::ip_batch(&namespaces.iter().map(|n| format!("netns add {n}")).collect::<Vec<_>>())?;
    // Before the links are made: they inherit these.
    let switch = state.switch();
    netns::write_sysctls(
        &switch,
        &[("ipv6/conf/all/disable_ipv6", "1"), ("ipv6/conf/default/disable_ipv6", "1")],
    )?;
    netns::run_in(&switch, || {
        // Frames of a switch are nobody's packets; only there if the kernel has the module.
        for hook in ["iptables", "ip6tables", "arptables"] {
            let _ = std::fs::write(format!("/proc/sys/net/bridge/bridge-nf-call-{hook}"), "0");
        }
        Ok(())
    })?;
    for host in state.hosts.values() {
        netns::write_sysctls(&host.netns, &sysctls(host.kind))?;
    }
    tool::ip_batch_in(&switch, &bridges())?;
    let plugs = plugs(state);
    tool::ip_batch(&plugs.iter().map(|p| veth(state, p)).collect::<Vec<_>>())?;
    tool::ip_batch_in(&switch, &plugs.iter().map(plug_in).collect::<Vec<_>>())?;
    for (name, host) in &state.hosts {
        let mut lines = vec!["link set lo up".to_owned()];
        for plug in plugs.iter().filter(|p| p.host == name.as_str()) {
            lines.push(format!("link set {} up", plug.link));
            lines.extend(plug.addresses.iter().map(|a| address(plug.link, a)));
        }
        lines.extend(routes(state, name));
        tool::ip_batch_in(&host.netns, &lines)?;
    }
    for node in &state.topology.nodes {
        prepare_node(state, node)?;
    }
    Ok(())
}

fn plugs(state: &State) -> Vec<Plug<'_>> {
    let mut plugs = Vec::new();
    for node in &state.topology.nodes {
        plugs.push(Plug {
            host: &node.name,
            link: "eth0",
            network: Network::Underlay,
            addresses: &node.underlay,
        });
        if node.is_gateway() {
            plugs.push(Plug {
                host: &node.name,
                link: "eth1",
                network: Network::Wire,
                addresses: &node.wire,
            });
        }
    }
    let Router { underlay, wire, farnet } = &state.topology.router;
    plugs.push(Plug { host: "router", link: "eth0", network: Network::Underlay, addresses: underlay });
    plugs.push(Plug { host: "router", link: "eth1", network: Network::Wire, addresses: wire });
    plugs.push(Plug { host: "router", link: "eth2", network: Network::Farnet, addresses: farnet });
    if state.store == StoreKind::Kubernetes {
        let addresses = &state.topology.control;
        plugs.push(Plug { host: kubernetes::HOST, link: "eth0", network: Network::Underlay, addresses });
    }
    for outside in &state.topology.outside {
        let (network, addresses) = (outside.network, &outside.addresses);
        plugs.push(Plug { host: &outside.name, link: "eth0", network, addresses });
    }
    plugs
}

fn sysctls(kind: HostKind) -> Vec<(&'static str, &'static str)> {
    // Addresses are used at once, and nobody listens to router advertisements.
    let mut values = vec![
        ("ipv6/conf/all/accept_dad", "0"),
        ("ipv6/conf/default/accept_dad", "0"),
        ("ipv6/conf/all/accept_ra", "0"),
        ("ipv6/conf/default/accept_ra", "0"),
    ];
    // Nodes filter as distributions have it: loosely.
    let filter = if kind == HostKind::Node { "2" } else { "0" };
    values.extend([("ipv4/conf/all/rp_filter", filter), ("ipv4/conf/default/rp_filter", filter)]);
    if matches!(kind, HostKind::Node | HostKind::Router) {
        values.extend([("ipv4/ip_forward", "1"), ("ipv6/conf/all/forwarding", "1")]);
        values.push(("ipv6/conf/default/forwarding", "1"));
    }
    values
}

/// The sysctls of a pod's namespace.
pub fn pod_sysctls() -> Vec<(&'static str, &'static str)> {
    sysctls(HostKind::Pod)
}

fn bridges() -> Vec<String> {
    let mut lines = vec!["link set lo up".to_owned()];
    for network in [Network::Underlay, Network::Wire, Network::Farnet] {
        let bridge = network.bridge();
        lines.push(format!("link add {bridge} type bridge forward_delay 0 stp_state 0 mcast_snooping 0"));
        lines.push(format!("link set {bridge} up"));
    }
    lines
}

fn veth(state: &State, plug: &Plug<'_>) -> String {
    let (lab, host, link, port, switch) = (&state.name, plug.host, plug.link, plug.port(), state.switch());
    format!("link add {link} netns {lab}-{host} type veth peer name {port} netns {switch}")
}

fn plug_in(plug: &Plug<'_>) -> String {
    format!("link set {} master {} up", plug.port(), plug.network.bridge())
}

/// A line that gives a link an address, usable at once.
pub fn address(link: &str, address: &IpNet) -> String {
    let nodad = if address.addr().is_ipv6() { " nodad" } else { "" };
    format!("addr add {address} dev {link}{nodad}")
}

fn routes(state: &State, host: &str) -> Vec<String> {
    let topology = &state.topology;
    // One for each family, by the first network that both are on.
    let default = |link: &str, by: &[IpNet], own: &[IpNet], metric: u32| {
        let near = |v6: bool| {
            by.iter().find(|by| by.addr().is_ipv6() == v6 && own.iter().any(|own| own.contains(&by.addr())))
        };
        let line = |a: &IpNet| format!("route add default via {} dev {link} metric {metric}", a.addr());
        [false, true].into_iter().filter_map(near).map(line).collect::<Vec<_>>()
    };
    if let Some(outside) = topology.outside.iter().find(|o| o.name == host) {
        let by =
            if outside.network == Network::Wire { &topology.router.wire } else { &topology.router.farnet };
        return default("eth0", by, &outside.addresses, 100);
    }
    let Some(node) = topology.nodes.iter().find(|n| n.name == host) else { return Vec::new() };
    let mut lines = default("eth1", &topology.router.wire, &node.wire, 100);
    lines.extend(default("eth0", &topology.router.underlay, &node.underlay, 200));
    for other in topology.nodes.iter().filter(|n| n.name != host) {
        for pods in &other.pod_networks {
            if let Some(via) = of_family(&other.underlay, pods.addr().is_ipv6()) {
                lines.push(format!("route add {pods} via {} dev eth0", via.addr()));
            }
        }
    }
    lines
}

/// The address of the bridge `cni0`: the first of the node's pod network.
pub fn bridge_address(network: &IpNet) -> Option<IpNet> {
    let first = network.hosts().find(|a| *a != network.network())?;
    IpNet::new(first, network.prefix_len()).ok()
}

/// The bridge's link-layer address, made from its IP address as the bridge plugin does. Left to itself a bridge
/// changes its address when ports come and go, and pods send to one that is nobody's.
fn bridge_mac(node: &Node) -> String {
    let own = node.pod_networks.iter().filter_map(bridge_address).map(|a| a.addr()).next();
    let [a, b, c, d] = match own {
        Some(IpAddr::V4(v4)) => v4.octets(),
        Some(IpAddr::V6(v6)) => (v6.to_bits() as u32 ^ (v6.to_bits() >> 64) as u32).to_be_bytes(),
        None => [0; 4],
    };
    format!("0a:58:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

/// The pod network's part of a node: the bridge if it has one, and the masquerade.
fn prepare_node(state: &State, node: &Node) -> Result<()> {
    if node.plugins {
        return Ok(());
    }
    let netns = format!("{}-{}", state.name, node.name);
    if node.cni == Cni::Bridge {
        let mac = bridge_mac(node);
        let mut lines =
            vec![format!("link add cni0 address {mac} type bridge"), "link set cni0 up".to_owned()];
        lines.extend(node.pod_networks.iter().filter_map(bridge_address).map(|a| address("cni0", &a)));
        tool::ip_batch_in(&netns, &lines)?;
    }
    match node.masquerade {
        Masquerade::None => Ok(()),
        Masquerade::Nftables => {
            tool::run_in(&netns, &["nft", "-f", "-"], &nft_masquerade(state, node)).map(drop)
        }
        Masquerade::Iptables => {
            for (restore, v6) in [("iptables-restore", false), ("ip6tables-restore", true)] {
                let rules = iptables_masquerade(state, node, v6);
                tool::run_in(&netns, &[restore, "--wait"], &rules)?;
            }
            Ok(())
        }
    }
}

fn iptables_masquerade(state: &State, node: &Node, v6: bool) -> String {
    let mut text = "*nat\n".to_owned();
    if let (Some(own), Some(all)) =
        (of_family(&node.pod_networks, v6), of_family(&state.topology.pod_networks, v6))
    {
        text += &format!("-A POSTROUTING -s {own} ! -d {all} -j MASQUERADE\n");
    }
    text + "COMMIT\n"
}

fn nft_masquerade(state: &State, node: &Node) -> String {
    let mut text =
        "table inet lab {\n chain postrouting {\n  type nat hook postrouting priority srcnat;\n".to_owned();
    for (family, v6) in [("ip", false), ("ip6", true)] {
        if let (Some(own), Some(all)) =
            (of_family(&node.pod_networks, v6), of_family(&state.topology.pod_networks, v6))
        {
            text += &format!("  {family} saddr {own} {family} daddr != {all} masquerade\n");
        }
    }
    text + " }\n}\n"
}

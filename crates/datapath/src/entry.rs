//! The plan's entries as the kernel's, and back.

use egret_plan::tables::{
    EgressEntry, MAX_BLOCKS, MAX_PORT_RULES, NodeEntry, Path, PodEntry, PortMatch, PortRule, ServedEntry,
    Timers,
};

use crate::layout::{self, Addr};

/// What the kernel's layout cannot hold, or what no plan can have written.
pub type Problem = String;

pub fn node(entry: &NodeEntry) -> layout::Node {
    layout::Node {
        mac: entry.mac.unwrap_or_default(),
        on_link: u8::from(entry.mac.is_some()),
        direct: u8::from(entry.direct),
    }
}

pub fn to_node(value: &layout::Node) -> NodeEntry {
    NodeEntry { mac: (value.on_link != 0).then_some(value.mac), direct: value.direct != 0 }
}

pub fn pod(entry: &PodEntry) -> layout::PodValue {
    layout::PodValue {
        rules: entry.rules,
        link: entry.link,
        mac: entry.mac,
        host_mac: entry.host_mac,
        shared: u8::from(entry.shared),
        pad: [0; 7],
    }
}

pub fn to_pod(value: &layout::PodValue) -> PodEntry {
    PodEntry {
        link: value.link,
        mac: value.mac,
        host_mac: value.host_mac,
        rules: value.rules,
        shared: value.shared != 0,
    }
}

pub fn rule(rules: &[PortRule]) -> Result<layout::Rule, Problem> {
    if rules.len() > MAX_PORT_RULES {
        return Err(format!(
            "{} port rules for one destination, and the kernel's table holds {MAX_PORT_RULES}: \
             merge port ranges, or split the destination",
            rules.len()
        ));
    }
    let mut ports = [layout::PortRule::default(); layout::PORT_RULES];
    for (slot, rule) in ports.iter_mut().zip(rules) {
        *slot = port_rule(rule);
    }
    Ok(layout::Rule { count: u32::try_from(rules.len()).unwrap_or(0), pad: 0, ports })
}

/// What keeps an IPv6 prefix from covering the mapped IPv4 addresses: they go the ordinary way.
pub fn shadow() -> layout::Rule {
    let mut ports = [layout::PortRule::default(); layout::PORT_RULES];
    ports[0] = port_rule(&PortRule { ports: PortMatch::Any, egress: None });
    layout::Rule { count: 1, pad: layout::RULE_SHADOW, ports }
}

fn port_rule(rule: &PortRule) -> layout::PortRule {
    let (protocol, first, last) = match rule.ports {
        PortMatch::Any => (0, 0, u16::MAX),
        PortMatch::Tcp(first, last) => (PROTOCOL_TCP, first, last),
        PortMatch::Udp(first, last) => (PROTOCOL_UDP, first, last),
    };
    let (action, egress) = match rule.egress {
        None => (layout::RULE_ORDINARY, Addr::default()),
        Some(egress) => (layout::RULE_EGRESS, Addr::from(egress)),
    };
    layout::PortRule { egress, first, last, protocol, action, pad: [0; 2] }
}

pub fn to_rule(value: &layout::Rule) -> Result<Vec<PortRule>, Problem> {
    let count = usize::try_from(value.count).unwrap_or(usize::MAX);
    let used = value.ports.get(..count).ok_or(format!("{count} port rules"))?;
    used.iter().map(to_port_rule).collect()
}

fn to_port_rule(value: &layout::PortRule) -> Result<PortRule, Problem> {
    let ports = match value.protocol {
        0 => PortMatch::Any,
        PROTOCOL_TCP => PortMatch::Tcp(value.first, value.last),
        PROTOCOL_UDP => PortMatch::Udp(value.first, value.last),
        other => return Err(format!("protocol {other} in a port rule")),
    };
    let egress = (value.action == layout::RULE_EGRESS).then(|| value.egress.into());
    Ok(PortRule { ports, egress })
}

pub fn egress(entry: &EgressEntry) -> Result<layout::Egress, Problem> {
    if entry.blocks.len() > MAX_BLOCKS {
        return Err(format!(
            "{} blocks of ports, and the kernel's table holds {MAX_BLOCKS}: choose larger blocks for the pool",
            entry.blocks.len()
        ));
    }
    let mut blocks = [0; layout::BLOCKS];
    blocks[..entry.blocks.len()].copy_from_slice(&entry.blocks);
    let (path, gateway, link) = match entry.path {
        Path::None => (layout::PATH_NONE, Addr::default(), 0),
        Path::Wire(link) => (layout::PATH_WIRE, Addr::default(), link),
        Path::Overlay(gateway) => (layout::PATH_OVERLAY, gateway.into(), 0),
        Path::Link(gateway, link) => (layout::PATH_LINK, gateway.into(), link),
    };
    let block_count = u16::try_from(entry.blocks.len()).unwrap_or(0);
    Ok(layout::Egress {
        gateway,
        link,
        path,
        shift: shift(entry.block_size)?,
        block_count,
        blocks,
        timers: timers(&entry.timers),
        share: share(entry.pod_share)?,
        node_address: u8::from(entry.node_address),
        opened: 0,
        pad: [0; 6],
    })
}

pub fn to_egress(value: &layout::Egress) -> Result<EgressEntry, Problem> {
    let path = match value.path {
        layout::PATH_NONE => Path::None,
        layout::PATH_WIRE => Path::Wire(value.link),
        layout::PATH_OVERLAY => Path::Overlay(value.gateway.into()),
        layout::PATH_LINK => Path::Link(value.gateway.into(), value.link),
        other => return Err(format!("path {other}")),
    };
    let blocks = value.blocks.get(..usize::from(value.block_count));
    let blocks = blocks.ok_or(format!("{} blocks", value.block_count))?.to_vec();
    Ok(EgressEntry {
        path,
        block_size: block_size(value.shift)?,
        blocks,
        pod_share: pod_share(value.share)?,
        timers: to_timers(&value.timers),
        node_address: value.node_address != 0,
    })
}

fn timers(timers: &Timers) -> layout::Timers {
    let Timers { tcp_established, tcp_transitory, tcp_closed, udp, icmp } = *timers;
    layout::Timers { tcp_established, tcp_transitory, tcp_closed, udp, icmp }
}

fn to_timers(value: &layout::Timers) -> Timers {
    let layout::Timers { tcp_established, tcp_transitory, tcp_closed, udp, icmp } = *value;
    Timers { tcp_established, tcp_transitory, tcp_closed, udp, icmp }
}

pub fn served(entry: &ServedEntry) -> Result<layout::Served, Problem> {
    let shift = shift(entry.block_size)?;
    Ok(layout::Served {
        wire: entry.wire,
        mac: entry.mac,
        holder: u8::from(entry.holder),
        shift,
        node_address: u8::from(entry.node_address),
        pad: [0; 3],
    })
}

pub fn to_served(value: &layout::Served) -> Result<ServedEntry, Problem> {
    let block_size = block_size(value.shift)?;
    Ok(ServedEntry {
        wire: value.wire,
        mac: value.mac,
        holder: value.holder != 0,
        block_size,
        node_address: value.node_address != 0,
    })
}

/// log2 of a block's size in ports.
pub fn shift(block_size: u16) -> Result<u8, Problem> {
    match block_size.is_power_of_two() {
        true => Ok(block_size.trailing_zeros() as u8),
        false => Err(format!("blocks of {block_size} ports: the size must be a power of two")),
    }
}

fn block_size(shift: u8) -> Result<u16, Problem> {
    1_u16.checked_shl(u32::from(shift)).ok_or(format!("blocks of 2^{shift} ports"))
}

/// log2 of how many ports a pod may use one of.
fn share(pod_share: u8) -> Result<u8, Problem> {
    match pod_share {
        1 | 2 | 4 | 8 => Ok(pod_share.trailing_zeros() as u8),
        _ => Err(format!("one port in {pod_share} for a pod: it must be 1, 2, 4 or 8")),
    }
}

fn pod_share(share: u8) -> Result<u8, Problem> {
    match share {
        0..=3 => Ok(1 << share),
        _ => Err(format!("one port in 2^{share} for a pod")),
    }
}

const PROTOCOL_TCP: u8 = 6;
const PROTOCOL_UDP: u8 = 17;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_come_back_as_they_went() {
        let rules = vec![
            PortRule { ports: PortMatch::Tcp(443, 443), egress: Some("198.51.100.1".parse().unwrap()) },
            PortRule { ports: PortMatch::Udp(1, 65535), egress: None },
            PortRule { ports: PortMatch::Any, egress: Some("2001:db8::1".parse().unwrap()) },
        ];
        assert_eq!(to_rule(&rule(&rules).unwrap()).unwrap(), rules);
        assert!(rule(&[rules[0]; MAX_PORT_RULES + 1]).unwrap_err().contains("17 port rules"));
    }

    #[test]
    fn egress_comes_back_as_it_went() {
        for path in [
            Path::None,
            Path::Wire(3),
            Path::Overlay("10.0.0.4".parse().unwrap()),
            Path::Link("fd00::4".parse().unwrap(), 2),
        ] {
            let entry = EgressEntry { path, ..entry() };
            assert_eq!(to_egress(&egress(&entry).unwrap()).unwrap(), entry);
        }
        let odd = EgressEntry { block_size: 500, ..entry() };
        assert!(egress(&odd).unwrap_err().contains("power of two"));
    }

    fn entry() -> EgressEntry {
        let timers = Timers { tcp_established: 8000, tcp_transitory: 250, tcp_closed: 9, udp: 130, icmp: 70 };
        let blocks = vec![1024, 4096];
        EgressEntry { path: Path::None, block_size: 512, blocks, pod_share: 2, timers, node_address: true }
    }

    #[test]
    fn the_kernel_knows_a_share_by_its_logarithm() {
        for (pod_share, log2) in [(1, 0), (2, 1), (4, 2), (8, 3)] {
            let entry = EgressEntry { pod_share, ..entry() };
            let value = egress(&entry).unwrap();
            assert_eq!((value.share, to_egress(&value).unwrap()), (log2, entry));
        }
        for pod_share in [0, 3, 16] {
            let entry = EgressEntry { pod_share, ..entry() };
            assert!(egress(&entry).unwrap_err().contains("1, 2, 4 or 8"), "{pod_share}");
        }
    }

    #[test]
    fn each_time_of_an_egress_address_goes_where_the_programs_look_for_it() {
        let timers = egress(&entry()).unwrap().timers;
        let seconds =
            [timers.tcp_established, timers.tcp_transitory, timers.tcp_closed, timers.udp, timers.icmp];
        assert_eq!(seconds, [8000, 250, 9, 130, 70]);
    }
}

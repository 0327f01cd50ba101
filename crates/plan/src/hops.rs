//! By which of its own addresses a node is a hop: the source of the ICMP errors that it sends.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::local::{LocalWire, Underlay};
use crate::tables::Hops;

/// One address of each family: the lowest of a wire, else of the underlay. The underlay counts as a wire only if there
/// is no other: whoever is told, inside or outside, should see the side towards the outside.
pub(crate) fn hops(underlay: &Underlay, wires: &[LocalWire]) -> Hops {
    let of_wires: Vec<IpAddr> = wires
        .iter()
        .filter(|wire| wire.link != underlay.link)
        .flat_map(|wire| wire.addresses.iter().map(IpNet::addr))
        .collect();
    let of_underlay: Vec<IpAddr> = underlay.addresses.iter().map(IpNet::addr).collect();
    let lowest = |addresses: &[IpAddr]| {
        let v4 = addresses.iter().filter_map(|address| match address {
            IpAddr::V4(v4) if !v4.is_link_local() && !v4.is_loopback() => Some(*v4),
            _ => None,
        });
        let v6 = addresses.iter().filter_map(|address| match address {
            IpAddr::V6(v6) if !v6.is_unicast_link_local() && !v6.is_loopback() => Some(*v6),
            _ => None,
        });
        Hops { v4: v4.min(), v6: v6.min() }
    };
    let (wire, underlay) = (lowest(&of_wires), lowest(&of_underlay));
    Hops { v4: wire.v4.or(underlay.v4), v6: wire.v6.or(underlay.v6) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNDERLAY: u32 = 2;

    fn nets(texts: &[&str]) -> std::collections::BTreeSet<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn wire(link: u32, addresses: &[&str]) -> LocalWire {
        let addresses = nets(addresses);
        LocalWire {
            interface: format!("eth{link}"),
            link,
            mac: [2; 6],
            addresses,
            primary: [].into(),
            carrier: true,
        }
    }

    fn found(underlay: &[&str], wires: &[LocalWire]) -> (String, String) {
        let (address, addresses) = ([10, 0, 0, 1].into(), nets(underlay));
        let hops = hops(&Underlay { link: UNDERLAY, address, mac: [2; 6], addresses }, wires);
        let text = |address: Option<IpAddr>| address.map_or("none".to_owned(), |a| a.to_string());
        (text(hops.v4.map(IpAddr::V4)), text(hops.v6.map(IpAddr::V6)))
    }

    fn pair(v4: &str, v6: &str) -> (String, String) {
        (v4.to_owned(), v6.to_owned())
    }

    #[test]
    fn a_node_with_a_wire_is_a_hop_by_the_lowest_address_of_its_wires() {
        let own = ["10.0.0.1/24", "fd00::1/64"];
        let wires = [
            wire(UNDERLAY, &own),
            wire(3, &["192.0.2.9/24", "2001:db8::9/64"]),
            wire(4, &["192.0.2.200/24", "192.0.2.8/24", "2001:db8:0:1::1/64"]),
        ];
        assert_eq!(found(&own, &wires), pair("192.0.2.8", "2001:db8::9"));
        let backwards: Vec<LocalWire> = wires.into_iter().rev().collect();
        assert_eq!(found(&own, &backwards), pair("192.0.2.8", "2001:db8::9"), "whatever the order");
    }

    #[test]
    fn a_node_without_another_wire_is_a_hop_by_its_underlay() {
        let own = ["10.0.0.1/24", "10.0.0.200/32", "fd00::1/64"];
        assert_eq!(found(&own, &[]), pair("10.0.0.1", "fd00::1"));
        assert_eq!(found(&own, &[wire(UNDERLAY, &own)]), pair("10.0.0.1", "fd00::1"));
    }

    #[test]
    fn each_family_is_looked_for_by_itself() {
        let own = ["10.0.0.1/24", "fd00::1/64"];
        assert_eq!(found(&own, &[wire(3, &["192.0.2.9/24"])]), pair("192.0.2.9", "fd00::1"));
        assert_eq!(found(&["10.0.0.1/24"], &[wire(3, &["192.0.2.9/24"])]), pair("192.0.2.9", "none"));
    }

    #[test]
    fn addresses_that_mean_nothing_elsewhere_are_left_out() {
        let own = ["169.254.0.1/16", "10.0.0.1/24", "127.0.0.2/8", "fe80::1/64", "::1/128"];
        assert_eq!(found(&own, &[wire(3, &["fe80::2/64", "169.254.9.9/16"])]), pair("10.0.0.1", "none"));
    }
}

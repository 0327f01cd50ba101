//! Addresses and networks as the kernel's maps hold them: IPv4 as `::ffff:a.b.c.d` (RFC 4291 section 2.5.5.2).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use egret_plan::tables::Hops;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::layout::Addr;

const MAPPED: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

impl From<IpAddr> for Addr {
    fn from(address: IpAddr) -> Self {
        let v6 = match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        Addr { bytes: v6.octets() }
    }
}

impl From<Addr> for IpAddr {
    fn from(addr: Addr) -> Self {
        Ipv6Addr::from(addr.bytes).to_canonical()
    }
}

/// Length of a network's prefix over the 128 bits of the kernel's form, and its address.
pub fn network(net: &IpNet) -> (u32, [u8; 16]) {
    let prefix = match net {
        IpNet::V4(v4) => 96 + u32::from(v4.prefix_len()),
        IpNet::V6(v6) => u32::from(v6.prefix_len()),
    };
    (prefix, Addr::from(net.network()).bytes)
}

/// The network of a prefix over the 128 bits of the kernel's form.
pub fn from_network(prefix: u32, bytes: [u8; 16]) -> Option<IpNet> {
    let prefix = u8::try_from(prefix).ok()?;
    if bytes[..12] == MAPPED && prefix >= 96 {
        let v4 = Ipv4Addr::new(bytes[12], bytes[13], bytes[14], bytes[15]);
        return Ipv4Net::new(v4, prefix - 96).ok().map(IpNet::V4);
    }
    Ipv6Net::new(Ipv6Addr::from(bytes), prefix).ok().map(IpNet::V6)
}

/// An IPv6 network whose prefix, in the kernel's form, covers the mapped IPv4 addresses as well.
pub fn covers_mapped(net: &IpNet) -> bool {
    match net {
        IpNet::V4(_) => false,
        IpNet::V6(v6) => v6.prefix_len() <= 96 && v6.contains(&Ipv4Addr::UNSPECIFIED.to_ipv6_mapped()),
    }
}

/// All IPv4 addresses.
pub fn all_v4() -> IpNet {
    IpNet::V4(Ipv4Net::default())
}

/// The addresses that the programs send ICMP errors from; all zero where there is none.
pub fn hops(hops: Hops) -> (Addr, Addr) {
    let addr = |address: Option<IpAddr>| address.map(Addr::from).unwrap_or_default();
    (addr(hops.v4.map(IpAddr::V4)), addr(hops.v6.map(IpAddr::V6)))
}

pub fn to_hops(hop4: Addr, hop6: Addr) -> Hops {
    let (v4, v6) = (IpAddr::from(hop4), IpAddr::from(hop6));
    Hops {
        v4: if let IpAddr::V4(v4) = v4 { Some(v4) } else { None },
        v6: if let IpAddr::V6(v6) = v6 { Some(v6).filter(|v6| !v6.is_unspecified()) } else { None },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_come_back_as_they_went() {
        for text in
            ["10.0.0.0/8", "0.0.0.0/0", "198.51.100.9/32", "::/0", "fd00::/8", "2001:db8::1/128", "::/80"]
        {
            let net: IpNet = text.parse().unwrap();
            let (prefix, bytes) = network(&net);
            assert_eq!(from_network(prefix, bytes), Some(net), "{text}");
        }
    }

    #[test]
    fn only_short_prefixes_of_zero_cover_the_mapped_addresses() {
        let covers = |text: &str| covers_mapped(&text.parse().unwrap());
        assert!(covers("::/0") && covers("::/80"));
        assert!(!covers("2000::/3") && !covers("::/96") && !covers("0.0.0.0/0"));
    }

    #[test]
    fn hops_come_back_as_they_went_and_none_is_all_zero() {
        let (v4, v6) = ("192.0.2.9".parse().ok(), "2001:db8::9".parse().ok());
        for there in [Hops { v4, v6 }, Hops { v4, v6: None }, Hops { v4: None, v6 }, Hops::default()] {
            let (hop4, hop6) = hops(there);
            assert_eq!(to_hops(hop4, hop6), there);
            assert_eq!(hop4 == Addr::default(), there.v4.is_none());
            assert_eq!(hop6 == Addr::default(), there.v6.is_none());
        }
    }
}

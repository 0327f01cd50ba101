//! Addresses and networks as the kernel's maps hold them: IPv4 as `::ffff:a.b.c.d` (RFC 4291 section 2.5.5.2).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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
}

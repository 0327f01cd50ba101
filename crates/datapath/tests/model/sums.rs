//! The Internet checksum (RFC 1071).

use std::net::IpAddr;

/// The sum, not inverted, on top of another.
pub fn sum(start: u32, bytes: &[u8]) -> u16 {
    let mut sum = u64::from(start);
    let mut words = bytes.chunks_exact(2);
    for word in &mut words {
        sum += u64::from(u16::from_be_bytes([word[0], word[1]]));
    }
    if let [last] = words.remainder() {
        sum += u64::from(*last) << 8;
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// The part of a transport checksum that covers addresses.
pub fn pseudo(src: IpAddr, dst: IpAddr, protocol: u8, length: usize) -> u32 {
    let rest = u32::from(protocol) + length as u32;
    match (src, dst) {
        (IpAddr::V4(_), _) if protocol == 1 => 0,
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            u32::from(sum(u32::from(sum(0, &src.octets())), &dst.octets())) + rest
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            u32::from(sum(u32::from(sum(0, &src.octets())), &dst.octets())) + rest
        }
        _ => 0,
    }
}

//! Addresses, networks and ranges of addresses.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};

use crate::fault::Fault;

/// Most addresses that one range gives out; what is beyond is not used.
pub const MAX_RANGE: u128 = 65536;

/// Reads an address; an IPv4-mapped IPv6 address is the IPv4 address.
///
/// # Errors
/// The text is no address.
pub fn read_address(text: &str, field: &str) -> Result<IpAddr, Fault> {
    text.parse::<IpAddr>().map(|a| a.to_canonical()).map_err(|_| {
        Fault::invalid(field, format!("`{text}` is no address"), "write it as 203.0.113.7 or 2001:db8::7")
    })
}

/// Reads a network; host bits are cleared, and a network of IPv4-mapped addresses is the IPv4 network.
///
/// # Errors
/// The text is no network.
pub fn read_net(text: &str, field: &str) -> Result<IpNet, Fault> {
    parse_net(text).ok_or_else(|| {
        Fault::invalid(
            field,
            format!("`{text}` is no network"),
            "write it as 203.0.113.0/24 or 2001:db8::/64",
        )
    })
}

/// As [`read_net`], for texts that no person wrote.
pub fn parse_net(text: &str) -> Option<IpNet> {
    let net = text.parse::<IpNet>().ok()?.trunc();
    match (net, net.network().to_canonical()) {
        (IpNet::V6(_), IpAddr::V4(v4)) if net.prefix_len() >= 96 => {
            Ipv4Net::new(v4, net.prefix_len() - 96).ok().map(IpNet::V4)
        }
        _ => Some(net),
    }
}

/// The network that holds just this address.
pub fn host(address: IpAddr) -> IpNet {
    IpNet::from(address)
}

/// The address as a number within its family.
pub fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(a) => u128::from(a.to_bits()),
        IpAddr::V6(a) => a.to_bits(),
    }
}

/// The address of a number in the family of `like`. Numbers beyond the family wrap.
pub fn address(number: u128, like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from_bits((number & u128::from(u32::MAX)) as u32)),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(number)),
    }
}

/// Addresses from the first to the last, both included and of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range {
    /// First address.
    pub first: IpAddr,
    /// Last address, not below the first.
    pub last: IpAddr,
}

impl Range {
    /// The range from `first` to `last`, cut to [`MAX_RANGE`] addresses. `None` if they are of different
    /// families or in the wrong order.
    pub fn new(first: IpAddr, last: IpAddr) -> Option<Range> {
        let (a, b) = (number(first), number(last));
        (first.is_ipv4() == last.is_ipv4() && a <= b)
            .then(|| Range { first, last: address(b.min(a.saturating_add(MAX_RANGE - 1)), first) })
    }

    /// Every address of a network, cut to [`MAX_RANGE`].
    pub fn of_net(net: IpNet) -> Range {
        let (first, last) = (net.network(), net.broadcast());
        Range::new(first, last).unwrap_or(Range { first, last: first })
    }

    /// The addresses of a network as Antrea gives them out: never the first, of IPv4 networks never the last.
    pub fn of_net_inner(net: IpNet) -> Option<Range> {
        let first = number(net.network()).checked_add(1)?;
        let last = number(net.broadcast()).checked_sub(u128::from(net.network().is_ipv4()))?;
        if first > last {
            return None;
        }
        Range::new(address(first, net.network()), address(last, net.network()))
    }

    /// Count of addresses.
    pub fn count(&self) -> u128 {
        (number(self.last) - number(self.first)).saturating_add(1)
    }

    /// The address lies in the range.
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.first.is_ipv4() && self.first <= address && address <= self.last
    }

    /// Addresses in order.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        let first = self.first;
        (number(self.first)..=number(self.last)).map(move |n| address(n, first))
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.first == self.last {
            true => write!(f, "{}", self.first),
            false => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

/// Disjoint ranges, each with its owner: what is taken first stays taken.
#[derive(Clone, Debug)]
pub struct Taken<T>(BTreeMap<IpAddr, (IpAddr, T)>);

impl<T> Default for Taken<T> {
    fn default() -> Self {
        Taken(BTreeMap::new())
    }
}

impl<T: Clone> Taken<T> {
    /// Takes what nobody has of a range. Returns what was free, in order, and who had the rest.
    pub fn take(&mut self, range: Range, owner: &T) -> (Vec<Range>, Vec<(Range, T)>) {
        let mut had: Vec<(Range, T)> = Vec::new();
        let before = self.0.range(..range.first).next_back();
        for (first, (last, by)) in before.into_iter().chain(self.0.range(range.first..=range.last)) {
            let taken = Range { first: *first, last: *last };
            if first.is_ipv4() == range.first.is_ipv4()
                && taken.last >= range.first
                && taken.first <= range.last
            {
                let cut = Range { first: taken.first.max(range.first), last: taken.last.min(range.last) };
                had.push((cut, by.clone()));
            }
        }
        let (mut free, mut next) = (Vec::new(), Some(number(range.first)));
        for (cut, _) in &had {
            if let Some(n) = next.filter(|n| *n < number(cut.first)) {
                let last = address(number(cut.first) - 1, range.first);
                free.push(Range { first: address(n, range.first), last });
            }
            next = number(cut.last).checked_add(1);
        }
        if let Some(n) = next.filter(|n| *n <= number(range.last)) {
            free.push(Range { first: address(n, range.first), last: range.last });
        }
        for range in &free {
            self.0.insert(range.first, (range.last, owner.clone()));
        }
        (free, had)
    }
}

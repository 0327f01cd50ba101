//! Which flows somebody asks for.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use ipnet::IpNet;

use crate::record::Record;

/// An address with or without port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// The address.
    pub address: IpAddr,
    /// The port; any if absent.
    pub port: Option<u16>,
}

/// What is neither.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0:?} is no address. Write 203.0.113.7 or 203.0.113.7:40123, IPv6 as 2001:db8::7 or [2001:db8::7]:40123"
)]
pub struct EndError(String);

impl FromStr for End {
    type Err = EndError;

    fn from_str(text: &str) -> Result<Self, EndError> {
        if let Ok(address) = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            return Ok(Self { address: address.to_canonical(), port: None });
        }
        let end: SocketAddr = text.parse().map_err(|_| EndError(text.to_owned()))?;
        Ok(Self { address: end.ip().to_canonical(), port: Some(end.port()) })
    }
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.port {
            Some(port) => SocketAddr::new(self.address, port).fmt(f),
            None => self.address.fmt(f),
        }
    }
}

/// A network with or without port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The network.
    pub net: IpNet,
    /// The port; any if absent.
    pub port: Option<u16>,
}

/// What is neither.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0:?} is no destination. Write 203.0.113.7, 203.0.113.0/24 or 203.0.113.0/24:443, IPv6 as [2001:db8::/32]:443"
)]
pub struct DestinationError(String);

impl FromStr for Destination {
    type Err = DestinationError;

    fn from_str(text: &str) -> Result<Self, DestinationError> {
        let net =
            |text: &str| text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).ok();
        if let Some(net) = net(text.trim_start_matches('[').trim_end_matches(']')) {
            return Ok(Self { net, port: None });
        }
        let (left, port) = text.rsplit_once(':').ok_or_else(|| DestinationError(text.to_owned()))?;
        match (net(left.trim_start_matches('[').trim_end_matches(']')), port.parse().ok()) {
            (Some(net), Some(port)) => Ok(Self { net, port: Some(port) }),
            _ => Err(DestinationError(text.to_owned())),
        }
    }
}

impl std::fmt::Display for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.port {
            Some(port) => write!(f, "[{}]:{port}", self.net),
            None => self.net.fmt(f),
        }
    }
}

/// Which flows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of this pod, as `namespace/name`, or of all pods of a namespace, as `namespace/`.
    pub pod: Option<String>,
    /// That leave by this egress address, or have it as the pod's end.
    pub address: Option<End>,
    /// To there.
    pub to: Option<Destination>,
}

impl Filter {
    /// It is asked for. What is not known of the pod is told by its name only where that is known.
    pub fn wants(&self, record: &Record) -> bool {
        self.wants_pod(record.pod.as_deref()) && self.wants_ends(record.from, record.egress, record.to)
    }

    /// A pod of this name is asked for.
    pub fn wants_pod(&self, pod: Option<&str>) -> bool {
        self.pod.as_deref().is_none_or(|wanted| match (pod, wanted.ends_with('/')) {
            (Some(pod), true) => pod.starts_with(wanted),
            (Some(pod), false) => pod == wanted,
            (None, _) => false,
        })
    }

    /// A flow between these is asked for.
    pub fn wants_ends(&self, from: SocketAddr, egress: Option<SocketAddr>, to: SocketAddr) -> bool {
        let is = |end: &End, is: SocketAddr| {
            is.ip().to_canonical() == end.address && end.port.is_none_or(|port| port == is.port())
        };
        self.address.as_ref().is_none_or(|end| egress.is_some_and(|egress| is(end, egress)) || is(end, from))
            && self.to.as_ref().is_none_or(|wanted| {
                wanted.net.contains(&to.ip().to_canonical())
                    && wanted.port.is_none_or(|port| port == to.port())
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_an_end_and_of_a_destination_is_read_and_written() {
        for text in ["203.0.113.7", "203.0.113.7:40123", "2001:db8::7", "[2001:db8::7]:40123"] {
            assert_eq!(text.parse::<End>().unwrap().to_string(), text);
        }
        for (text, port) in [
            ("203.0.113.7", None),
            ("203.0.113.0/24", None),
            ("203.0.113.0/24:443", Some(443)),
            ("203.0.113.7:443", Some(443)),
            ("2001:db8::/32", None),
            ("[2001:db8::/32]:443", Some(443)),
            ("[2001:db8::7]:443", Some(443)),
        ] {
            let read: Destination = text.parse().unwrap();
            assert_eq!(read.port, port, "{text}");
            assert_eq!(read.to_string().parse::<Destination>().unwrap(), read, "{text}");
        }
        for text in ["", "example.com", "203.0.113.7:x", "203.0.113.0/33"] {
            assert!(text.parse::<Destination>().is_err() && text.parse::<End>().is_err(), "{text}");
        }
    }
}

//! `egret explain pod NAMESPACE/NAME [DESTINATION]`: why a pod leaves as it does, from the planner's own code.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use anyhow::Result;
use clap::{Args, Subcommand};
use egret_plan::{ClusterSettings, Packet, World};
use ipnet::IpNet;

use crate::arguments::ReadArguments;
use crate::objects;
use crate::output::Output;

/// What to explain.
#[derive(Debug, Subcommand)]
pub enum Explain {
    /// Which policies select a pod, and which of them decides
    Pod(PodArguments),
}

/// Arguments of `egret explain pod`.
#[derive(Debug, Args)]
pub struct PodArguments {
    /// The pod, as NAMESPACE/NAME; in another network than the cluster's as NAMESPACE/NAME/INTERFACE
    #[arg(value_name = "NAMESPACE/NAME")]
    pod: PodName,
    /// Where to: 203.0.113.7 (a ping), 203.0.113.7:443 (TCP) or 203.0.113.7:5060/udp; everywhere if absent
    destination: Option<Destination>,
    /// Where objects come from
    #[command(flatten)]
    store: ReadArguments,
    /// Network inside the cluster besides nodes and pods, such as services; can be repeated
    #[arg(long, value_name = "CIDR")]
    inside: Vec<IpNet>,
    /// How to print
    #[arg(short, long, default_value = "text")]
    output: Output,
}

#[derive(Clone, Debug)]
struct PodName(String, String);

/// What is not the name of a pod.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no pod. Write NAMESPACE/NAME")]
pub struct PodNameError(String);

impl FromStr for PodName {
    type Err = PodNameError;

    fn from_str(text: &str) -> Result<Self, PodNameError> {
        match text.split_once('/') {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => {
                Ok(Self(namespace.to_owned(), name.to_owned()))
            }
            _ => Err(PodNameError(text.to_owned())),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Destination(Packet);

/// None of the forms of a destination.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0:?} is no destination. Write 203.0.113.7, 203.0.113.7:443 or 203.0.113.7:5060/udp, IPv6 as [2001:db8::7]:443"
)]
pub struct DestinationError(String);

impl FromStr for Destination {
    type Err = DestinationError;

    fn from_str(text: &str) -> Result<Self, DestinationError> {
        let wrong = || DestinationError(text.to_owned());
        let plain = text.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = plain.parse::<IpAddr>() {
            let protocol = if address.is_ipv4() { 1 } else { 58 };
            return Ok(Self(Packet { address: address.to_canonical(), protocol, port: 0 }));
        }
        let (end, protocol) = match text.split_once('/') {
            None | Some((_, "tcp")) => (text.trim_end_matches("/tcp"), 6),
            Some((end, "udp")) => (end, 17),
            Some(_) => return Err(wrong()),
        };
        let end: SocketAddr = end.parse().map_err(|_| wrong())?;
        Ok(Self(Packet { address: end.ip().to_canonical(), protocol, port: end.port() }))
    }
}

/// Explains what was asked.
pub fn run(explain: Explain) -> Result<()> {
    let Explain::Pod(pod) = explain;
    let (objects, problems) = objects::read(pod.store.source()?)?;
    for problem in &problems {
        eprintln!("not in force: {problem}");
    }
    let world = World::from_objects(objects.iter().map(|object| (**object).clone()));
    let settings = ClusterSettings { inside: pod.inside.iter().copied().collect() };
    let PodName(namespace, name) = &pod.pod;
    let packet = pod.destination.map(|Destination(packet)| packet);
    let told = egret_plan::explain(&world, &settings, (namespace, name), packet);
    pod.output.print(&told, || told.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_destination_is_read() {
        for (text, protocol, port) in [
            ("203.0.113.7", 1, 0),
            ("2001:db8::7", 58, 0),
            ("[2001:db8::7]", 58, 0),
            ("203.0.113.7:443", 6, 443),
            ("203.0.113.7:443/tcp", 6, 443),
            ("[2001:db8::7]:5060/udp", 17, 5060),
        ] {
            let Destination(packet) = text.parse().unwrap();
            assert_eq!((packet.protocol, packet.port), (protocol, port), "{text}");
        }
        for text in ["", "example.com", "203.0.113.7:x", "203.0.113.7:1/sctp", "203.0.113.0/24"] {
            assert!(text.parse::<Destination>().is_err(), "{text}");
        }
    }
}

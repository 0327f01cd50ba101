//! Why a pod leaves as it does: the same decisions as the plan's, told to people.

mod deciders;
mod observed;

use std::net::IpAddr;
use std::sync::Arc;

use serde::Serialize;

use crate::inside::{self, ClusterSettings};
use crate::intent::Intent;
use crate::node::{families, verdict};
use crate::rules::Verdict;
use crate::tables::PortMatch;
use crate::world::{PodKey, World};

pub use deciders::Deciders;

/// One packet's destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Where to.
    pub address: IpAddr,
    /// IP protocol number: 6 TCP, 17 UDP, 1 and 58 ICMP.
    pub protocol: u8,
    /// Destination port; 0 for protocols without ports.
    pub port: u16,
}

/// The source that a packet must have outside.
#[derive(Serialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", tag = "source", content = "address")]
pub enum Expected {
    /// The address is no pod's.
    UnknownPod,
    /// Whatever the ordinary way gives it.
    Ordinary,
    /// This one.
    Egress(IpAddr),
    /// This one, or what the ordinary way gives it while no gateway lives: the policy bypasses.
    EgressOrOrdinary(IpAddr),
    /// It must not be seen outside: the policy has no address.
    Dropped,
}

/// Why a pod leaves as it does.
#[derive(Serialize, Clone, Debug, PartialEq)]
pub struct Explanation {
    /// The pod, as `namespace/name`.
    pub pod: String,
    /// The source that the packet must have; without a packet, that of every packet to the outside. `None`: it
    /// depends on the destination.
    pub expected: Option<Expected>,
    /// The policy that decides, if one does.
    pub policy: Option<String>,
    /// The steps of the decision.
    pub steps: Vec<String>,
}

impl std::fmt::Display for Explanation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "pod {}", self.pod)?;
        for step in &self.steps {
            writeln!(f, "  {step}")?;
        }
        match self.expected {
            None => write!(f, "=> depends on the destination"),
            Some(Expected::UnknownPod) => write!(f, "=> unknown pod: held back from the outside"),
            Some(Expected::Ordinary) => write!(f, "=> the ordinary way"),
            Some(Expected::Egress(a)) => write!(f, "=> leaves by {a}"),
            Some(Expected::EgressOrOrdinary(a)) => {
                write!(f, "=> leaves by {a}, or the ordinary way while no gateway lives")
            }
            Some(Expected::Dropped) => write!(f, "=> dropped: the policy has no address"),
        }
    }
}

/// Explains a pod, or one packet of it.
pub fn explain(
    world: &World,
    settings: &ClusterSettings,
    pod: (&str, &str),
    packet: Option<Packet>,
) -> Explanation {
    let key: PodKey = (pod.0.into(), pod.1.into());
    let mut told = Explanation {
        pod: format!("{}/{}", pod.0, pod.1),
        expected: Some(Expected::UnknownPod),
        policy: None,
        steps: Vec::new(),
    };
    let Some(facts) = world.pods().get(&key) else {
        told.steps.push(
            "no such pod that a policy could select: it does not exist, has finished, is on no node yet, or uses its \
             node's network"
                .to_owned(),
        );
        return told;
    };
    let intents = facts.policies.clone();
    let (expected, decider) = decide(world, settings, &intents, packet);
    let depends = packet.is_none() && decider.is_none() && !intents.is_empty();
    told.expected = (!depends).then_some(expected);
    told.policy = decider.map(|i| intents[i].rank.to_string());
    let addresses: Vec<String> = facts.addresses.iter().map(ToString::to_string).collect();
    told.steps.push(format!("runs on node {} with {}", facts.node, addresses.join(" and ")));
    if let Some(packet) = packet {
        if !facts.addresses.iter().any(|a| a.is_ipv4() == packet.address.is_ipv4()) {
            told.steps.push(format!("has no address of {}'s family", packet.address));
        }
        if inside::holds(world, settings, packet.address) {
            told.steps.push(format!("{} is inside the cluster: never translated", packet.address));
            return told;
        }
    }
    if intents.is_empty() {
        told.steps.push("no policy selects it".to_owned());
    }
    for (i, intent) in intents.iter().enumerate() {
        told.steps.push(layer(world, intent, packet, decider.map(|d| i.cmp(&d))));
    }
    told.steps.extend(observed::steps(world, &key, packet));
    for (place, network) in world.places(&key) {
        told.steps.push(format!("is in network {network} as well: ask for {}/{place}", key.0));
    }
    told
}

/// The source that a packet of the pod with this address must have outside.
pub fn expected_source(world: &World, settings: &ClusterSettings, pod: IpAddr, packet: Packet) -> Expected {
    let mut found: Option<Expected> = None;
    for (_, facts) in world.pods_with(pod) {
        let intents = &facts.policies;
        let (expected, _) = decide(world, settings, intents, Some(packet));
        if found.is_none_or(|f| f == Expected::Ordinary) {
            found = Some(expected);
        }
    }
    found.unwrap_or(Expected::UnknownPod)
}

/// What is expected, and which policy decides it.
fn decide(
    world: &World,
    settings: &ClusterSettings,
    intents: &[Arc<Intent>],
    packet: Option<Packet>,
) -> (Expected, Option<usize>) {
    if packet.is_some_and(|p| inside::holds(world, settings, p.address)) {
        return (Expected::Ordinary, None);
    }
    let Some(decider) = intents.iter().position(|intent| matches(world, intent, packet)) else {
        return (Expected::Ordinary, None);
    };
    let intent = &intents[decider];
    // With every candidate alive, only a policy without an address or without candidates is unavailable.
    let expected = match (verdict(world, intent, |_, _| true), intent.when_unavailable) {
        (Verdict::Egress(address), egret_api::WhenUnavailable::Bypass) => Expected::EgressOrOrdinary(address),
        (Verdict::Egress(address), _) => Expected::Egress(address),
        (Verdict::Ordinary, _) => Expected::Ordinary,
        (Verdict::Drop, _) => Expected::Dropped,
    };
    (expected, Some(decider))
}

fn matches(world: &World, intent: &Intent, packet: Option<Packet>) -> bool {
    captures(intent, families(world, intent, verdict(world, intent, |_, _| true)), packet)
}

/// A policy that captures these families matches the packet; without a packet, every packet to the outside.
fn captures(intent: &Intent, (v4, v6): (bool, bool), packet: Option<Packet>) -> bool {
    let Some(packet) = packet else {
        return intent.traffic.iter().any(|t| t.net.prefix_len() == 0 && t.ports.contains(&PortMatch::Any));
    };
    let family = if packet.address.is_ipv4() { v4 } else { v6 };
    family
        && intent.traffic.iter().any(|t| {
            t.net.contains(&packet.address)
                && !t.except.iter().any(|e| e.contains(&packet.address))
                && t.ports.iter().any(|p| match *p {
                    PortMatch::Any => true,
                    PortMatch::Tcp(first, last) => {
                        packet.protocol == 6 && (first..=last).contains(&packet.port)
                    }
                    PortMatch::Udp(first, last) => {
                        packet.protocol == 17 && (first..=last).contains(&packet.port)
                    }
                })
        })
}

fn layer(world: &World, intent: &Intent, packet: Option<Packet>, turn: Option<std::cmp::Ordering>) -> String {
    let now = verdict(world, intent, |_, _| true);
    let how = match now {
        Verdict::Egress(address) => {
            let record = world.record(address);
            let first = record.and_then(|r| r.holder(|_| true)).unwrap_or("none yet");
            format!("by {address} (gateway while all live: {first})")
        }
        Verdict::Ordinary => "bypassed: no gateway".to_owned(),
        Verdict::Drop => "no address: its packets are dropped".to_owned(),
    };
    let (v4, v6) = families(world, intent, now);
    let family = match (v4, v6) {
        (true, false) => ", IPv4 destinations only",
        (false, true) => ", IPv6 destinations only",
        _ => "",
    };
    let turn = match (packet, turn) {
        (_, Some(std::cmp::Ordering::Equal)) => "decides",
        (Some(_), Some(std::cmp::Ordering::Less) | None) => "does not match the destination",
        (_, Some(std::cmp::Ordering::Greater)) => "comes later",
        (None, _) => "captures some destinations",
    };
    format!("{}: {turn}; {how}{family}", intent.rank)
}

//! What holds for every frame.

use std::collections::BTreeMap;
use std::net::IpAddr;

use egret_datapath::layout::{FlowKey, ReturnKey};

use super::Attack;
use crate::nat::Nat;
use crate::packet::{Body, Packet};
use crate::reading::{addresses, read};
use crate::rig::{Outcome, Rig};
use crate::universe::PODS;
use crate::world::addr;

type Told = Result<(), String>;

fn pod(ip: IpAddr) -> bool {
    PODS.iter().flatten().any(|text| addr(text) == ip)
}

pub fn hold(rig: &mut Rig, nat: &Nat, attack: &Attack, outcome: &Outcome) -> Told {
    match attack.program {
        "to_pod" => {
            return if outcome.frame == attack.bytes {
                Ok(())
            } else {
                Err("to_pod changed a frame".to_owned())
            };
        }
        "to_overlay" => {
            let moved: u64 = rig.verdicts().values().sum();
            return if moved <= 1 { Ok(()) } else { Err(format!("{moved} verdicts")) };
        }
        _ => {}
    }
    let verdict = outcome.verdict;
    if !rig.counted(verdict) {
        return Err(format!("{verdict} was not counted once"));
    }
    match (verdict.split_once('_').map_or("", |(first, _)| first), outcome.answer) {
        ("PASS", -1) => passed(nat, attack, outcome),
        ("DROP", 2) => Ok(()),
        ("SENT" | "TOLD" | "ANSWERED", 7) => sent(nat, attack, outcome),
        (_, answer) => Err(format!("the kernel hears {answer} with {verdict}")),
    }
}

/// The kernel gets the frame as it came; and of a selected pod nothing that its rules send by an egress address.
fn passed(nat: &Nat, attack: &Attack, outcome: &Outcome) -> Told {
    if outcome.frame != attack.bytes {
        return Err("a frame that is passed was changed".to_owned());
    }
    if attack.program != "from_pod" || ["PASS_REPLY", "PASS_INSIDE"].contains(&outcome.verdict) {
        return Ok(());
    }
    let Some((src, dst)) = addresses(&attack.bytes) else { return Ok(()) };
    let selected = nat.world.pods.get(&src).is_some_and(|pod| pod.rules != 0 && pod.link == attack.link);
    let whole_net = |(net, ports): (&ipnet::IpNet, &Vec<crate::world::Port>)| {
        net.contains(&dst)
            .then(|| (net.prefix_len(), ports.iter().any(|port| port.0 == 0 && port.3.is_some())))
    };
    let rules = nat.world.rules.iter().filter_map(|((_, net), ports)| whole_net((net, ports)));
    let always = rules.max().is_some_and(|(_, always)| always);
    if selected && always && !nat.inside(dst) {
        return Err("a selected pod's packet went the ordinary way".to_owned());
    }
    Ok(())
}

fn sent(nat: &Nat, attack: &Attack, outcome: &Outcome) -> Told {
    let verdict = outcome.verdict;
    let out = addresses(&outcome.frame);
    let leaves = ["SENT_WIRE", "SENT_PIECES", "SENT_OVERLAY", "SENT_LINK", "SENT_HAIRPIN"].contains(&verdict);
    if leaves && !out.is_some_and(|(src, _)| nat.world.served.contains_key(&src)) {
        return Err(format!("it leaves as {out:?}, which is no egress address"));
    }
    if verdict == "SENT_POD" && !out.is_some_and(|(_, dst)| nat.world.pods.contains_key(&dst)) {
        return Err(format!("it goes to {out:?}, which is no pod"));
    }
    let before = read(&attack.bytes);
    let after = read(&outcome.frame);
    if verdict.starts_with("TOLD") {
        let hop = after.as_ref().map(|told| egret_datapath::layout::Addr::from(told.packet.src.ip()));
        let settings = &nat.world.settings;
        let own = hop.is_some_and(|hop| hop == settings.hop4 || hop == settings.hop6);
        return match after {
            Some(told) if told.sound && own => Ok(()),
            told => Err(format!("told wrongly: {told:?}")),
        };
    }
    let (Some(before), Some(after)) = (before, after) else { return Ok(()) };
    if verdict.starts_with("SENT") && before.sound && !after.sound {
        return Err(format!("a checksum was right and is wrong:\n  {}\n  {}", before.packet, after.packet));
    }
    if ["SENT_AGENT", "SENT_PROBE"].contains(&verdict) || verdict.starts_with("ANSWERED") {
        return Ok(());
    }
    if after.packet.ttl.wrapping_add(1) != before.packet.ttl {
        return Err(format!("time to live {} became {}", before.packet.ttl, after.packet.ttl));
    }
    match leaves.then(|| names_pod(&after.packet)).flatten() {
        Some(ip) => Err(format!("what leaves names the pod {ip}: {}", after.packet)),
        None => Ok(()),
    }
}

/// A pod's address that an error quotes as its own.
fn names_pod(packet: &Packet) -> Option<IpAddr> {
    match &packet.body {
        Body::Error(error) => Some(error.about.dst.ip()).filter(|ip| pod(*ip)),
        _ => None,
    }
}

/// Each flow has its way back and each way back its flow; a mapping counts its flows, and has one owner.
pub fn tables(rig: &mut Rig, nat: &Nat) -> Told {
    let moved = rig.verdicts();
    if !moved.is_empty() {
        return Err(format!("counted besides the verdicts: {moved:?}"));
    }
    let flows: BTreeMap<FlowKey, _> = rig.flows.iter().map(Result::unwrap).collect();
    let returns: BTreeMap<ReturnKey, _> = rig.returns.iter().map(Result::unwrap).collect();
    let mut used: BTreeMap<_, u32> = BTreeMap::new();
    for (key, flow) in &flows {
        let back = ReturnKey {
            egress: flow.egress,
            remote: key.remote,
            egress_port: flow.egress_port,
            remote_port: key.remote_port,
            protocol: key.protocol,
            pad: [0; 3],
        };
        let found = returns.get(&back).filter(|back| back.pod == key.pod && back.pod_port == key.pod_port);
        if found.is_none() {
            return Err(format!("a flow without way back: {key:?} {flow:?}"));
        }
        let egress = IpAddr::from(flow.egress);
        let shift = nat.world.served[&egress].shift;
        let block = (egress, u16::from_be(flow.egress_port) >> shift);
        if nat.world.leases.get(&block).map(|node| (*node).into()) != Some(nat.world.settings.underlay) {
            return Err(format!("a flow on a port that the node does not lease: {flow:?}"));
        }
        if key.protocol != 6 {
            *used.entry((flow.egress, key.pod, key.pod_port, key.protocol, flow.egress_port)).or_default() +=
                1;
        }
    }
    if flows.len() != returns.len() {
        return Err(format!("{} flows and {} ways back", flows.len(), returns.len()));
    }
    let mappings: BTreeMap<_, u32> = rig
        .mappings
        .iter()
        .map(Result::unwrap)
        .map(|(key, value)| {
            ((key.egress, key.pod, key.pod_port, key.protocol, value.egress_port), value.flows)
        })
        .collect();
    let wrong: Vec<_> =
        mappings.iter().filter(|(key, flows)| used.get(key).copied().unwrap_or(0) != **flows).collect();
    if !wrong.is_empty() || used.keys().any(|key| !mappings.contains_key(key)) {
        return Err(format!("mappings that count wrongly: {wrong:?} of {used:?}"));
    }
    let owners: std::collections::BTreeSet<_> = rig.owners.keys().map(Result::unwrap).collect();
    let owned = mappings.keys().map(|(egress, _, _, protocol, port)| egret_datapath::layout::OwnerKey {
        egress: *egress,
        egress_port: *port,
        protocol: *protocol,
        pad: [0; 5],
    });
    let owned: std::collections::BTreeSet<_> = owned.collect();
    if owners != owned || owned.len() != mappings.len() {
        return Err(format!("owners {owners:?} of {owned:?}"));
    }
    Ok(())
}

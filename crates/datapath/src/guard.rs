//! The guard: nftables rules in the forward path that hold what must not leave by the ordinary way, whatever the
//! programs do. In the forward hook the source is still the pod's, so no masquerade can hide a leak; and what is still for
//! an egress address there is for no Service, so the kernel could only send it back to where it came from.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::IpAddr;
use std::process::{Command, Stdio};

use egret_plan::tables::{Guard, UnknownPods};
use ipnet::IpNet;

use crate::captured::{self, Family};
use crate::counters::Counter;
use crate::error::DatapathError;
use crate::guard_change;

/// All that the guard's rules are made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GuardInput {
    /// Pods and what is captured of them.
    pub guard: Guard,
    /// Networks inside the cluster.
    pub inside: BTreeSet<IpNet>,
    /// What happens to pods that nobody knows.
    pub unknown_pods: UnknownPods,
    /// Egress addresses that only the datapath may carry. One that is `inside` is a node's own, and passes.
    pub egress: BTreeSet<IpAddr>,
    /// Egress addresses that just went. Others go on sending to them, so they are held for [`DEPARTED`]; a node's own
    /// is not.
    pub departed: BTreeSet<IpAddr>,
    /// UDP port of the overlay, which connection tracking has no business with.
    pub vxlan_port: u16,
    /// What the counters start from: a table that is replaced must not forget what it dropped.
    pub drops: GuardDrops,
}

impl GuardInput {
    fn is_inside(&self, address: IpAddr) -> bool {
        self.inside.iter().any(|net| net.contains(&address))
    }
}

/// What the guard has dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GuardDrops {
    /// Packets of selected pods that came by the ordinary way.
    pub captured: Counter,
    /// Packets of pods that this node does not know.
    pub unknown: Counter,
    /// Packets from or to an egress address that the kernel was about to forward.
    pub egress: Counter,
}

/// How long an egress address that went is held, in minutes: longer than most routers and connections remember it.
pub const DEPARTED: u32 = 10;

/// The whole table as one transaction for `nft -f`.
pub fn script(input: &GuardInput) -> String {
    let mut text = String::from("table inet egret\ndelete table inet egret\ntable inet egret {\n");
    counter(&mut text, "captured", input.drops.captured);
    counter(&mut text, "unknown", input.drops.unknown);
    counter(&mut text, "egress", input.drops.egress);
    for family in [Family::V4, Family::V6] {
        networks(&mut text, family, "pods", &input.guard.pod_networks);
        networks(&mut text, family, "inside", &input.inside);
        addresses(&mut text, family, "free", input.guard.free.iter());
        addresses(&mut text, family, "selected", input.guard.selected.keys());
        addresses(&mut text, family, "egress", held(input).iter());
        let header = format!("type {}; flags timeout;", family.word());
        set(&mut text, &format!("set departed{}", family.digit()), &header, &departing(family, input));
    }
    for family in [Family::V4, Family::V6] {
        for (set, captured) in &input.guard.captured {
            captured::chain(&mut text, family, *set, captured);
        }
        verdicts(&mut text, family, &input.guard);
        let rules = pod_rules(family, input.unknown_pods);
        let _ = writeln!(text, "  chain pod{} {{\n{rules}  }}", family.digit());
    }
    let port = input.vxlan_port;
    let _ = write!(
        text,
        "  chain forward {{
    type filter hook forward priority filter - 10; policy accept;
    ip saddr @pods4 goto pod4
    ip6 saddr @pods6 goto pod6
    ip saddr @egress4 jump egress
    ip daddr @egress4 jump egress
    ip saddr @departed4 jump egress
    ip daddr @departed4 jump egress
    ip6 saddr @egress6 jump egress
    ip6 daddr @egress6 jump egress
    ip6 saddr @departed6 jump egress
    ip6 daddr @departed6 jump egress
  }}
  chain egress {{
    ct direction reply return
    counter name egress drop
  }}
  chain untracked_in {{
    type filter hook prerouting priority raw; policy accept;
    udp dport {port} notrack
  }}
  chain untracked_out {{
    type filter hook output priority raw; policy accept;
    udp dport {port} notrack
  }}
}}
"
    );
    text
}

fn counter(text: &mut String, name: &str, from: Counter) {
    let _ = writeln!(text, "  counter {name} {{ packets {} bytes {} }}", from.packets, from.bytes);
}

fn networks(text: &mut String, family: Family, name: &str, nets: &BTreeSet<IpNet>) {
    let nets: Vec<String> =
        nets.iter().filter(|net| family.has(net.addr())).map(|net| net.trunc().to_string()).collect();
    let header = format!("type {}; flags interval; auto-merge;", family.word());
    set(text, &format!("set {name}{}", family.digit()), &header, &nets);
}

fn addresses<'a>(text: &mut String, family: Family, name: &str, addresses: impl Iterator<Item = &'a IpAddr>) {
    let addresses: Vec<String> = addresses.filter(|a| family.has(**a)).map(ToString::to_string).collect();
    set(text, &format!("set {name}{}", family.digit()), &format!("type {};", family.word()), &addresses);
}

/// The egress addresses that the kernel has no business with.
pub fn held(input: &GuardInput) -> BTreeSet<IpAddr> {
    input.egress.iter().filter(|address| !input.is_inside(**address)).copied().collect()
}

/// Those of a family that just went, as elements with the time that they are held.
pub fn departing(family: Family, input: &GuardInput) -> Vec<String> {
    let held = |address: &&IpAddr| family.has(**address) && !input.is_inside(**address);
    input.departed.iter().filter(held).map(|address| format!("{address} timeout {DEPARTED}m")).collect()
}

/// From a selected pod to the chain of its rule set, so that the number of rule sets costs no packet anything.
fn verdicts(text: &mut String, family: Family, guard: &Guard) {
    let jumps: Vec<String> = guard_change::jumps(family, guard)
        .iter()
        .map(|(pod, set)| format!("{pod} : jump {}", captured::chain_name(family, *set)))
        .collect();
    let header = format!("type {} : verdict;", family.word());
    set(text, &format!("map captured{}", family.digit()), &header, &jumps);
}

/// The questions about a packet from a pod of this node, in their order.
pub fn pod_rules(family: Family, unknown: UnknownPods) -> String {
    let (digit, ip) = (family.digit(), family.header());
    let mut rules = format!(
        "    {ip} daddr @inside{digit} return
    ct direction reply return
    {ip} saddr @free{digit} return
    ct status dnat ct original {ip} daddr @inside{digit} return
    {ip} saddr vmap @captured{digit}
    {ip} saddr @selected{digit} return
"
    );
    if unknown == UnknownPods::Hold {
        rules.push_str("    counter name unknown drop\n");
    }
    rules
}

fn set(text: &mut String, name: &str, header: &str, elements: &[String]) {
    let _ = writeln!(text, "  {name} {{\n    {header}");
    if !elements.is_empty() {
        let _ = writeln!(text, "    elements = {{ {} }}", elements.join(", "));
    }
    text.push_str("  }\n");
}

/// Puts the guard in force, in one transaction: what differs from the one that is in force, or all of it.
pub fn apply(before: Option<&GuardInput>, input: &GuardInput) -> Result<(), DatapathError> {
    match before.and_then(|before| guard_change::script(before, input)) {
        Some(nothing) if nothing.is_empty() => Ok(()),
        // Somebody else's hand in the table is mended by a new one.
        Some(changes) => nft(&changes).or_else(|_| nft(&whole(input))),
        None => nft(&whole(input)),
    }
}

/// A new table counts on from where the old one was.
fn whole(input: &GuardInput) -> String {
    script(&GuardInput { drops: drops().unwrap_or_default(), ..input.clone() })
}

/// The guard's table is in the kernel.
pub fn present() -> bool {
    drops().is_some()
}

/// Takes the guard away.
pub fn remove() -> Result<(), DatapathError> {
    nft("table inet egret\ndelete table inet egret\n")
}

/// What the guard in force has dropped; `None` without a guard.
pub fn drops() -> Option<GuardDrops> {
    let output = Command::new("nft").args(["list", "counters", "table", "inet", "egret"]).output().ok()?;
    output.status.success().then(|| parse_drops(&String::from_utf8_lossy(&output.stdout)))
}

fn parse_drops(text: &str) -> GuardDrops {
    let mut drops = GuardDrops::default();
    let words: Vec<&str> = text.split_whitespace().collect();
    for window in words.windows(7) {
        if let ["counter", name, "{", "packets", packets, "bytes", bytes] = window {
            let counter =
                Counter { packets: packets.parse().unwrap_or(0), bytes: bytes.parse().unwrap_or(0) };
            match *name {
                "captured" => drops.captured = counter,
                "unknown" => drops.unknown = counter,
                "egress" => drops.egress = counter,
                _ => {}
            }
        }
    }
    drops
}

fn nft(script: &str) -> Result<(), DatapathError> {
    let failed = |why: String| DatapathError::Guard(why);
    let mut child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| {
            failed(format!("cannot run nft: {error}; install it with `apt-get install nftables`"))
        })?;
    if let Some(mut stdin) = child.stdin.take() {
        // nft that refuses early closes its end; its own words say why.
        let _ = stdin.write_all(script.as_bytes());
    }
    let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use egret_plan::tables::{Captured, PortMatch};
    use std::collections::BTreeMap;

    #[test]
    fn the_table_reads_like_the_design() {
        let pod: IpAddr = "10.244.1.10".parse().unwrap();
        let all = Captured {
            first: "0.0.0.0".parse().unwrap(),
            last: "255.255.255.255".parse().unwrap(),
            ports: PortMatch::Any,
        };
        let https = Captured { ports: PortMatch::Tcp(443, 443), ..all };
        let input = GuardInput {
            guard: Guard {
                pod_networks: BTreeSet::from(["10.244.1.0/24".parse().unwrap()]),
                free: BTreeSet::from(["10.244.1.9".parse().unwrap()]),
                selected: BTreeMap::from([(pod, 7)]),
                captured: BTreeMap::from([(7, BTreeSet::from([all, https]))]),
            },
            inside: ["10.244.0.0/16", "10.0.0.0/24"].map(|net| net.parse().unwrap()).into(),
            unknown_pods: UnknownPods::Hold,
            egress: ["10.10.0.11", "10.0.0.4"].map(|address| address.parse().unwrap()).into(),
            departed: ["fd00:10:10::11", "10.0.0.5"].map(|address| address.parse().unwrap()).into(),
            vxlan_port: 8474,
            drops: GuardDrops { captured: Counter { packets: 3, bytes: 180 }, ..GuardDrops::default() },
        };
        let expected = include_str!("../tests/golden/guard.nft");
        assert_eq!(script(&input), expected, "\n{}", script(&input));
    }

    #[test]
    fn counters_are_read_as_nft_prints_them() {
        let text = "table inet egret {\n\tcounter captured {\n\t\tpackets 3 bytes 180\n\t}\n\tcounter unknown {\n\t\t\
                    packets 0 bytes 0\n\t}\n}\n";
        let drops = parse_drops(text);
        assert_eq!(drops.captured, Counter { packets: 3, bytes: 180 });
        assert_eq!(drops.unknown, Counter::default());
    }
}

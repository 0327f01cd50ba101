//! Asks the node.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;

use egret_datapath::Interface;
use serde_json::Value;

use super::{Cni, Facts, SIGNS, Sign, Trace};
use crate::{items, text};

/// Where to look, and for what.
#[derive(Clone, Debug)]
pub struct Question {
    /// Where the agent's pins are, or will be.
    pub pin_dir: PathBuf,
    /// Directory of CNI configurations.
    pub cni_dir: PathBuf,
    /// The node's address between nodes; absent: that of its default route.
    pub address: Option<IpAddr>,
    /// Name of the overlay device.
    pub overlay: String,
    /// The overlay's UDP port.
    pub port: u16,
    /// Capabilities that an agent needs, named as in capabilities(7) without `CAP_`.
    pub capabilities: Vec<String>,
}

/// The overlay's MTU is tried with this where the underlay is not known.
const USUAL_MTU: u32 = 1500;

/// Looks at the node that this process runs on, in its network namespace.
pub fn look(question: Question) -> Facts {
    let Question { pin_dir, cni_dir, address, overlay, port, capabilities } = question;
    let address = address.or_else(own_address);
    let interfaces = egret_datapath::interfaces().map_err(|error| error.to_string());
    let known = interfaces.as_deref().unwrap_or_default();
    let underlay = address.and_then(|address| underlay(known, address));
    let family = address.unwrap_or(Ipv4Addr::UNSPECIFIED.into());
    let mtu = underlay.map_or(USUAL_MTU, |interface| interface.mtu);
    let setting = |name: &str| fs::read_to_string(format!("/proc/sys/net/{name}")).ok();
    let switch = |name: &str| setting(name).map(|value| value.trim() != "0");
    let traces = traces(known);
    Facts {
        kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
        btf: Path::new("/sys/kernel/btf/vmlinux").exists(),
        lacking: lacking(&capabilities, &fs::read_to_string("/proc/thread-self/status").unwrap_or_default()),
        trial: egret_datapath::try_kernel(&pin_dir, port, mtu, family),
        installed: egret_datapath::installed(&pin_dir),
        port_taken: ["udp", "udp6"].iter().any(|table| {
            let sockets = fs::read_to_string(format!("/proc/thread-self/net/{table}"));
            sockets.is_ok_and(|sockets| has_port(&sockets, port))
        }),
        forwards: [switch("ipv4/ip_forward"), switch("ipv6/conf/all/forwarding")],
        rp_filter: setting("ipv4/conf/all/rp_filter").and_then(|value| value.trim().parse().ok()),
        cni: configurations(&cni_dir),
        cni_dir: cni_dir.display().to_string(),
        interfaces,
        address,
        overlay,
        port,
        traces,
    }
}

/// The interface that has an address.
pub(super) fn underlay(interfaces: &[Interface], address: IpAddr) -> Option<&Interface> {
    interfaces.iter().find(|interface| interface.addresses.iter().any(|net| net.addr() == address))
}

/// The address by which this node would speak to the outside: nothing is sent.
fn own_address() -> Option<IpAddr> {
    let towards = |from: &str, to: &str| {
        let socket = UdpSocket::bind(from).ok()?;
        socket.connect(to).ok()?;
        socket.local_addr().ok().map(|address| address.ip())
    };
    towards("0.0.0.0:0", "192.0.2.1:9").or_else(|| towards("[::]:0", "[2001:db8::1]:9"))
}

/// Bits of capabilities(7), by name without `CAP_`.
const CAPABILITIES: [(&str, u32); 7] = [
    ("NET_ADMIN", 12),
    ("NET_RAW", 13),
    ("SYS_ADMIN", 21),
    ("SYS_NICE", 23),
    ("SYS_RESOURCE", 24),
    ("PERFMON", 38),
    ("BPF", 39),
];

/// What is needed and, by what the kernel says of a process, not there.
fn lacking(needed: &[String], status: &str) -> BTreeSet<String> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let held = line.and_then(|line| u64::from_str_radix(line.trim(), 16).ok()).unwrap_or(0);
    let has = |name: &str| {
        let bit = CAPABILITIES.iter().find(|(known, _)| *known == name);
        bit.is_some_and(|(_, bit)| held >> bit & 1 == 1)
    };
    needed.iter().filter(|name| !has(name)).cloned().collect()
}

/// Whether a socket of the kernel's table has this port (proc(5): `local_address` is `ADDRESS:PORT` in hexadecimal).
fn has_port(sockets: &str, port: u16) -> bool {
    let local = |line: &str| {
        let (_, port) = line.split_whitespace().nth(1)?.rsplit_once(':')?;
        u16::from_str_radix(port, 16).ok()
    };
    sockets.lines().skip(1).filter_map(local).any(|found| found == port)
}

fn configurations(directory: &Path) -> Vec<Cni> {
    let files = fs::read_dir(directory).into_iter().flatten().flatten().map(|file| file.path());
    let is_one = |path: &PathBuf| {
        path.extension().is_some_and(|end| end == "conflist" || end == "conf" || end == "json")
    };
    let mut files: Vec<PathBuf> = files.filter(is_one).collect();
    files.sort();
    let read = |path: PathBuf| Cni {
        file: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        plugins: plugins(&fs::read_to_string(&path).unwrap_or_default()),
    };
    files.into_iter().map(read).collect()
}

/// The types of a configuration's plugins: a list's in their order, or the only one.
fn plugins(configuration: &str) -> Vec<String> {
    let value: Value = serde_json::from_str(configuration).unwrap_or_default();
    let single = std::slice::from_ref(&value);
    let plugins = if value.get("plugins").is_some() { items(&value, "/plugins") } else { single };
    plugins.iter().map(|plugin| text(plugin, "/type").to_owned()).filter(|name| !name.is_empty()).collect()
}

fn traces(interfaces: &[Interface]) -> BTreeSet<Trace> {
    let maps = egret_datapath::map_names();
    let rules = Command::new("nft").args(["list", "chains"]).output();
    let rules = rules.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let seen = |trace: &Trace| match trace.sign {
        Sign::Interface(name) => interfaces.iter().any(|interface| interface.name == name),
        Sign::Vxlan(port) => interfaces.iter().any(|interface| interface.vxlan_port == Some(port)),
        Sign::Rules(name) => rules.split_whitespace().any(|word| word == name),
        Sign::Map(name) => maps.contains(name),
    };
    SIGNS.into_iter().filter(seen).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_and_the_cni_write_is_read() {
        let status = "Name:\tegret\nCapEff:\t000000c000003000\n";
        let all = ["BPF", "PERFMON", "NET_ADMIN", "NET_RAW"].map(str::to_owned);
        assert!(lacking(&all, status).is_empty());
        assert_eq!(
            lacking(&all, "CapEff:\t0000000000001000"),
            ["BPF", "NET_RAW", "PERFMON"].map(str::to_owned).into()
        );
        assert_eq!(lacking(&all, "").len(), 4);

        let table = "  sl  local_address rem_address   st\n  12: 00000000:211A 00000000:0000 07\n";
        assert!(has_port(table, 8474) && !has_port(table, 0));

        let list = r#"{"name": "n", "plugins": [{"type": "bridge"}, {"type": "portmap"}]}"#;
        assert_eq!(plugins(list), ["bridge", "portmap"]);
        assert_eq!(plugins(r#"{"name": "n", "type": "ptp"}"#), ["ptp"]);
        assert!(plugins("broken").is_empty());
    }
}

//! One node: can its kernel carry the datapath, and is its network as the datapath needs it?

mod judge;
mod look;

use std::collections::BTreeSet;
use std::net::IpAddr;

use egret_datapath::{Installed, Interface, Trial};

pub use judge::judge;
pub(crate) use judge::{OLDEST_KERNEL, kernel_version};
pub use look::{Question, look};

/// What a node's kernel and files say.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The kernel's release, as `uname -r` prints it.
    pub kernel: String,
    /// The kernel describes its types (BTF).
    pub btf: bool,
    /// Capabilities that an agent needs and this process does not have.
    pub lacking: BTreeSet<String>,
    /// What the kernel could be brought to do.
    pub trial: Trial,
    /// What of Egret is here already.
    pub installed: Installed,
    /// Every interface, or why they cannot be listed.
    pub interfaces: Result<Vec<Interface>, String>,
    /// The node's address between nodes.
    pub address: Option<IpAddr>,
    /// Name of the overlay device.
    pub overlay: String,
    /// The overlay's UDP port.
    pub port: u16,
    /// Some socket of this node has the overlay's port.
    pub port_taken: bool,
    /// The kernel forwards IPv4 and IPv6; absent: it does not say, or has no such family.
    pub forwards: [Option<bool>; 2],
    /// `net.ipv4.conf.all.rp_filter`.
    pub rp_filter: Option<u8>,
    /// Directory of CNI configurations.
    pub cni_dir: String,
    /// The configurations in it, in the order of their files' names: the first is in force.
    pub cni: Vec<Cni>,
    /// What other egress systems left on this node.
    pub traces: BTreeSet<Trace>,
}

/// One CNI configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cni {
    /// The file's name.
    pub file: String,
    /// Its plugins, the one that makes interfaces first; empty if it cannot be read.
    pub plugins: Vec<String>,
}

/// A thing by which another egress system is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Trace {
    /// What it is.
    pub sign: Sign,
    /// Whose it is.
    pub system: &'static str,
}

/// What can be seen of a system on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sign {
    /// An interface of this name.
    Interface(&'static str),
    /// A VXLAN device on this UDP port.
    Vxlan(u16),
    /// An nftables table or chain of this name.
    Rules(&'static str),
    /// A BPF map whose name, which the kernel cuts off after 15 letters, is this.
    Map(&'static str),
}

/// Every sign that is known.
pub const SIGNS: [Trace; 7] = [
    Trace { sign: Sign::Interface("antrea-egress0"), system: "Antrea's Egress" },
    Trace { sign: Sign::Map("cilium_egress_g"), system: "Cilium's egress gateway" },
    Trace { sign: Sign::Rules("KUBE-VIP-EGRESS"), system: "kube-vip's egress" },
    Trace { sign: Sign::Rules("kube_vip_v4"), system: "kube-vip's egress" },
    Trace { sign: Sign::Rules("kube_vip_v6"), system: "kube-vip's egress" },
    Trace { sign: Sign::Vxlan(4790), system: "Calico's egress gateways" },
    Trace { sign: Sign::Vxlan(7789), system: "spidernet's egressgateway" },
];

impl std::fmt::Display for Sign {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Sign::Interface(name) => write!(f, "interface {name}"),
            Sign::Vxlan(port) => write!(f, "a VXLAN device on UDP {port}"),
            Sign::Rules(name) => write!(f, "nftables {name}"),
            Sign::Map(name) => write!(f, "BPF map {name}"),
        }
    }
}

//! What the agent asks of the kernel; in tests somebody else answers.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;

use egret_datapath::{ApplyError, Datapath, DatapathError, GuardDrops, Role, Sweep};
use egret_plan::Change;
use egret_plan::tables::{LinkIndex, Mac, Tables};

/// The kernel of this node.
pub(crate) trait Kernel {
    /// What its tables hold, without the guard.
    fn read(&self) -> Result<Tables, DatapathError>;
    /// Makes changes, in order.
    fn apply(&mut self, changes: &[Change]) -> Result<(), ApplyError>;
    /// Whether this node answers probes with "ready".
    fn set_ready(&mut self, ready: bool) -> Result<(), DatapathError>;
    /// Attaches or replaces the programs of a role.
    fn attach(&mut self, link: LinkIndex, role: Role) -> Result<(), DatapathError>;
    /// Takes the programs of a role off.
    fn detach(&mut self, link: LinkIndex, role: Role) -> Result<(), DatapathError>;
    /// Which programs are where.
    fn attached(&self) -> BTreeSet<(LinkIndex, Role)>;
    /// What the guard has dropped.
    fn guard_drops(&self) -> GuardDrops;
    /// Flows opened by egress address, since the address's entry was last set.
    fn opened(&self) -> Result<BTreeMap<IpAddr, u32>, DatapathError>;
    /// Goes on removing idle flows and counting the others; tells when it is through.
    fn sweep(&mut self) -> Result<Option<Sweep>, DatapathError>;
    /// Keeps the kernel from ports that are leased of this node's own address, or no longer.
    fn reserve_ports(&mut self, wanted: bool) -> Result<(), DatapathError>;
    /// Tells a wire's neighbours that an address is here.
    fn announce(&self, link: LinkIndex, mac: Mac, address: IpAddr) -> io::Result<()>;
    /// Largest inner packet of the overlay, bytes.
    fn overlay_mtu(&self) -> u16;
}

impl Kernel for Datapath {
    fn read(&self) -> Result<Tables, DatapathError> {
        self.read()
    }
    fn apply(&mut self, changes: &[Change]) -> Result<(), ApplyError> {
        self.apply(changes)
    }
    fn set_ready(&mut self, ready: bool) -> Result<(), DatapathError> {
        self.set_ready(ready)
    }
    fn attach(&mut self, link: LinkIndex, role: Role) -> Result<(), DatapathError> {
        match role {
            Role::Pod => self.attach_pod(link),
            Role::Second => self.attach_second(link),
            Role::Parent => self.attach_parent(link),
            Role::Wire => self.attach_wire(link),
            Role::Underlay => self.attach_underlay(link),
            // Attached from the start, by the datapath itself.
            Role::Overlay => Ok(()),
        }
    }
    fn detach(&mut self, link: LinkIndex, role: Role) -> Result<(), DatapathError> {
        self.detach(link, role)
    }
    fn attached(&self) -> BTreeSet<(LinkIndex, Role)> {
        self.attached()
    }
    fn guard_drops(&self) -> GuardDrops {
        self.guard_drops()
    }
    fn opened(&self) -> Result<BTreeMap<IpAddr, u32>, DatapathError> {
        self.opened()
    }
    fn sweep(&mut self) -> Result<Option<Sweep>, DatapathError> {
        self.sweep()
    }
    fn reserve_ports(&mut self, wanted: bool) -> Result<(), DatapathError> {
        self.reserve_ports(wanted)
    }
    fn announce(&self, link: LinkIndex, mac: Mac, address: IpAddr) -> io::Result<()> {
        egret_datapath::announce(link, mac, address)
    }
    fn overlay_mtu(&self) -> u16 {
        self.overlay_mtu()
    }
}

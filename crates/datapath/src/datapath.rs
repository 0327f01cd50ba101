//! The datapath of one node: all that the agent asks of the kernel about packets.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::sync::Arc;

use aya::Ebpf;
use aya::maps::IterableMap as _;
use egret_plan::Change;
use egret_plan::tables::{Guard, LinkIndex, Tables, UnknownPods};
use ipnet::IpNet;

use crate::apply::{KnownRules, write};
use crate::attach::{Attach, Attachments, Role};
use crate::batch;
use crate::counters::Counters;
use crate::error::{ApplyError, DatapathError};
use crate::flow_events::FlowEvents;
use crate::guard::{self, GuardDrops, GuardInput};
use crate::maps::{Maps, removed};
use crate::sweep::{Sweep, Sweeper};
use crate::{device, layout, links, load, overlay, read, reserved};

/// What the datapath of one node is made of.
#[derive(Clone, Debug)]
pub struct Config {
    /// A directory on a BPF file system, for pins.
    pub pin_dir: PathBuf,
    /// Name of the interface between nodes.
    pub underlay: String,
    /// This node's address on it.
    pub underlay_address: IpAddr,
    /// Name of the overlay device.
    pub overlay: String,
    /// UDP port of the overlay; the same on every node.
    pub vxlan_port: u16,
    /// How programs are attached.
    pub attach: Attach,
    /// Most flows that this node can hold. An existing table keeps its size.
    pub max_flows: u32,
    /// Somebody reads what becomes of flows.
    pub tell_flows: bool,
}

/// The datapath of one node. It goes on without this value: dropping it changes nothing in the kernel.
pub struct Datapath {
    config: Config,
    ebpf: Ebpf,
    maps: Maps,
    sweeper: Sweeper,
    attachments: Attachments,
    rules: KnownRules,
    guard: GuardInput,
    addresses: EgressAddresses,
    /// The guard that this process has put in force.
    guard_in_force: Option<GuardInput>,
    overlay_link: LinkIndex,
    overlay_mtu: u16,
}

/// Egress addresses that the maps know.
#[derive(Debug, Default)]
struct EgressAddresses {
    used: BTreeSet<IpAddr>,
    served: BTreeSet<IpAddr>,
}

impl Datapath {
    /// Loads the programs, adopts or makes maps, overlay device and attachments. Must be called on a tokio runtime,
    /// in the node's network namespace.
    pub async fn open(config: Config) -> Result<Self, DatapathError> {
        load::prepare_pin_dir(&config.pin_dir)?;
        let handle = links::connect()?;
        let overhead = overlay::overhead(config.underlay_address);
        let mtu = overlay::mtu(&handle, &config.underlay).await?.saturating_sub(overhead);
        let wanted = overlay::Wanted { name: &config.overlay, port: config.vxlan_port, mtu };
        let overlay_link = overlay::ensure(&handle, &wanted).await?;
        let fresh = !load::maps_dir(&config.pin_dir).join("settings").exists();
        let mut ebpf = load::load(&config.pin_dir, config.max_flows)?;
        let maps = Maps::take(&mut ebpf)?;
        let filters = links::filters::find(&handle).await?;
        let mut datapath = Datapath {
            attachments: Attachments::new(&config.pin_dir, config.attach, filters),
            guard: GuardInput { vxlan_port: config.vxlan_port, ..GuardInput::default() },
            addresses: EgressAddresses::default(),
            guard_in_force: None,
            overlay_mtu: u16::try_from(mtu).unwrap_or(u16::MAX),
            config,
            ebpf,
            maps,
            sweeper: Sweeper::default(),
            rules: KnownRules::default(),
            overlay_link,
        };
        datapath.write_settings(fresh)?;
        datapath.adopt()?;
        datapath.attachments.attach(&mut datapath.ebpf, overlay_link, Role::Overlay)?;
        for (link, role) in datapath.attached() {
            datapath.renew(link, role)?;
        }
        Ok(datapath)
    }

    /// What the programs must know of this node. Whether packets of unknown pods are held is the plan's business:
    /// until there is one, they are.
    fn write_settings(&mut self, fresh: bool) -> Result<(), DatapathError> {
        let failed = |error| DatapathError::map("settings", error);
        let underlay = device::index(&self.config.underlay).unwrap_or(0);
        let mut value = self.maps.settings.get(&0, 0).map_err(failed)?;
        value.overlay_link = self.overlay_link;
        value.underlay_link = underlay;
        value.overlay_mac = overlay::OVERLAY_MAC;
        // A pod that opens all it can leaves its neighbours the other half.
        value.pod_flows = self.config.max_flows / 2;
        value.underlay_mac = device::mac(underlay).unwrap_or_default();
        value.underlay = self.config.underlay_address.into();
        value.overlay_port = self.config.vxlan_port.to_be();
        value.tell_flows = self.config.tell_flows.into();
        if fresh {
            value.hold_unknown = 1;
            value.overlay_mtu = self.overlay_mtu;
        }
        self.maps.settings.set(0, value, 0).map_err(failed)
    }

    /// Takes over what an earlier process left, and clears what it could not finish.
    fn adopt(&mut self) -> Result<(), DatapathError> {
        let tables = read::tables(&self.maps)?;
        self.rules = KnownRules(tables.rules.into_keys().collect());
        self.addresses = EgressAddresses {
            used: tables.egress.into_keys().collect(),
            served: tables.served.keys().copied().collect(),
        };
        self.guard.egress = self.addresses.used.union(&self.addresses.served).copied().collect();
        self.guard.inside = tables.inside;
        self.guard.unknown_pods = tables.settings.unknown_pods;
        for (key, _) in read::leases(&self.maps)? {
            if !tables.served.contains_key(&IpAddr::from(key.egress)) {
                removed(self.maps.leases.remove(&key)).map_err(|e| DatapathError::map("leases", e))?;
            }
        }
        if !guard::present() {
            guard::apply(None, &self.guard)?;
        }
        Ok(())
    }

    /// The programs of this version take the place of those of an earlier start; an interface that is gone since
    /// is forgotten.
    fn renew(&mut self, link: LinkIndex, role: Role) -> Result<(), DatapathError> {
        if role == Role::Overlay && link == self.overlay_link {
            return Ok(());
        }
        if role == Role::Overlay || device::name(link).is_none() {
            return self.attachments.detach(link, role);
        }
        self.attachments.renew(&mut self.ebpf, link, role)
    }

    /// What the kernel holds now. The guard is not read back: it is the default here, so that a plan sets it anew.
    pub fn read(&self) -> Result<Tables, DatapathError> {
        read::tables(&self.maps)
    }

    /// Applies changes in their order. Goes on after a failure, and tells all failures at the end.
    pub fn apply(&mut self, changes: &[Change]) -> Result<(), ApplyError> {
        let mut failures = Vec::new();
        let mut stale = self.guard_in_force.is_none();
        for change in changes {
            match write(&mut self.maps, &mut self.rules, change) {
                Some(Ok(())) => stale |= self.note(change),
                Some(Err(why)) => failures.push(why),
                None => {
                    self.note(change);
                    // In its place in the order: a pod's guard stands before the pod is let go.
                    stale = !self.set_guard(&mut failures);
                }
            }
        }
        if stale {
            self.set_guard(&mut failures);
        }
        match failures.is_empty() {
            true => Ok(()),
            false => Err(ApplyError { failures, total: changes.len() }),
        }
    }

    /// Remembers what the guard is made of. True if it is made of this.
    fn note(&mut self, change: &Change) -> bool {
        match change {
            Change::SetGuard(guard) => self.guard.guard = Guard::clone(guard),
            Change::Settings(settings) => {
                return std::mem::replace(&mut self.guard.unknown_pods, settings.unknown_pods)
                    != settings.unknown_pods;
            }
            Change::SetInside(net) => return self.guard.inside.insert(*net),
            Change::RemoveInside(net) => return self.guard.inside.remove(net),
            Change::SetEgress(address, _) => {
                self.addresses.used.insert(*address);
                return self.guard.egress.insert(*address);
            }
            Change::SetServed(address, _) => {
                self.addresses.served.insert(*address);
                return self.guard.egress.insert(*address);
            }
            Change::RemoveEgress(address) => {
                self.addresses.used.remove(address);
                return self.depart(*address);
            }
            Change::RemoveServed(address) => {
                self.addresses.served.remove(address);
                return self.depart(*address);
            }
            _ => return false,
        }
        true
    }

    /// An address that the maps know no more in either role is held by the guard for a while.
    fn depart(&mut self, address: IpAddr) -> bool {
        let gone = !self.addresses.used.contains(&address) && !self.addresses.served.contains(&address);
        gone && self.guard.egress.remove(&address) && self.guard.departed.insert(address)
    }

    fn set_guard(&mut self, failures: &mut Vec<String>) -> bool {
        match guard::apply(self.guard_in_force.as_ref(), &self.guard) {
            Ok(()) => {
                self.guard.departed.clear();
                self.guard_in_force = Some(self.guard.clone());
                true
            }
            Err(error) => {
                self.guard_in_force = None;
                failures.push(error.to_string());
                false
            }
        }
    }

    /// As a gateway: whether probes are answered as by one that can carry packets now.
    pub fn set_ready(&mut self, ready: bool) -> Result<(), DatapathError> {
        let failed = |error| DatapathError::map("settings", error);
        let mut value = self.maps.settings.get(&0, 0).map_err(failed)?;
        if value.ready != u8::from(ready) {
            value.ready = u8::from(ready);
            self.maps.settings.set(0, value, 0).map_err(failed)?;
        }
        Ok(())
    }

    /// Attaches the programs of a pod's link to its host end. Doing it again does no harm.
    pub fn attach_pod(&mut self, link: LinkIndex) -> Result<(), DatapathError> {
        self.attachments.attach(&mut self.ebpf, link, Role::Pod)
    }

    /// Attaches the program of a pod's link into another network to its host end.
    pub fn attach_second(&mut self, link: LinkIndex) -> Result<(), DatapathError> {
        self.attachments.attach(&mut self.ebpf, link, Role::Second)
    }

    /// Attaches the program of the parent of pods' macvlan interfaces in another network.
    pub fn attach_parent(&mut self, link: LinkIndex) -> Result<(), DatapathError> {
        self.attachments.attach(&mut self.ebpf, link, Role::Parent)
    }

    /// Attaches the programs of a wire.
    pub fn attach_wire(&mut self, link: LinkIndex) -> Result<(), DatapathError> {
        self.attachments.attach(&mut self.ebpf, link, Role::Wire)
    }

    /// Attaches the programs of the underlay, for steering without a tunnel.
    pub fn attach_underlay(&mut self, link: LinkIndex) -> Result<(), DatapathError> {
        self.attachments.attach(&mut self.ebpf, link, Role::Underlay)
    }

    /// Takes programs off an interface. One that is gone is forgotten.
    pub fn detach(&mut self, link: LinkIndex, role: Role) -> Result<(), DatapathError> {
        self.attachments.detach(link, role)
    }

    /// Which interfaces have programs, and in which role.
    pub fn attached(&self) -> BTreeSet<(LinkIndex, Role)> {
        self.attachments.attached()
    }

    /// What became of packets.
    pub fn counters(&self) -> Arc<Counters> {
        self.maps.counters.clone()
    }

    /// What becomes of flows, for the one who reads it; `None` if somebody has it already.
    pub fn flow_events(&mut self) -> Option<FlowEvents> {
        self.maps.flow_events.take()
    }

    /// What the guard in the forward path has dropped.
    pub fn guard_drops(&self) -> GuardDrops {
        guard::drops().unwrap_or_default()
    }

    /// Goes on for a moment removing idle and orphaned flows. When it is through all of them, tells how ports are
    /// used; the next call begins anew.
    pub fn sweep(&mut self) -> Result<Option<Sweep>, DatapathError> {
        self.sweeper.sweep(&mut self.ebpf, &mut self.maps)
    }

    /// Keeps the kernel from taking ports for its own connections that are leased of this node's own address, or no
    /// longer. What was reserved before stays so.
    pub fn reserve_ports(&mut self, wanted: bool) -> Result<(), DatapathError> {
        match wanted {
            true => reserved::reserve(&self.config.pin_dir),
            false => reserved::release(&self.config.pin_dir),
        }
    }

    /// Flows opened by each egress address that pods of this node use, since its entry was last written.
    pub fn opened(&self) -> Result<BTreeMap<IpAddr, u32>, DatapathError> {
        let mut opened = BTreeMap::new();
        let all = batch::all(
            self.maps.egress.map().fd().as_fd(),
            |address: &layout::Addr, entry: &layout::Egress| {
                opened.insert(IpAddr::from(*address), entry.opened);
            },
        );
        all.map_err(|error| DatapathError::map("egress", error))?;
        Ok(opened)
    }

    /// Index of the overlay device.
    pub fn overlay_link(&self) -> LinkIndex {
        self.overlay_link
    }

    /// Largest packet that the overlay carries whole, in bytes.
    pub fn overlay_mtu(&self) -> u16 {
        self.overlay_mtu
    }

    /// Networks that the programs take for inside now.
    pub fn inside(&self) -> &BTreeSet<IpNet> {
        &self.guard.inside
    }

    /// What happens to packets to the outside from pods that this node does not know.
    pub fn unknown_pods(&self) -> UnknownPods {
        self.guard.unknown_pods
    }
}

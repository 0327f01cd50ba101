//! A kernel that keeps its tables in memory and fails where it is told to.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;

use egret_datapath::{AddressUse, ApplyError, DatapathError, GuardDrops, Role, Sweep};
use egret_plan::Change;
use egret_plan::tables::{Guard, LinkIndex, Mac, Tables};

use crate::kernel::Kernel;

#[derive(Default)]
pub(super) struct Memory {
    pub(super) tables: Tables,
    pub(super) guard: Guard,
    pub(super) ready: Option<bool>,
    pub(super) attached: BTreeSet<(LinkIndex, Role)>,
    pub(super) announced: RefCell<Vec<IpAddr>>,
    /// Every call in order, by what it was about.
    pub(super) log: RefCell<Vec<String>>,
    pub(super) refuse_pods: bool,
    pub(super) refuse_leases: bool,
    pub(super) refuse_links: BTreeSet<LinkIndex>,
    pub(super) used: BTreeMap<IpAddr, AddressUse>,
    pub(super) opened: BTreeMap<IpAddr, u32>,
}

impl Memory {
    fn write(&mut self, change: &Change) {
        let tables = &mut self.tables;
        match change.clone() {
            Change::Settings(settings) => tables.settings = settings,
            Change::SetInside(network) => drop(tables.inside.insert(network)),
            Change::RemoveInside(network) => drop(tables.inside.remove(&network)),
            Change::SetNode(address, node) => drop(tables.nodes.insert(address, node)),
            Change::RemoveNode(address) => drop(tables.nodes.remove(&address)),
            Change::SetPod(address, pod) => drop(tables.pods.insert(address, pod)),
            Change::RemovePod(address) => drop(tables.pods.remove(&address)),
            Change::SetRule(set, network, rules) => drop(tables.rules.insert((set, network), rules)),
            Change::RemoveRule(set, network) => drop(tables.rules.remove(&(set, network))),
            Change::SetEgress(address, entry) => drop(tables.egress.insert(address, entry)),
            Change::RemoveEgress(address) => drop(tables.egress.remove(&address)),
            Change::SetServed(address, entry) => drop(tables.served.insert(address, entry)),
            Change::RemoveServed(address) => drop(tables.served.remove(&address)),
            Change::SetLease(address, first, _, node) => drop(tables.leases.insert((address, first), node)),
            Change::RemoveLease(address, first, _) => drop(tables.leases.remove(&(address, first))),
            Change::SetGuard(guard) => self.guard = guard,
        }
    }
}

impl Kernel for Memory {
    fn read(&self) -> Result<Tables, DatapathError> {
        Ok(self.tables.clone())
    }
    fn apply(&mut self, changes: &[Change]) -> Result<(), ApplyError> {
        let mut failures = Vec::new();
        for change in changes {
            self.log
                .borrow_mut()
                .push(format!("{change:?}").split(['(', ' ']).next().unwrap_or_default().to_owned());
            match (self.refuse_pods, change) {
                (true, Change::SetPod(pod, _)) => failures.push(format!("map pods: {pod}: no room")),
                (_, Change::SetLease(address, ..)) if self.refuse_leases => {
                    failures.push(format!("map leases: {address}: no room"));
                }
                _ => self.write(change),
            }
        }
        match failures.is_empty() {
            true => Ok(()),
            false => Err(ApplyError { failures, total: changes.len() }),
        }
    }
    fn set_ready(&mut self, ready: bool) -> Result<(), DatapathError> {
        self.log.borrow_mut().push(format!("ready {ready}"));
        self.ready = Some(ready);
        Ok(())
    }
    fn attach(&mut self, link: LinkIndex, role: Role) -> Result<(), DatapathError> {
        if self.refuse_links.contains(&link) {
            return Err(DatapathError::Attach {
                program: "from_pod".into(),
                link,
                why: "no such device".into(),
            });
        }
        self.log.borrow_mut().push(format!("attach {link} {role:?}"));
        self.attached.insert((link, role));
        Ok(())
    }
    fn detach(&mut self, link: LinkIndex, role: Role) -> Result<(), DatapathError> {
        self.attached.remove(&(link, role));
        Ok(())
    }
    fn attached(&self) -> BTreeSet<(LinkIndex, Role)> {
        self.attached.clone()
    }
    fn guard_drops(&self) -> GuardDrops {
        GuardDrops::default()
    }
    fn opened(&self) -> Result<BTreeMap<IpAddr, u32>, DatapathError> {
        Ok(self.opened.clone())
    }
    fn sweep(&mut self) -> Result<Option<Sweep>, DatapathError> {
        Ok(Some(Sweep { use_: self.used.clone(), ..Sweep::default() }))
    }
    fn reserve_ports(&mut self, wanted: bool) -> Result<(), DatapathError> {
        self.log.borrow_mut().push(format!("reserve {wanted}"));
        Ok(())
    }
    fn announce(&self, _: LinkIndex, _: Mac, address: IpAddr) -> io::Result<()> {
        self.announced.borrow_mut().push(address);
        self.log.borrow_mut().push("announce".to_owned());
        Ok(())
    }
    fn overlay_mtu(&self) -> u16 {
        1450
    }
}

pub(super) trait WithoutGuard {
    fn without_guard(self) -> Self;
}

impl WithoutGuard for Tables {
    fn without_guard(self) -> Self {
        Tables { guard: Guard::default(), ..self }
    }
}

//! This node: what is known, what its kernel holds, and the step from the one to the other.
//!
//! Nothing here waits or asks the time. Every event by which the plan may change ends in [`Node::step`], which plans
//! what may be other than before and applies the difference; so events may come in any order, twice, or not at all for
//! a while.

mod step;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use egret_api::{Kind, Modes, ObjectKey};
use egret_datapath::{LinkSnapshot, Role};
use egret_plan::tables::{LinkIndex, ServedEntry, Tables, UnknownPods};
use egret_plan::{Affected, ClusterSettings, NodePlan, Steering, World};
use egret_store::Changes;
use tokio::sync::watch;

use self::step::Basis;
use crate::announcements::{Announcements, newly_held};
use crate::attachments::{Attachments, Planned};
use crate::isolation::Isolation;
use crate::kernel::Kernel;
use crate::links::LinkProbes;
use crate::liveness::Verdict;
use crate::names::Names;
use crate::pods::PodLinks;
use crate::ports::Ports;
use crate::retry::Retry;
use crate::surroundings::PodAddresses;

/// How long the first plan may wait to know all gateways and pods: a restarted agent must not take away what
/// works because it has not looked yet.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is set for this node.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub node: String,
    pub unknown_pods: UnknownPods,
    pub steering: Steering,
    pub cluster: ClusterSettings,
    pub modes: Modes,
}

/// Digests of what a plan was made from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Digests {
    pub objects: String,
    pub addresses: String,
}

/// What a step took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Took {
    pub plan: Duration,
    /// Time to apply, if there was anything to change.
    pub apply: Option<Duration>,
    pub changes: usize,
}

/// What the node reports of the plan in force.
#[derive(Clone, Debug, Default)]
pub(crate) struct InForce {
    pub plan: Arc<NodePlan>,
    pub digests: Digests,
}

/// One node and its kernel.
pub(crate) struct Node<K> {
    setup: Setup,
    kernel: K,
    world: World,
    digests: Digests,
    links: Option<LinkSnapshot>,
    pods: PodLinks,
    verdict: Verdict,
    /// Gateways whose link carries packets without tunnel.
    working: BTreeSet<String>,
    ports: Ports,
    /// Flows that the last sweep found.
    flows: u32,
    /// What the kernel holds.
    actual: Tables,
    /// The plan made last, in force or not.
    plan: Arc<NodePlan>,
    /// What it was made from besides the world.
    basis: Option<Basis>,
    /// What of it may be another by what happened since.
    affected: Affected,
    /// Other nodes that a gateway asks, to tell the death of its peers from being cut off itself.
    witnesses: BTreeMap<String, IpAddr>,
    isolation: Isolation,
    in_force: Option<InForce>,
    /// The first plan has been applied, as far as the kernel let us.
    begun: bool,
    /// Since when the first plan could have been made.
    first: Option<Instant>,
    attachments: Attachments,
    ready: bool,
    failures: Vec<String>,
    unmet: Option<String>,
    retry: Retry,
    announcements: Announcements,
    verify: bool,
    /// Whether ports of this node's own address are kept from the kernel; `None`: not known yet.
    reserved: Option<bool>,
    /// Whose a flow is, for those who write it down.
    names: watch::Sender<Arc<Names>>,
}

impl<K: Kernel> Node<K> {
    /// Adopts what the kernel holds. Nothing is changed yet.
    pub(crate) fn adopt(setup: Setup, kernel: K, actual: Tables) -> Self {
        let attachments = Attachments::adopt(kernel.attached());
        let pods = PodLinks::adopt(&actual.pods);
        let world = World::of_node(&setup.node, setup.modes.clone());
        Self {
            setup,
            kernel,
            world,
            digests: Digests::default(),
            links: None,
            pods,
            verdict: Verdict::default(),
            working: BTreeSet::new(),
            ports: Ports::default(),
            flows: 0,
            actual,
            plan: Arc::default(),
            basis: None,
            affected: Affected::Everything,
            witnesses: BTreeMap::new(),
            isolation: Isolation::default(),
            in_force: None,
            begun: false,
            first: None,
            attachments,
            ready: false,
            failures: Vec::new(),
            unmet: Some("the store has not been read yet".to_owned()),
            retry: Retry::default(),
            announcements: Announcements::default(),
            verify: false,
            reserved: None,
            names: watch::Sender::new(Arc::default()),
        }
    }

    /// What was read of the cluster before there was a node to plan for.
    pub(crate) fn knows(&mut self, world: World) {
        self.world = world;
    }

    /// The store changed. False if this node has nothing to do or to say by it.
    pub(crate) fn objects(&mut self, batch: Changes) -> bool {
        let digests = Digests { objects: batch.objects_digest, addresses: batch.addresses_digest };
        for key in &batch.deleted {
            self.world.delete(key);
            self.affected = Affected::Everything;
        }
        for object in batch.applied {
            self.affected.add(self.world.apply_shared(object));
        }
        let news = self.digests != digests || self.affected != Affected::Nothing;
        self.digests = digests;
        news
    }

    /// Whose flows are, from the plan that was made last on.
    pub(crate) fn names(&self) -> watch::Receiver<Arc<Names>> {
        self.names.subscribe()
    }

    /// The key of this node's record.
    pub(crate) fn own_record(&self) -> ObjectKey {
        let name = self.setup.node.clone();
        ObjectKey { kind: Kind::EgressNode, namespace: String::new(), name }
    }

    /// The interfaces changed. Programs are attached at once, before it is known whose links these are.
    pub(crate) fn links(&mut self, links: LinkSnapshot) {
        self.pods.update(&links);
        self.links = Some(links);
        self.affected = Affected::Everything;
        self.attach(Planned::Before);
        // Others must stop sending here before anything else is thought about.
        if self.ready && !self.can_carry(&self.actual.served) {
            self.set_ready(false);
        }
    }

    /// Gateways came or went. Returns whether that is news.
    pub(crate) fn gateways(&mut self, verdict: Verdict) -> bool {
        let (before, now) = (&self.verdict.alive, &verdict.alive);
        for name in before.difference(now).filter(|name| self.plan.probes.contains_key(*name)) {
            tracing::warn!(gateway = name, "gateway does not answer, or is not ready");
        }
        for name in now.difference(before).filter(|name| self.plan.probes.contains_key(*name)) {
            tracing::info!(gateway = name, "gateway is alive");
        }
        let news = self.verdict != verdict;
        self.verdict = verdict;
        self.affected = Affected::Everything;
        news
    }

    /// Links were found to carry packets without tunnel, or no longer to.
    pub(crate) fn direct(&mut self, working: BTreeSet<String>) {
        for name in self.working.difference(&working) {
            tracing::warn!(
                gateway = name,
                "packets without tunnel do not get through, the overlay carries them"
            );
        }
        for name in working.difference(&self.working) {
            tracing::info!(gateway = name, "packets without tunnel get through");
        }
        self.working = working;
        self.affected = Affected::Everything;
    }

    /// Asks how many flows were opened; true if that is reason to ask for more ports before the next sweep.
    pub(crate) fn count_opened(&mut self) -> bool {
        match self.kernel.opened() {
            Ok(counts) => self.ports.opened(counts),
            Err(error) => tracing::warn!("new flows are not counted: {error}"),
        }
        self.ports.are_short(&self.plan.tables)
    }

    /// Asks for ports; true if for others than before.
    pub(crate) fn ask(&mut self) -> bool {
        let Some(in_force) = &self.in_force else { return false };
        self.ports.ask(&self.world, &self.setup.node, &in_force.plan.tables)
    }

    /// Goes on removing idle flows and counting the others. When it is through, returns the number of flows, how many
    /// connections were reset for want of their gateway, and how long it took.
    pub(crate) fn sweep(&mut self) -> Option<(u32, u32, Duration)> {
        match self.kernel.sweep() {
            Ok(None) => None,
            Ok(Some(sweep)) => {
                self.ports.swept(sweep.use_);
                self.flows = sweep.kept;
                if sweep.reset > 0 {
                    tracing::warn!(
                        connections = sweep.reset,
                        "reset: the gateway whose own address they had is gone"
                    );
                }
                Some((sweep.kept, sweep.reset, sweep.took))
            }
            Err(error) => {
                tracing::warn!("flows are not swept: {error}");
                Some((self.flows, 0, Duration::ZERO))
            }
        }
    }

    /// Looks in the next step whether the kernel holds what it should: others may have changed it.
    pub(crate) fn verify(&mut self) {
        self.verify = true;
    }

    /// Underlay and all wires that carry egress addresses have a carrier, and somebody can be reached. While no
    /// address is carried, any wire will do.
    fn can_carry(&self, served: &BTreeMap<IpAddr, ServedEntry>) -> bool {
        let Some(links) = &self.links else { return false };
        if !served.is_empty() && self.isolation != Isolation::No {
            return false;
        }
        let carrier = |link| links.wires.iter().any(|wire| wire.link == link && wire.carrier);
        let needed: BTreeSet<_> = served.values().map(|entry| entry.wire).collect();
        let underlay = links.underlay.as_ref().map(|underlay| underlay.link);
        match needed.is_empty() {
            true => links.wires.iter().any(|wire| wire.carrier),
            false => needed.into_iter().chain(underlay).all(carrier),
        }
    }

    fn first_waits_for(&mut self, now: Instant) -> Option<String> {
        if self.begun {
            return None;
        }
        let since = *self.first.get_or_insert(now);
        let judged = |name: &String| self.verdict.alive.contains(name) || self.verdict.dead.contains(name);
        let gateway = self.plan.probes.keys().find(|name| !judged(name));
        let pods = self.pod_addresses();
        let places = self.links.as_ref().map(|links| &links.second_links);
        let mut second =
            pods.second().filter(|place| places.is_none_or(|places| !places.contains_key(place)));
        let own = pods.own.iter().find(|pod| !self.pods.links().contains_key(*pod));
        let pod = own.copied().or_else(|| second.next().map(|(_, address)| address));
        match (gateway, pod) {
            _ if now >= since + PATIENCE => None,
            (Some(gateway), _) => Some(format!("gateway {gateway} has not been judged yet")),
            (None, Some(pod)) => Some(format!("the link of pod {pod} has not been found yet")),
            (None, None) => None,
        }
    }

    /// The kernel's own connections and the leased ports of the node's own address keep apart.
    fn reserve_ports(&mut self) {
        let wanted = self.plan.tables.served.values().any(|entry| entry.node_address);
        if self.reserved == Some(wanted) {
            return;
        }
        match self.kernel.reserve_ports(wanted) {
            Ok(()) => self.reserved = Some(wanted),
            Err(error) => {
                let words = format!("ports of the node's own address are not reserved: {error}");
                tracing::error!("{words}");
                self.failures.push(words);
            }
        }
    }

    /// Announces the addresses that came, once everything is in place to carry their packets.
    fn hand_over(&mut self, before: &BTreeMap<IpAddr, ServedEntry>, now: Instant) {
        for address in newly_held(before, &self.actual.served) {
            tracing::info!(%address, "holding the address");
            self.announce(address);
            self.announcements.took(address, now);
        }
        for address in newly_held(&self.actual.served, before) {
            if !self.holds(address) {
                tracing::info!(%address, "no longer holding the address");
                self.announcements.left(address);
            }
        }
    }

    /// Takes what the kernel holds for what it holds, but for the guard, which cannot be read.
    fn read_back(&mut self) {
        match self.kernel.read() {
            Ok(tables) => {
                let guard = std::mem::take(&mut self.actual.guard);
                self.actual = Tables { guard, ..tables };
            }
            Err(error) => tracing::error!("the kernel's tables cannot be read: {error}"),
        }
    }

    fn attach(&mut self, planned: Planned) {
        let planned = if self.begun { planned } else { Planned::Nothing };
        if let Some(links) = &self.links {
            self.attachments.update(&mut self.kernel, links, self.setup.steering, planned);
        }
    }

    fn set_ready(&mut self, ready: bool) {
        match self.kernel.set_ready(ready) {
            Ok(()) => {
                self.ready = ready;
                tracing::info!(ready, "probes are answered");
            }
            Err(error) => tracing::error!("{error}"),
        }
    }

    fn announce(&self, address: IpAddr) {
        let Some(entry) = self.actual.served.get(&address).filter(|entry| entry.holder) else { return };
        let wires = self.links.iter().flat_map(|links| &links.wires);
        let Some(wire) = wires.into_iter().find(|wire| wire.link == entry.wire) else { return };
        if let Err(error) = self.kernel.announce(wire.link, wire.mac, address) {
            tracing::warn!(%address, wire = wire.interface, %error, "cannot be announced");
        }
    }

    /// Announces again what is due.
    pub(crate) fn announce_due(&mut self, now: Instant) {
        for address in self.announcements.take(now) {
            self.announce(address);
        }
    }

    /// When something is due although nothing happens.
    pub(crate) fn next(&self) -> Option<Instant> {
        let first = self.first.filter(|_| !self.begun).map(|since| since + PATIENCE);
        [self.announcements.next(), self.retry.at(), first, self.isolation.until()]
            .into_iter()
            .flatten()
            .min()
    }

    fn holds(&self, address: IpAddr) -> bool {
        self.actual.served.get(&address).is_some_and(|entry| entry.holder)
    }

    /// The program that takes packets without tunnel is at the underlay.
    pub(crate) fn takes_without_tunnel(&self, underlay: LinkIndex) -> bool {
        self.attachments.contains(underlay, Role::Underlay)
    }

    /// Addresses of this node's pods; in other networks only those that policies are about.
    pub(crate) fn pod_addresses(&self) -> PodAddresses {
        let mut found = PodAddresses::default();
        for ((namespace, name), pod) in self.world.pods_on(&self.setup.node) {
            match pod.network.is_some() {
                false => found.own.extend(&pod.addresses),
                true if pod.policies.is_empty() => {}
                true => {
                    let name = name.split('/').next().unwrap_or_default();
                    let second = found.second.entry(format!("{namespace}/{name}")).or_default();
                    let own = self.world.pods().get(&(namespace.clone(), name.into()));
                    second.own.extend(own.iter().flat_map(|own| &own.addresses));
                    second.addresses.extend(&pod.addresses);
                }
            }
        }
        found
    }

    /// Whom to probe: gateways, and witnesses of this node not being alone.
    pub(crate) fn probes(&self) -> BTreeMap<String, IpAddr> {
        self.plan.probes.iter().chain(&self.witnesses).map(|(name, target)| (name.clone(), *target)).collect()
    }

    /// Gateways that live, and that do not.
    pub(crate) fn gateways_judged(&self) -> impl Iterator<Item = (&String, bool)> {
        let judged = |name: &String| self.verdict.alive.contains(name) || self.verdict.dead.contains(name);
        let names = self.plan.probes.keys().filter(move |name| judged(name));
        names.map(|name| (name, self.verdict.alive.contains(name)))
    }

    pub(crate) fn ports(&self) -> &Ports {
        &self.ports
    }

    pub(crate) fn link_probes(&self) -> &LinkProbes {
        &self.plan.link_probes
    }

    pub(crate) fn in_force(&self) -> Option<&InForce> {
        self.in_force.as_ref()
    }

    pub(crate) fn link_snapshot(&self) -> Option<&LinkSnapshot> {
        self.links.as_ref()
    }

    pub(crate) fn tables(&self) -> &Tables {
        &self.actual
    }

    pub(crate) fn kernel(&self) -> &K {
        &self.kernel
    }

    /// What the node waits for, in words.
    pub(crate) fn waiting(&self) -> Vec<String> {
        let failed = self.failures.iter().chain(self.attachments.failures());
        self.unmet.iter().chain(failed).chain(self.plan.waits()).cloned().collect()
    }
}

#[cfg(test)]
mod tests;

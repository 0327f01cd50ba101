//! The step from what is known to what the kernel holds: plan, and apply what differs.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use egret_datapath::LinkSnapshot;
use egret_plan::tables::ServedEntry;
use egret_plan::{Affected, Change, Local, NodePlan, Underlay, diff};

use super::{InForce, Node, Took};
use crate::attachments::Planned;
use crate::isolation::witnesses;
use crate::kernel::Kernel;
use crate::names::Names;

/// What a plan was made from besides the world.
pub(super) struct Basis {
    /// Gateways taken for alive at first, the node itself among them if it can carry packets.
    living: BTreeSet<String>,
    local: Local,
}

impl<K: Kernel> Node<K> {
    /// Plans, and applies what differs.
    pub(crate) fn step(&mut self, now: Instant) -> Took {
        self.isolation = self.isolation.next(&self.verdict, &self.plan.probes, &self.witnesses, now);
        self.step_for_ports(now).unwrap_or_else(|| self.step_for_everything(now))
    }

    /// A step by which nothing changes but ports, as most under load do: its cost depends on how many, not on how much
    /// there is. `None` if more may have changed.
    fn step_for_ports(&mut self, now: Instant) -> Option<Took> {
        let begun = Instant::now();
        let basis = self.basis.as_ref()?;
        let calm = self.begun && !self.verify && self.failures.is_empty() && self.unmet.is_none();
        if !calm || basis.living != self.living() {
            return None;
        }
        let part = match &self.affected {
            Affected::Everything => return None,
            Affected::Nothing => self.plan.part(&BTreeSet::new()),
            Affected::Ports(addresses) => self.plan.again(&self.world, &basis.local, addresses)?,
        };
        self.affected = Affected::Nothing;
        let mut took = Took { plan: begun.elapsed(), ..Took::default() };
        let changes = diff(&self.actual.part(&part.addresses), &part.tables);
        took.changes = changes.len();
        let before = self.plan.part(&part.addresses);
        // The plan must be nobody else's to be changed where it is.
        let told = self.in_force.take().map(|in_force| in_force.digests);
        Arc::make_mut(&mut self.plan).put(part.clone());
        if !changes.is_empty() {
            let begun = Instant::now();
            if self.apply(&changes) {
                self.actual.put(&part.addresses, part.tables);
            }
            took.apply = Some(begun.elapsed());
        }
        self.in_force = match self.failures.is_empty() {
            true => Some(InForce { plan: self.plan.clone(), digests: self.digests.clone() }),
            false => told.map(|digests| {
                let mut plan = NodePlan::clone(&self.plan);
                plan.put(before);
                InForce { plan: Arc::new(plan), digests }
            }),
        };
        self.conclude(None, now);
        Some(took)
    }

    fn step_for_everything(&mut self, now: Instant) -> Took {
        let begun = Instant::now();
        let mut took = Took::default();
        let plan = match self.planned() {
            Ok((plan, basis)) => {
                (self.basis, self.affected) = (Some(basis), Affected::Nothing);
                plan
            }
            Err(unmet) => {
                (self.basis, self.unmet) = (None, Some(unmet));
                return took;
            }
        };
        took.plan = begun.elapsed();
        let agents = self.world.reports().keys().filter_map(|name| self.world.underlay(name, None));
        self.witnesses = witnesses(&plan, agents);
        // Before the first flow of a new pod can be opened.
        self.names.send_replace(Arc::new(Names::of(&self.world, &self.setup.node, &plan.tables)));
        self.plan = Arc::new(plan);
        self.unmet = self.first_waits_for(now);
        if self.unmet.is_some() {
            return took;
        }
        let before = self.actual.served.clone();
        let mut changes = Vec::new();
        if std::mem::take(&mut self.verify) {
            self.read_back();
            changes.push(Change::SetGuard(self.plan.tables.guard.clone()));
        }
        changes.extend(diff(&self.actual, &self.plan.tables));
        took.changes = changes.len();
        if !changes.is_empty() || !self.failures.is_empty() {
            let begun = Instant::now();
            if self.apply(&changes) {
                self.actual = self.plan.tables.clone();
            }
            took.apply = Some(begun.elapsed());
        }
        // Before it is told that the leases are in force.
        self.reserve_ports();
        if self.failures.is_empty() {
            self.in_force = Some(InForce { plan: self.plan.clone(), digests: self.digests.clone() });
        }
        self.begun = true;
        self.conclude(Some(&before), now);
        took
    }

    /// What every step ends with. `before`: the addresses that were served, where others may be now.
    fn conclude(&mut self, before: Option<&BTreeMap<IpAddr, ServedEntry>>, now: Instant) {
        if self.failures.is_empty() {
            self.ask();
        }
        self.attach(if self.failures.is_empty() { Planned::Now } else { Planned::Before });
        if let Some(before) = before {
            self.hand_over(before, now);
        }
        match self.failures.is_empty() && self.attachments.failures().next().is_none() {
            true => self.retry.succeeded(),
            false => self.retry.failed(now),
        }
        let ready = self.in_force.is_some() && self.can_carry(&self.actual.served);
        if ready != self.ready {
            self.set_ready(ready);
        }
    }

    /// Gateways that answer, and the node itself if it can carry packets as its kernel is now.
    fn living(&self) -> BTreeSet<String> {
        let mut living = self.verdict.alive.clone();
        match self.can_carry(&self.actual.served) {
            true => living.insert(self.setup.node.clone()),
            false => living.remove(&self.setup.node),
        };
        living
    }

    fn planned(&self) -> Result<(NodePlan, Basis), String> {
        let node = &self.setup.node;
        if !self.world.nodes().contains_key(node) {
            return Err(format!("the store has no Node {node}: check --node, or add the manifest"));
        }
        let links = self.links.as_ref().ok_or("the interfaces have not been read yet")?;
        let underlay = links.underlay.as_ref().ok_or_else(|| {
            format!("no interface has the InternalIP of Node {node}: correct the address or the manifest")
        })?;
        let plan = |local: &Local| egret_plan::node::plan(&self.world, &self.setup.cluster, local);
        let living = self.living();
        let mut local = self.local(links, underlay, &living);
        let mut made = plan(&local);
        // Only the plan tells which wires matter and whom to ask. Who has not been judged yet is taken for alive:
        // to lose a few packets to the dead costs less than to take addresses from the living.
        let mut better = living.clone();
        better.extend(made.probes.keys().filter(|name| !self.verdict.dead.contains(*name)).cloned());
        match self.can_carry(&made.tables.served) {
            true => better.insert(node.clone()),
            false => better.remove(node),
        };
        if better != living {
            local.alive = better;
            made = plan(&local);
        }
        Ok((made, Basis { living, local }))
    }

    fn local(&self, links: &LinkSnapshot, underlay: &Underlay, living: &BTreeSet<String>) -> Local {
        Local {
            node: self.setup.node.clone(),
            unknown_pods: self.setup.unknown_pods,
            steering: self.setup.steering,
            overlay_mtu: self.kernel.overlay_mtu(),
            underlay: underlay.clone(),
            wires: links.wires.clone(),
            pod_links: self.pods.links().clone(),
            second_links: links.second_links.clone(),
            links: self.working.clone(),
            alive: living.clone(),
        }
    }

    /// Makes changes; false if not all could be made.
    fn apply(&mut self, changes: &[Change]) -> bool {
        match self.kernel.apply(changes) {
            Ok(()) => self.failures.clear(),
            Err(error) => {
                if self.failures != error.failures {
                    tracing::error!("{error}");
                }
                self.failures = error.failures;
                self.read_back();
                // Whether the guard is among what failed is not worth knowing: setting it again does no harm.
                self.actual.guard = egret_plan::tables::Guard::default();
            }
        }
        self.failures.is_empty()
    }
}

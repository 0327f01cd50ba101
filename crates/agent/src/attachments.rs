//! Which programs are to be at which interfaces, and which are.

use std::collections::{BTreeMap, BTreeSet};

use egret_datapath::{LinkSnapshot, Role};
use egret_plan::Steering;
use egret_plan::tables::LinkIndex;

use crate::kernel::Kernel;

type Place = (LinkIndex, Role);

/// How far the plan is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Planned {
    /// Nothing is known yet: the programs at pods' links would hold back every pod, and what an earlier process put there
    /// is right.
    Nothing,
    /// Not for the interfaces as they are now: a link that nobody has planned for holds its pod back.
    Before,
    /// For the interfaces as they are now.
    Now,
}

/// What is attached, and why something is not.
#[derive(Debug, Default)]
pub(crate) struct Attachments {
    attached: BTreeSet<Place>,
    failed: BTreeMap<Place, String>,
}

impl Attachments {
    /// Begins with what an earlier process attached.
    pub(crate) fn adopt(attached: BTreeSet<Place>) -> Self {
        Self { attached, failed: BTreeMap::new() }
    }

    /// Attaches what is missing and takes off what is not wanted any more.
    pub(crate) fn update(
        &mut self,
        kernel: &mut impl Kernel,
        links: &LinkSnapshot,
        steering: Steering,
        planned: Planned,
    ) {
        let mut wanted: BTreeSet<_> = links.candidates.iter().map(|link| (*link, Role::Pod)).collect();
        wanted.extend(links.second.iter().map(|link| {
            let second = (*link, Role::Second);
            let is_planned = planned == Planned::Now || self.attached.contains(&second);
            if is_planned { second } else { (*link, Role::Pod) }
        }));
        wanted.extend(links.parents().map(|link| (link, Role::Parent)));
        // What leaves by a parent that is not looked at leaves with the pod's address.
        let parents = self.attached.iter().filter(|(_, role)| *role == Role::Parent);
        wanted.extend(parents.filter(|_| planned != Planned::Now));
        wanted.extend(links.wires.iter().map(|wire| (wire.link, Role::Wire)));
        if let Some(underlay) = links.underlay.as_ref().filter(|_| steering != Steering::Overlay) {
            wanted.insert((underlay.link, Role::Underlay));
        }
        self.failed.retain(|place, _| wanted.contains(place));
        let of_pod = |role: Role| matches!(role, Role::Pod | Role::Second | Role::Parent);
        let begun = planned != Planned::Nothing;
        let missing = wanted.difference(&self.attached).filter(|(_, role)| begun || !of_pod(*role));
        for (link, role) in missing.copied().collect::<Vec<_>>() {
            match kernel.attach(link, role) {
                Ok(()) => {
                    self.attached.insert((link, role));
                    self.failed.remove(&(link, role));
                }
                Err(error) => self.fail((link, role), error.to_string()),
            }
        }
        let unwanted = |place: &Place| {
            place.1 != Role::Overlay && !wanted.contains(place) && (begun || !of_pod(place.1))
        };
        for (link, role) in self.attached.iter().copied().filter(unwanted).collect::<Vec<_>>() {
            match kernel.detach(link, role) {
                Ok(()) => drop(self.attached.remove(&(link, role))),
                Err(error) => tracing::warn!(link, ?role, "{error}"),
            }
        }
    }

    fn fail(&mut self, place: Place, words: String) {
        if self.failed.get(&place) != Some(&words) {
            tracing::warn!("{words}");
        }
        self.failed.insert(place, words);
    }

    /// Why programs are not where they should be.
    pub(crate) fn failures(&self) -> impl Iterator<Item = &String> {
        self.failed.values()
    }

    pub(crate) fn contains(&self, link: LinkIndex, role: Role) -> bool {
        self.attached.contains(&(link, role))
    }
}

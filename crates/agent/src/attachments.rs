//! Which programs are to be at which interfaces, and which are.

use std::collections::{BTreeMap, BTreeSet};

use egret_datapath::{LinkSnapshot, Role};
use egret_plan::Steering;
use egret_plan::tables::LinkIndex;

use crate::kernel::Kernel;

type Place = (LinkIndex, Role);

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

    /// Attaches what is missing and takes off what is not wanted any more. `pods`: whether pods' links get their
    /// programs; before the first plan is applied these would hold back every pod, as they know none.
    pub(crate) fn update(
        &mut self,
        kernel: &mut impl Kernel,
        links: &LinkSnapshot,
        steering: Steering,
        pods: bool,
    ) {
        let mut wanted: BTreeSet<_> = links.candidates.iter().map(|link| (*link, Role::Pod)).collect();
        wanted.extend(links.wires.iter().map(|wire| (wire.link, Role::Wire)));
        if let Some(underlay) = links.underlay.as_ref().filter(|_| steering != Steering::Overlay) {
            wanted.insert((underlay.link, Role::Underlay));
        }
        self.failed.retain(|place, _| wanted.contains(place));
        let missing = wanted.difference(&self.attached).filter(|(_, role)| pods || *role != Role::Pod);
        for (link, role) in missing.copied().collect::<Vec<_>>() {
            match kernel.attach(link, role) {
                Ok(()) => {
                    self.attached.insert((link, role));
                    self.failed.remove(&(link, role));
                }
                Err(error) => self.fail((link, role), error.to_string()),
            }
        }
        let unwanted = |place: &Place| place.1 != Role::Overlay && !wanted.contains(place);
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

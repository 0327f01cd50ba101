//! When to announce which address: at once when it comes to this node, and again, since announcements get lost.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// After taking over an address.
const REPEATS: [Duration; 3] =
    [Duration::from_millis(100), Duration::from_millis(500), Duration::from_secs(2)];

/// Announcements to come.
#[derive(Debug, Default)]
pub(crate) struct Announcements {
    due: BTreeSet<(Instant, IpAddr)>,
}

impl Announcements {
    /// An address came to this node, and was announced now.
    pub(crate) fn took(&mut self, address: IpAddr, now: Instant) {
        self.left(address);
        self.due.extend(REPEATS.map(|after| (now + after, address)));
    }

    /// An address left this node: it is somebody else's to announce.
    pub(crate) fn left(&mut self, address: IpAddr) {
        self.due.retain(|(_, of)| *of != address);
    }

    /// When there is something to announce again.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// What is to be announced now.
    pub(crate) fn take(&mut self, now: Instant) -> BTreeSet<IpAddr> {
        let mut taken = BTreeSet::new();
        while let Some((at, address)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
            self.due.remove(&(at, address));
            taken.insert(address);
        }
        taken
    }
}

/// Addresses that one set of served addresses holds and another does not.
pub(crate) fn newly_held(
    before: &BTreeMap<IpAddr, egret_plan::tables::ServedEntry>,
    after: &BTreeMap<IpAddr, egret_plan::tables::ServedEntry>,
) -> Vec<IpAddr> {
    let held = |entry: &egret_plan::tables::ServedEntry| entry.holder.then_some(entry.wire);
    // Another wire is another link-layer address.
    let is_new = |(address, entry): &(&IpAddr, &_)| {
        held(entry).is_some() && before.get(address).and_then(held) != held(entry)
    };
    after.iter().filter(is_new).map(|(address, _)| *address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use egret_plan::tables::ServedEntry;

    #[test]
    fn an_address_is_announced_three_more_times_and_not_after_it_left() {
        let (a, b) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let start = Instant::now();
        let mut announcements = Announcements::default();
        announcements.took(a, start);
        announcements.took(b, start + Duration::from_millis(50));
        assert!(announcements.take(start).is_empty());
        assert_eq!(announcements.next(), Some(start + Duration::from_millis(100)));
        assert_eq!(announcements.take(start + Duration::from_millis(200)), [a, b].into());
        announcements.left(a);
        assert_eq!(announcements.take(start + Duration::from_secs(9)), [b].into());
        assert_eq!(announcements.next(), None);
    }

    #[test]
    fn held_anew_is_what_came_or_changed_its_wire() {
        let entry =
            |wire, holder| ServedEntry { wire, mac: [2; 6], holder, block_size: 64, node_address: false };
        let address = |last| IpAddr::from([192, 0, 2, last]);
        let before =
            [(address(1), entry(3, true)), (address(2), entry(3, false)), (address(3), entry(3, true))]
                .into();
        let after = [
            (address(1), entry(3, true)),
            (address(2), entry(3, true)),
            (address(3), entry(4, true)),
            (address(4), entry(3, false)),
        ]
        .into();
        assert_eq!(newly_held(&before, &after), [address(2), address(3)]);
    }
}

//! Whether a gateway is cut off from everybody. Its peers' death and its own isolation look alike from inside,
//! but that all others died at once is the less likely; and who is cut off and holds addresses keeps their
//! packets from those who can deliver them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use egret_plan::NodePlan;

use crate::liveness::Verdict;

/// So many nodes besides its peers a gateway asks.
const WITNESSES: usize = 3;
/// With fewer of them silence proves nothing: in a small cluster the others may well have died.
const ENOUGH: usize = 2;
/// Those that come back are not heard all at the same time: neighbours are resolved one by one.
const RETURN: Duration = Duration::from_millis(1500);

/// Whether somebody is heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Isolation {
    /// Somebody is heard, or it cannot be told, or no other gateway could do better.
    #[default]
    No,
    /// Nobody is.
    Alone,
    /// Somebody is again, since then; but not every gateway yet.
    Returning(Instant),
}

impl Isolation {
    /// The state after a verdict on peers (other gateways) and witnesses.
    pub(crate) fn next(
        self,
        verdict: &Verdict,
        peers: &BTreeMap<String, IpAddr>,
        witnesses: &BTreeMap<String, IpAddr>,
        now: Instant,
    ) -> Self {
        if peers.is_empty() || witnesses.len() < ENOUGH {
            return Self::No;
        }
        let silent = |name: &String| verdict.dead.contains(name) && !verdict.reachable.contains(name);
        if peers.keys().chain(witnesses.keys()).all(silent) {
            return Self::Alone;
        }
        let all = peers.keys().all(|name| verdict.alive.contains(name));
        match self {
            Self::No => Self::No,
            _ if all => Self::No,
            Self::Alone => Self::Returning(now),
            Self::Returning(since) if now >= since + RETURN => Self::No,
            Self::Returning(since) => Self::Returning(since),
        }
    }

    /// When it changes by itself.
    pub(crate) fn until(self) -> Option<Instant> {
        match self {
            Self::Returning(since) => Some(since + RETURN),
            _ => None,
        }
    }
}

/// Some nodes that a gateway delivers to, else any of those that have an agent; named by their addresses, as no
/// gateway is.
pub(crate) fn witnesses(plan: &NodePlan, agents: impl Iterator<Item = IpAddr>) -> BTreeMap<String, IpAddr> {
    let mut found = BTreeMap::new();
    if plan.tables.served.is_empty() {
        return found;
    }
    let others = plan.tables.leases.values().copied().chain(agents);
    let others =
        others.filter(|at| plan.tables.nodes.contains_key(at) && !plan.probes.values().any(|p| p == at));
    for other in others {
        if found.len() == WITNESSES {
            break;
        }
        found.insert(other.to_string(), other);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(alive: &[&str], dead: &[&str], reachable: &[&str]) -> Verdict {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Verdict { alive: set(alive), dead: set(dead), reachable: set(reachable) }
    }

    #[test]
    fn alone_is_who_hears_nobody_and_back_who_hears_all_or_has_waited() {
        let peers: BTreeMap<_, _> = [("a".to_owned(), IpAddr::from([10, 0, 0, 1]))].into();
        let witnesses: BTreeMap<_, _> =
            ["v", "w"].map(|name| (name.to_owned(), IpAddr::from([10, 0, 0, 2]))).into();
        let start = Instant::now();
        let next = |state: Isolation, verdict: &Verdict, after| {
            state.next(verdict, &peers, &witnesses, start + after)
        };
        let (zero, later) = (Duration::ZERO, RETURN);
        let silence = verdict(&[], &["a", "v", "w"], &[]);
        let witness_only = verdict(&[], &["a", "v"], &["w"]);
        assert_eq!(next(Isolation::No, &witness_only, zero), Isolation::No, "the peer is dead");
        assert_eq!(next(Isolation::No, &silence, zero), Isolation::Alone);
        let returning = next(Isolation::Alone, &witness_only, zero);
        assert_eq!(returning, Isolation::Returning(start));
        assert_eq!(returning.until(), Some(start + RETURN));
        assert_eq!(next(returning, &witness_only, later / 2), returning);
        assert_eq!(next(returning, &witness_only, later), Isolation::No);
        assert_eq!(next(returning, &verdict(&["a"], &[], &["a"]), zero), Isolation::No, "everybody is there");
        assert_eq!(next(returning, &silence, zero), Isolation::Alone);
        assert_eq!(next(Isolation::No, &Verdict::default(), zero), Isolation::No, "nobody has been judged");
        let only = Isolation::Alone.next(&silence, &BTreeMap::new(), &witnesses, start);
        assert_eq!(only, Isolation::No, "nobody else could do better");
        let small = Isolation::Alone.next(&silence, &peers, &BTreeMap::new(), start);
        assert_eq!(small, Isolation::No, "its only peer may well have died");
    }
}

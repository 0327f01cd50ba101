//! Which links carry packets without tunnel, told by answers that took the very way: pure, as [`crate::liveness`].

use std::collections::{BTreeMap, BTreeSet};

use egret_plan::LinkProbe;

use crate::liveness::{Liveness, Patience};

/// How to try the links, by gateway and whether the datagram is IPv6: a fabric may filter one family only.
pub(crate) type LinkProbes = BTreeMap<(String, bool), LinkProbe>;

/// The links that are tried.
pub(crate) struct TriedLinks {
    probes: LinkProbes,
    /// IPv4 and IPv6. Their nonces differ, so an answer means something to one of them only.
    families: [Liveness; 2],
}

impl TriedLinks {
    /// Tries none yet. The numbers should be random.
    pub(crate) fn new(bases: [u64; 2]) -> Self {
        let families = bases.map(|base| Liveness::new(base, Patience::LINK));
        Self { probes: LinkProbes::new(), families }
    }

    /// Tries these from now on.
    pub(crate) fn watch(&mut self, probes: LinkProbes) {
        for (family, liveness) in [false, true].into_iter().zip(&mut self.families) {
            let of = probes.iter().filter(|((_, is_v6), _)| *is_v6 == family);
            liveness.watch(&of.map(|((name, _), probe)| (name.clone(), probe.target)).collect());
        }
        self.probes = probes;
    }

    /// Begins a round, and says what to send, with the nonces.
    pub(crate) fn round(&mut self) -> Vec<(LinkProbe, u64)> {
        let mut questions = Vec::new();
        for (family, liveness) in [false, true].into_iter().zip(&mut self.families) {
            for question in liveness.round().0 {
                let probe = self
                    .probes
                    .iter()
                    .find(|((_, is_v6), probe)| *is_v6 == family && probe.target == question.target);
                questions.extend(probe.map(|(_, probe)| (*probe, question.nonce)));
            }
        }
        questions
    }

    /// An answer came in.
    pub(crate) fn answer(&mut self, target: std::net::IpAddr, nonce: u64) {
        for liveness in &mut self.families {
            liveness.answer(target, nonce, true);
        }
    }

    /// Gateways whose link carries every family that is tried with it.
    pub(crate) fn working(&self) -> BTreeSet<String> {
        let alive = self.families.each_ref().map(|liveness| liveness.verdict().alive);
        let carried = |name: &String, is_v6: bool| alive[usize::from(is_v6)].contains(name);
        let names: BTreeSet<&String> = self.probes.keys().map(|(name, _)| name).collect();
        let all = |name: &&&String| {
            self.probes
                .keys()
                .filter(|(tried, _)| tried == **name)
                .all(|(tried, is_v6)| carried(tried, *is_v6))
        };
        names.iter().filter(all).map(|name| (*name).clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probes(tried: &[(&str, u8, &str)]) -> LinkProbes {
        let probe = |(name, last, source): &(&str, u8, &str)| {
            let source: std::net::IpAddr = source.parse().unwrap();
            let (mac, gateway) = ([2; 6], [4, 0, 0, 0, 0, *last]);
            let target = [10, 0, 0, *last].into();
            let probe = LinkProbe { link: 2, mac, gateway, target, source, port: 1024 };
            (((*name).to_owned(), source.is_ipv6()), probe)
        };
        tried.iter().map(probe).collect()
    }

    fn round(links: &mut TriedLinks, answered: impl Fn(&LinkProbe) -> bool) -> Vec<String> {
        for (probe, nonce) in links.round() {
            if answered(&probe) {
                links.answer(probe.target, nonce);
            }
        }
        links.working().into_iter().collect()
    }

    #[test]
    fn a_link_must_carry_both_families_where_both_are_tried() {
        let mut links = TriedLinks::new([7, 7 << 32]);
        links.watch(probes(&[("a", 1, "192.0.2.11"), ("a", 1, "fd00::11"), ("b", 2, "192.0.2.11")]));
        assert!(links.working().is_empty());
        for _ in 0..2 {
            assert!(round(&mut links, |probe| probe.source.is_ipv4()).is_empty());
        }
        for _ in 0..3 {
            assert_eq!(round(&mut links, |probe| probe.source.is_ipv4()), ["b"], "a filters IPv6");
        }
        for _ in 0..3 {
            round(&mut links, |_| true);
        }
        assert_eq!(links.working().len(), 2);
        links.watch(probes(&[("a", 1, "192.0.2.12")]));
        assert_eq!(links.working().into_iter().collect::<Vec<_>>(), ["a"], "another address, the same link");
        for _ in 0..4 {
            round(&mut links, |_| false);
        }
        assert!(links.working().is_empty());
    }
}

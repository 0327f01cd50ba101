//! Where this node's pods are, as far as it is known: neighbours age out and agents start anew, pods stay.

use std::collections::BTreeMap;
use std::net::IpAddr;

use egret_datapath::LinkSnapshot;
use egret_plan::PodLink;
use egret_plan::tables::PodEntry;

/// Links of pods, by address.
#[derive(Debug, Default)]
pub(crate) struct PodLinks {
    links: BTreeMap<IpAddr, PodLink>,
}

impl PodLinks {
    /// Begins with what an earlier process found.
    pub(crate) fn adopt(pods: &BTreeMap<IpAddr, PodEntry>) -> Self {
        let link = |pod: &PodEntry| PodLink { link: pod.link, mac: pod.mac, host_mac: pod.host_mac };
        Self { links: pods.iter().map(|(address, pod)| (*address, link(pod))).collect() }
    }

    /// What the kernel says now goes first; what it does not say stands for as long as the link does.
    pub(crate) fn update(&mut self, links: &LinkSnapshot) {
        self.links.retain(|_, pod| links.candidates.contains(&pod.link));
        self.links.extend(&links.pod_links);
    }

    pub(crate) fn links(&self) -> &BTreeMap<IpAddr, PodLink> {
        &self.links
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adopted_pod_stays_while_its_link_does() {
        let address = |last| IpAddr::from([10, 244, 1, last]);
        let entry = |link| PodEntry { link, mac: [1; 6], host_mac: [2; 6], rules: 0, shared: false };
        let mut pods = PodLinks::adopt(&[(address(1), entry(11)), (address(2), entry(12))].into());
        let moved = PodLink { link: 13, mac: [3; 6], host_mac: [2; 6] };
        pods.update(&LinkSnapshot {
            candidates: [11, 13].into(),
            pod_links: [(address(3), moved)].into(),
            ..LinkSnapshot::default()
        });
        let links: Vec<_> = pods.links().iter().map(|(address, pod)| (*address, pod.link)).collect();
        assert_eq!(links, [(address(1), 11), (address(3), 13)]);
    }
}

//! What ends: by its age (RFC 5382 REQ-5, RFC 4787 REQ-5, RFC 5508 REQ-2), or with its pod or egress address.

use super::{FlowId, MappingId, Nat};
use crate::packet::Protocol;

enum Fate {
    Lives,
    Expires,
    Orphaned,
}

impl Nat {
    /// How many flows end for their age, and how many for want of an owner.
    pub fn sweep(&mut self) -> (u32, u32) {
        let (mut expired, mut orphaned) = (0, 0);
        for id in self.flows.keys().copied().collect::<Vec<_>>() {
            match self.fate(&id) {
                Fate::Lives => continue,
                Fate::Expires => expired += 1,
                Fate::Orphaned => orphaned += 1,
            }
            self.flows.remove(&id);
        }
        self.sweep_mappings();
        (expired, orphaned)
    }

    fn fate(&mut self, id: &FlowId) -> Fate {
        let pod = self.world.pods.get(&id.pod.ip()).filter(|pod| pod.rules != 0).map(|pod| pod.link);
        let (now, timers) = (self.now, self.timers);
        let Some(flow) = self.flows.get_mut(id) else { return Fate::Orphaned };
        if pod != Some(flow.link) || !self.world.egress.contains_key(&flow.outside.ip()) {
            return Fate::Orphaned;
        }
        if flow.pod_seen > flow.remote_seen {
            flow.tcp.pod_spoke_later();
        }
        let idle = now - flow.pod_seen.max(flow.remote_seen);
        let allowed = match id.protocol {
            Protocol::Tcp => flow.tcp.lifetime(&timers),
            Protocol::Udp => timers.udp,
            Protocol::Echo => timers.icmp,
        };
        if idle > allowed { Fate::Expires } else { Fate::Lives }
    }

    /// A mapping ends with the second sweep in a row that finds it unused.
    fn sweep_mappings(&mut self) {
        for id in self.mappings.keys().copied().collect::<Vec<MappingId>>() {
            let used = self.flows_of(&id) > 0;
            match self.mappings.get_mut(&id) {
                Some(mapping) if used || !mapping.idle => mapping.idle = !used,
                _ => {
                    self.mappings.remove(&id);
                }
            }
        }
    }
}

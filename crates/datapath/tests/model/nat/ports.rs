//! Which egress ports a flow may get (RFC 4787 REQ-1, RFC 5382 REQ-1 as RFC 6888 relaxes it, RFC 5508 REQ-1), and a
//! pod's share of them: the ports of a block are cut into groups, and of each a pod has one.

use std::net::IpAddr;

use egret_datapath::layout::Egress;

use super::{Choice, FlowId, MOST_FLOWS, Mapping, MappingId, Nat};
use crate::packet::{End, Protocol, at};

/// The ports of a node's blocks, in groups.
fn groups(egress: &Egress) -> Vec<std::ops::Range<u16>> {
    let group = 1_u16 << egress.share.min(egress.shift);
    let blocks = &egress.blocks[..usize::from(egress.block_count)];
    let starts =
        blocks.iter().flat_map(|block| (*block..block + (1 << egress.shift)).step_by(usize::from(group)));
    starts.map(|start| start..start + group).collect()
}

impl Nat {
    fn taken(&self, id: &FlowId, egress: IpAddr, port: u16) -> bool {
        match id.protocol {
            // A TCP port serves one flow towards each remote end.
            Protocol::Tcp => self.flows.iter().any(|(flow, value)| {
                flow.protocol == Protocol::Tcp
                    && flow.remote == id.remote
                    && value.outside == at(egress, port)
            }),
            // Any other is one pod's port alone.
            protocol => self
                .mappings
                .iter()
                .any(|(of, mapping)| of.protocol == protocol && of.egress == egress && mapping.port == port),
        }
    }

    /// Could this port be the pod's one of the group?
    fn may_have(&self, pod: IpAddr, group: &std::ops::Range<u16>, port: u16) -> bool {
        self.shares.get(&(pod, group.start)).is_none_or(|known| *known == port)
    }

    /// A new flow, as the kernel opened it or not. The inner error is the verdict; the outer one says what is wrong.
    pub fn open(
        &mut self,
        id: &FlowId,
        egress: IpAddr,
        choice: &Choice,
    ) -> Result<Result<End, &'static str>, String> {
        if id.protocol == Protocol::Tcp {
            return self.choose(id, egress, self.flows.len(), choice.flow.map(|end| end.port()), choice);
        }
        let mapping = MappingId { protocol: id.protocol, pod: id.pod, egress };
        let port = match self.mappings.get(&mapping) {
            Some(known) => known.port,
            None => match self.choose(id, egress, self.mappings.len(), choice.mapping, choice)? {
                Ok(end) => {
                    self.mappings.insert(mapping, Mapping { port: end.port(), idle: false });
                    end.port()
                }
                refused => return Ok(refused),
            },
        };
        if self.flows.len() >= MOST_FLOWS as usize {
            return Ok(Err("DROP_FLOWS_FULL"));
        }
        self.mappings.insert(mapping, Mapping { port, idle: false });
        Ok(Ok(at(egress, port)))
    }

    fn choose(
        &mut self,
        id: &FlowId,
        egress: IpAddr,
        entries: usize,
        chosen: Option<u16>,
        choice: &Choice,
    ) -> Result<Result<End, &'static str>, String> {
        let groups = groups(&self.world.egress[&egress]);
        let full = entries >= MOST_FLOWS as usize;
        let pod = id.pod.ip();
        if let Some(port) = chosen {
            let group = groups.iter().find(|group| group.contains(&port));
            let group = group.ok_or(format!("port {port} is in none of the node's blocks"))?;
            if !self.may_have(pod, group, port) {
                return Err(format!("port {port} is not the pod's one of {group:?}: {:?}", self.shares));
            }
            if self.taken(id, egress, port) {
                return Err(format!("port {port} has another user"));
            }
            if full {
                return Err("the table was full".to_owned());
            }
            self.shares.insert((pod, group.start), port);
            return Ok(Ok(at(egress, port)));
        }
        let candidates = |group: &std::ops::Range<u16>| -> Vec<u16> {
            group.clone().filter(|port| self.may_have(pod, group, *port)).collect()
        };
        let free = |port: &u16| !self.taken(id, egress, *port);
        let surely = groups.iter().any(|group| candidates(group).iter().all(free));
        let perhaps = groups.iter().any(|group| candidates(group).iter().any(free));
        match choice.verdict {
            "DROP_FLOWS_FULL" if full && perhaps => Ok(Err("DROP_FLOWS_FULL")),
            _ if surely && !full => Err("a port was free".to_owned()),
            _ if surely => Ok(Err("DROP_FLOWS_FULL")),
            _ => Ok(Err("DROP_NO_PORT")),
        }
    }
}

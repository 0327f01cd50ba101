//! All that the kernel remembers, against all that the model does.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{Duel, Told};
use crate::rig::{flow_key, mapping_key, outside, owner_key, return_key};

impl Duel<'_> {
    /// All tables, entry by entry, and that no other counter moved.
    pub fn compare_all(&mut self) -> Told {
        let moved = self.rig.verdicts();
        if !moved.is_empty() {
            return Err(format!("counted besides the verdicts: {moved:?}"));
        }
        let flows: BTreeMap<_, _> =
            self.nat.flows.iter().map(|(id, flow)| (flow_key(id), flow.outside)).collect();
        let is: BTreeMap<_, _> =
            self.rig.flows.iter().map(Result::unwrap).map(|(key, flow)| (key, outside(&flow))).collect();
        differ("flows", &is, &flows)?;
        let returns = self
            .nat
            .flows
            .iter()
            .map(|(id, flow)| (return_key(id, flow.outside), (id.pod.ip(), id.pod.port())));
        let is = self.rig.returns.iter().map(Result::unwrap);
        let is = is.map(|(key, back)| (key, (IpAddr::from(back.pod), u16::from_be(back.pod_port)))).collect();
        differ("returns", &is, &returns.collect())?;
        let mappings = self.nat.mappings.iter().map(|(id, mapping)| {
            (mapping_key(id), (mapping.port, self.nat.flows_of(id) as u32, u8::from(mapping.idle)))
        });
        let is = self.rig.mappings.iter().map(Result::unwrap);
        let is = is
            .map(|(key, value)| (key, (u16::from_be(value.egress_port), value.flows, value.idle)))
            .collect();
        differ("mappings", &is, &mappings.collect())?;
        let owners = self.nat.mappings.iter().map(|(id, mapping)| (owner_key(id, mapping.port), ()));
        let is = self.rig.owners.keys().map(|key| (key.unwrap(), ())).collect();
        differ("owners", &is, &owners.collect())?;
        let inbound = self.nat.inbound.iter().map(|id| (flow_key(id), ()));
        let is = self.rig.inbound.keys().map(|key| (key.unwrap(), ())).collect();
        differ("inbound", &is, &inbound.collect())
    }
}

fn differ<K: Ord + std::fmt::Debug, V: PartialEq + std::fmt::Debug>(
    table: &str,
    is: &BTreeMap<K, V>,
    must: &BTreeMap<K, V>,
) -> Told {
    if is == must {
        return Ok(());
    }
    let extra: Vec<_> = is.iter().filter(|(key, value)| must.get(key) != Some(value)).collect();
    let missing: Vec<_> = must.iter().filter(|(key, value)| is.get(key) != Some(value)).collect();
    Err(format!("{table}: the kernel has\n   {extra:?}\nand must have\n   {missing:?}"))
}

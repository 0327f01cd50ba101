//! What of a node's plan may be another after a change of the world.

use std::collections::BTreeSet;
use std::net::IpAddr;

/// What is to be planned again. Changes add up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Affected {
    /// Nothing: a node told only how it uses its ports, an object only got another status.
    #[default]
    Nothing,
    /// The ports of these addresses: whose they are, and which gateway knows it. That changes with the load.
    Ports(BTreeSet<IpAddr>),
    /// Perhaps anything.
    Everything,
}

impl Affected {
    /// These addresses' ports.
    pub fn ports(addresses: BTreeSet<IpAddr>) -> Affected {
        match addresses.is_empty() {
            true => Affected::Nothing,
            false => Affected::Ports(addresses),
        }
    }

    /// Adds what another change affects.
    pub fn add(&mut self, other: Affected) {
        match (&mut *self, other) {
            (Affected::Everything, _) | (_, Affected::Nothing) => {}
            (Affected::Ports(all), Affected::Ports(more)) => all.extend(more),
            (_, other) => *self = other,
        }
    }
}

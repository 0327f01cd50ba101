//! The world of the last snapshot, brought up to date by what changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use egret_api::{EgressAddress, Kind, Object};
use egret_plan::World;
use egret_store::Snapshot;

/// Objects as they were read last, and the world that is made of them.
#[derive(Default)]
pub(crate) struct Cluster {
    objects: Vec<Arc<Object>>,
    /// EgressAddress records by name.
    addresses: BTreeMap<String, EgressAddress>,
    world: World,
}

impl Cluster {
    /// Takes over a snapshot's objects; the world hears only of those that differ.
    pub(crate) fn update(&mut self, snapshot: &Snapshot) {
        let (applied, deleted) = snapshot.since(&self.objects);
        for key in &deleted {
            self.world.delete(key);
            if key.kind == Kind::EgressAddress {
                self.addresses.remove(&key.name);
            }
        }
        for object in applied {
            self.world.apply(Object::clone(object));
            if let Object::EgressAddress(record) = &**object {
                self.addresses.insert(object.key().name, EgressAddress::clone(record));
            }
        }
        self.objects = snapshot.objects.clone();
    }

    /// The world, which notes what is taken note of.
    pub(crate) fn world(&mut self) -> &mut World {
        &mut self.world
    }

    pub(crate) fn addresses(&self) -> &BTreeMap<String, EgressAddress> {
        &self.addresses
    }
}

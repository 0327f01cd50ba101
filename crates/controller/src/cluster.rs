//! The world of the last snapshot, brought up to date by what changed.

use std::collections::BTreeMap;

use egret_api::{Object, ObjectKey};
use egret_plan::World;

/// Objects as they were read last, and the world that is made of them.
#[derive(Default)]
pub(crate) struct Cluster {
    objects: BTreeMap<ObjectKey, Object>,
    world: World,
}

impl Cluster {
    /// Takes over a snapshot's objects; the world hears only of those that differ.
    pub(crate) fn update(&mut self, objects: Vec<Object>) {
        let new: BTreeMap<_, _> = objects.into_iter().map(|object| (object.key(), object)).collect();
        for key in self.objects.keys().filter(|key| !new.contains_key(key)) {
            self.world.delete(key);
        }
        for (key, object) in &new {
            if self.objects.get(key) != Some(object) {
                self.world.apply(object.clone());
            }
        }
        self.objects = new;
    }

    pub(crate) fn world(&self) -> &World {
        &self.world
    }

    pub(crate) fn get(&self, key: &ObjectKey) -> Option<&Object> {
        self.objects.get(key)
    }

    pub(crate) fn objects(&self) -> &BTreeMap<ObjectKey, Object> {
        &self.objects
    }
}

//! Objects of systems that are not on: they are known, and nothing but explanations looks at them.

use std::collections::BTreeMap;

use egret_api::{Dialect, Kind, Mode, Modes, ObjectKey};

use super::{World, Written};
use crate::intent::{Intent, Pool};

/// What is kept apart.
#[derive(Clone, Debug, Default)]
pub(super) struct Apart {
    pub policies: BTreeMap<ObjectKey, Written<Intent>>,
    pub pools: BTreeMap<ObjectKey, Written<Pool>>,
}

impl World {
    /// A world in which other systems' objects count as far as this says, until an EgressDialect says otherwise.
    pub fn with_modes(told: Modes) -> World {
        World { told, ..World::default() }
    }

    /// The same, of what one node plans by: without what only the controller decides by.
    pub fn of_node(node: &str, told: Modes) -> World {
        World { planner: Some(node.to_owned()), ..World::with_modes(told) }
    }

    /// How far objects of a kind count.
    pub fn mode(&self, kind: Kind) -> Mode {
        kind.dialect().map_or(Mode::On, |dialect| self.mode_of(dialect))
    }

    fn mode_of(&self, dialect: Dialect) -> Mode {
        self.said.get(&dialect).copied().unwrap_or_else(|| self.told.of(dialect))
    }

    /// The controller says how far a system's objects count, or says no more.
    pub(super) fn say(&mut self, name: &str, mode: Option<Mode>) {
        let Some(dialect) = Dialect::named(name) else { return };
        let before = self.mode_of(dialect);
        match mode {
            Some(mode) => drop(self.said.insert(dialect, mode)),
            None => drop(self.said.remove(&dialect)),
        }
        let now = self.mode_of(dialect);
        if (before == Mode::On) != (now == Mode::On) {
            self.switch(dialect, now == Mode::On);
        }
    }

    /// Puts a system's objects in force, or apart.
    fn switch(&mut self, dialect: Dialect, on: bool) {
        let own = |key: &ObjectKey| key.kind.dialect() == Some(dialect);
        let policies: Vec<ObjectKey> = match on {
            true => self.apart.policies.keys().filter(|key| own(key)).cloned().collect(),
            false => self.policies.keys().filter(|key| own(key)).cloned().collect(),
        };
        for key in policies {
            match on {
                true => {
                    if let Some(policy) = self.apart.policies.remove(&key) {
                        self.insert_policy(key, policy);
                    }
                }
                false => {
                    if let Some(policy) = self.remove_policy(&key) {
                        self.apart.policies.insert(key, policy);
                    }
                }
            }
        }
        let (from, to) = match on {
            true => (&mut self.apart.pools, &mut self.pools),
            false => (&mut self.pools, &mut self.apart.pools),
        };
        let pools: Vec<ObjectKey> = from.keys().filter(|key| own(key)).cloned().collect();
        for key in pools {
            if let Some(pool) = from.remove(&key) {
                to.insert(key, pool);
            }
        }
        self.touched.everything();
    }

    /// The same world with the systems on that are only observed; `None` if no policy is observed.
    pub(crate) fn as_if_on(&self) -> Option<World> {
        let observed = |dialect: &Dialect| self.mode_of(*dialect) == Mode::Observe;
        let kinds: Vec<Dialect> = Dialect::ALL.into_iter().filter(observed).collect();
        let some = self.apart.policies.keys().any(|k| k.kind.dialect().is_some_and(|d| kinds.contains(&d)));
        some.then(|| {
            let mut world = self.clone();
            kinds.into_iter().for_each(|dialect| world.say(dialect.name(), Some(Mode::On)));
            world
        })
    }
}

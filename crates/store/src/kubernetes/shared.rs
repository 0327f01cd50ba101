//! What the tasks of a store share.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use egret_api::{Kind, Modes};
use tokio::sync::{Notify, watch};

use super::cache::Cache;

/// The cache, and who waits for it to change.
pub(crate) struct Shared {
    cache: Mutex<Cache>,
    /// Rung at each change.
    pub changed: Notify,
    /// Rung when a node that has the start-up taint, or its agent, has changed.
    pub started: Notify,
    /// Kinds that are not to be read.
    pub off: watch::Sender<BTreeSet<Kind>>,
    told: Modes,
    obeys: bool,
}

impl Shared {
    /// Kinds of systems that are off are not read: as told, or as the controller says if this process obeys it.
    pub(crate) fn new(cache: Cache, told: Modes, obeys: bool) -> Self {
        let off = watch::Sender::new(told.off());
        Self { cache: Mutex::new(cache), changed: Notify::new(), started: Notify::new(), off, told, obeys }
    }

    /// Looks at the cache, or changes it.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut Cache) -> T) -> T {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let result = look(&mut cache);
        let (news, started, said) = (cache.has_news(), cache.startup().take_news(), cache.take_said());
        drop(cache);
        if started {
            self.started.notify_one();
        }
        if let Some(said) = said.filter(|_| self.obeys) {
            let mut modes = self.told.clone();
            said.into_iter().for_each(|(dialect, mode)| modes.set(dialect, mode));
            self.off.send_if_modified(|off| {
                let before = std::mem::replace(off, modes.off());
                before != *off
            });
        }
        if news {
            self.changed.notify_one();
        }
        result
    }
}

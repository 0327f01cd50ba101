//! What the tasks of a store share.

use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use super::cache::Cache;

/// The cache, and who waits for it to change.
pub(crate) struct Shared {
    cache: Mutex<Cache>,
    /// Rung at each change.
    pub changed: Notify,
    /// Rung when a node that has the start-up taint, or its agent, has changed.
    pub started: Notify,
}

impl Shared {
    pub(crate) fn new(cache: Cache) -> Self {
        Self { cache: Mutex::new(cache), changed: Notify::new(), started: Notify::new() }
    }

    /// Looks at the cache, or changes it.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut Cache) -> T) -> T {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let result = look(&mut cache);
        let (news, started) = (cache.has_news(), cache.startup().take_news());
        drop(cache);
        if started {
            self.started.notify_one();
        }
        if news {
            self.changed.notify_one();
        }
        result
    }
}

//! What the tasks of a store share.

use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use super::cache::Cache;

/// The cache, and who waits for it to change.
pub(crate) struct Shared {
    cache: Mutex<Cache>,
    /// Rung at each change.
    pub changed: Notify,
}

impl Shared {
    pub(crate) fn new(cache: Cache) -> Self {
        Self { cache: Mutex::new(cache), changed: Notify::new() }
    }

    /// Looks at the cache, or changes it.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut Cache) -> T) -> T {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let result = look(&mut cache);
        let news = cache.has_news();
        drop(cache);
        if news {
            self.changed.notify_one();
        }
        result
    }
}

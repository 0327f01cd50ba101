//! Objects of which somebody who follows a store is still to be told: of each its newest state, however often it changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use egret_api::{Object, ObjectKey};

/// What is to be told.
#[derive(Default)]
pub(crate) struct News(BTreeMap<ObjectKey, Option<Arc<Object>>>);

impl News {
    /// An object is new or other than before.
    pub(crate) fn applied(&mut self, key: ObjectKey, object: Arc<Object>) {
        self.0.insert(key, Some(object));
    }

    /// An object is gone.
    pub(crate) fn deleted(&mut self, key: ObjectKey) {
        self.0.insert(key, None);
    }

    /// How many objects are to be told of.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// What is to be told, which then is told: objects, and the keys of those that are gone. In the order of keys.
    pub(crate) fn take(&mut self) -> (Vec<Arc<Object>>, Vec<ObjectKey>) {
        let (mut applied, mut deleted) = (Vec::new(), Vec::new());
        for (key, object) in std::mem::take(&mut self.0) {
            match object {
                Some(object) => applied.push(object),
                None => deleted.push(key),
            }
        }
        (applied, deleted)
    }
}

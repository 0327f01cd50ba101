//! The seam itself: what the controller and the agents ask of any store.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;

use egret_api::{Object, ObjectKey};
use serde::{Deserialize, Serialize};

use crate::{Problem, StoreError};

/// What changed since the last time, and what the store says of itself since.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Objects that are new or other than before. `.status` of people's objects is what the controller wrote last,
    /// for readers who have a use for it.
    pub applied: Vec<Arc<Object>>,
    /// Objects that are gone.
    pub deleted: Vec<ObjectKey>,
    /// Everything that cannot be read now.
    pub problems: Vec<Problem>,
    /// Digest of what people wrote, as far as this reader reads it: everything but records and statuses. It is taken
    /// over the text, so that readers agree on it, whatever each of them still holds of what is broken now.
    pub objects_digest: String,
    /// Digest of the EgressAddress records.
    pub addresses_digest: String,
    /// Objects that have a status in the store and are gone.
    pub stale_statuses: BTreeSet<ObjectKey>,
    /// Records that somebody removed who is not their writer (with their definition, say). They stay in force here; their
    /// writer writes them again, or deletes them.
    pub lost: BTreeSet<ObjectKey>,
    /// Not everything is known yet, and this is told so that nobody has to keep it: nothing may be decided by it before
    /// the rest has come. Only who keeps a copy on disk is told in pieces; digests and problems come at the end.
    pub more: bool,
}

/// Everything a store holds at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// All objects that can be read, ordered by key; no key twice. `.status` of people's objects is what the
    /// controller wrote last, never what a manifest says; of a Service that holds for our conditions only. What
    /// did not change since the last snapshot is the same allocation, so that it need not be compared.
    pub objects: Vec<Arc<Object>>,
    /// What cannot be read, in the order of the files.
    pub problems: Vec<Problem>,
    /// See [`Changes::objects_digest`].
    pub objects_digest: String,
    /// See [`Changes::addresses_digest`].
    pub addresses_digest: String,
    /// Objects that have a status in the store and are gone, or have become Services that are no policy.
    pub stale_statuses: BTreeSet<ObjectKey>,
    /// See [`Changes::lost`].
    pub lost: BTreeSet<ObjectKey>,
}

impl Snapshot {
    /// Brings the snapshot up to date.
    pub fn update(&mut self, changes: Changes) {
        for key in &changes.deleted {
            if let Ok(at) = self.place(key) {
                self.objects.remove(at);
            }
        }
        for object in changes.applied {
            match self.place(&object.key()) {
                Ok(at) => self.objects[at] = object,
                Err(at) => self.objects.insert(at, object),
            }
        }
        self.problems = changes.problems;
        self.objects_digest = changes.objects_digest;
        self.addresses_digest = changes.addresses_digest;
        self.stale_statuses = changes.stale_statuses;
        self.lost = changes.lost;
    }

    fn place(&self, key: &ObjectKey) -> Result<usize, usize> {
        self.objects.binary_search_by(|object| object.key().cmp(key))
    }
}

/// How far the controller has come, so that others can tell whether its records answer to what people wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// `objects_digest` of what was decided on.
    pub observed_objects: String,
    /// `addresses_digest` of the records, in which that decision found nothing to change.
    pub addresses: String,
}

/// Something that happened to an object, for people who look at it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Event {
    /// What it happened to.
    pub regarding: ObjectKey,
    /// People should do something about it.
    pub warning: bool,
    /// One word of a closed list, see docs/reasons.md.
    pub reason: String,
    /// What Egret did, in one word.
    pub action: &'static str,
    /// What happened, and why.
    pub note: String,
}

/// Where objects come from.
pub trait Store: Send {
    /// What writes to the store, apart from it, so that a slow write does not hold up reading.
    type Recorder: Recorder;

    /// Waits for changes: everything at first, as soon as all of it is known, and then what differs. Dropping the
    /// future loses nothing.
    fn changes(&mut self) -> impl Future<Output = Changes> + Send;

    /// Where people wrote an object, for messages: a file, if the store has files.
    fn origin(&self, key: &ObjectKey) -> Option<String>;

    /// The writing side.
    fn recorder(&self) -> Self::Recorder;
}

/// Where records and statuses go. Writing what is there already does nothing.
pub trait Recorder: Clone + Send + Sync + 'static {
    /// Creates or replaces a record.
    fn write_record(&self, object: &Object) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// Removes a record, if it is there.
    fn delete_record(&self, key: &ObjectKey) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// Sets the whole `.status` of an object; of a Service those of its conditions that begin with `egret.dev/`, and the
    /// `annotations` that are given beside them, unless they are somebody else's.
    fn write_status(
        &self,
        key: &ObjectKey,
        status: &serde_json::Value,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// Forgets the status of an object that is gone.
    fn delete_status(&self, key: &ObjectKey) -> impl Future<Output = Result<(), StoreError>> + Send;
    /// Tells people what happened, where the store has a place for that. It is not waited for, and may be let go when
    /// there is much to tell: the log has it.
    fn tell(&self, event: Event);
    /// Says how far the controller has come.
    fn write_progress(&self, progress: &Progress) -> impl Future<Output = Result<(), StoreError>> + Send;
}

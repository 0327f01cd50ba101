//! What was read of an API server: which objects there are, what of them was told already, what is wrong with them.
//!
//! Objects themselves are passed on and not kept. What is kept of each is a digest, by which a change is told from a
//! repetition.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use egret_api::{Dialect, Kind, Mode, ObjectKey};
use egret_plan::intent::Intent;
use serde::Deserialize;
use serde_json::Value;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::copy::Lines;
use super::startup::Startup;
use crate::decode::{
    Decoded, Fault, forget_unread, has_status, is_nobodys, is_record, key_of, object, put_status, take_status,
};
use crate::news::News;
use crate::{Changes, Problem};

/// Name and namespace of an object.
type Place = (Box<str>, Box<str>);

/// What to do with what is read.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Keep {
    /// Statuses of people's objects: only the controller has a use for them.
    pub statuses: bool,
    /// The text of every object, until it is in the copy on disk.
    pub texts: bool,
    /// Every EgressAddress that others remove: who decides is the only one that may.
    pub addresses: bool,
}

/// Everything that was read.
pub(crate) struct Cache {
    keep: Keep,
    kinds: BTreeMap<Kind, Listing>,
    news: News,
    /// Something is to be told, if only a digest.
    fresh: bool,
    digests: Sums,
    startup: Startup,
    /// What the server calls objects of which events are told.
    uids: BTreeMap<ObjectKey, Box<str>>,
    /// What is in force and not yet in the copy on disk: texts, and what is gone.
    uncopied: Lines,
    /// How far other systems' objects count, as the controller says; and whether that was asked for since it changed.
    said: BTreeMap<Dialect, Mode>,
    unasked: bool,
}

/// Sums of digests: the order in which objects came does not matter.
#[derive(Clone, Debug, Default)]
struct Sums {
    objects: u64,
    addresses: u64,
    /// Of pods, by node.
    pods: BTreeMap<Box<str>, u64>,
}

/// The objects of one kind.
#[derive(Default)]
struct Listing {
    standing: Standing,
    entries: BTreeMap<Place, Entry>,
    /// While all are listed anew: which were seen.
    seen: Option<BTreeSet<Place>>,
    /// What is wrong with its definition.
    outdated: Option<Problem>,
}

/// How much is known of a kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Standing {
    /// Not read yet.
    #[default]
    Unknown,
    /// Read, and followed.
    Listed,
    /// Cannot be read now; what was known stays. With the problem that this is.
    Faulty(Problem),
    /// The server does not serve the kind: there are no objects. With the problem that this is.
    Missing(Problem),
    /// Nobody wants to know.
    Off,
}

/// What is kept of one object.
#[derive(Default)]
struct Entry {
    /// Digest of all that is read of it.
    whole: u64,
    /// Digest of all but the status.
    written: u64,
    /// The node of a pod.
    node: Option<Box<str>>,
    /// The version that this process wrote itself: older ones may still arrive.
    own: u64,
    version: u64,
    /// A version of it was told that can be in force.
    valid: bool,
    told: bool,
    /// A record that its writer, who would have said so before, does not mean to remove.
    meant: bool,
    /// It is gone, though it was meant to be there: it stays in force until its writer writes it again, or lets it go.
    lost: bool,
    /// It has a status of ours, and is no longer such as to have one.
    stale: bool,
    problem: Option<Box<Problem>>,
}

impl Cache {
    pub(crate) fn new(keep: Keep, kinds: impl IntoIterator<Item = Kind>) -> Self {
        Self {
            keep,
            kinds: kinds.into_iter().map(|kind| (kind, Listing::default())).collect(),
            news: News::default(),
            fresh: true,
            digests: Sums::default(),
            startup: Startup::default(),
            uids: BTreeMap::new(),
            uncopied: Lines::new(),
            said: BTreeMap::new(),
            unasked: false,
        }
    }

    /// All objects of a kind are about to be listed.
    pub(crate) fn begin(&mut self, kind: Kind) {
        let listing = self.kinds.entry(kind).or_default();
        listing.seen = Some(BTreeSet::new());
        // A server that was restored from a backup counts from lower again.
        listing.entries.values_mut().for_each(|entry| entry.own = 0);
    }

    /// All objects of a kind have been listed: what was not among them is gone.
    pub(crate) fn listed(&mut self, kind: Kind) {
        let listing = self.kinds.entry(kind).or_default();
        let seen = listing.seen.take().unwrap_or_default();
        let gone: Vec<Place> =
            listing.entries.keys().filter(|place| !seen.contains(*place)).cloned().collect();
        // A definition that was removed takes every object along.
        let was_missing = matches!(listing.standing, Standing::Missing(_));
        self.standing(kind, Standing::Listed);
        for place in gone {
            if !self.lose(kind, &place, was_missing) {
                self.remove(kind, &place);
            }
        }
    }

    /// A kind cannot be read now.
    pub(crate) fn faulty(&mut self, kind: Kind, problem: Problem) {
        let known = self.kinds.get(&kind).is_some_and(|listing| listing.standing != Standing::Unknown);
        if known {
            self.standing(kind, Standing::Faulty(problem));
        }
    }

    /// The server does not serve a kind. What was known of it stays: a definition that somebody removes takes its
    /// objects along by itself, one by one.
    pub(crate) fn missing(&mut self, kind: Kind, problem: Problem) {
        self.standing(kind, Standing::Missing(problem));
    }

    /// Objects of a kind count no more: they are forgotten, and nobody waits for them.
    pub(crate) fn off(&mut self, kind: Kind) {
        self.standing(kind, Standing::Off);
        let listing = self.kinds.entry(kind).or_default();
        listing.seen = None;
        let gone: Vec<Place> = listing.entries.keys().cloned().collect();
        gone.iter().for_each(|place| self.remove(kind, place));
    }

    /// What the controller says of other systems, if it says something new.
    pub(crate) fn take_said(&mut self) -> Option<BTreeMap<Dialect, Mode>> {
        std::mem::take(&mut self.unasked).then(|| self.said.clone())
    }

    fn say(&mut self, name: &str, mode: Option<Mode>) {
        let Some(dialect) = Dialect::named(name) else { return };
        let before = match mode {
            Some(mode) => self.said.insert(dialect, mode),
            None => self.said.remove(&dialect),
        };
        self.unasked |= before != mode;
    }

    /// Watching goes on after an interruption, without listing anew.
    pub(crate) fn goes_on(&mut self, kind: Kind) {
        if matches!(self.kinds.get(&kind), Some(Listing { standing: Standing::Faulty(_), .. })) {
            self.standing(kind, Standing::Listed);
        }
    }

    fn standing(&mut self, kind: Kind, standing: Standing) {
        let listing = self.kinds.entry(kind).or_default();
        if listing.standing != standing {
            listing.standing = standing;
            self.fresh = true;
        }
    }

    /// Every kind has been read, or is not served.
    pub(crate) fn is_complete(&self) -> bool {
        self.kinds.values().all(|listing| listing.standing != Standing::Unknown)
    }

    /// Kinds that have not been read.
    pub(crate) fn awaited(&self) -> impl Iterator<Item = Kind> {
        self.kinds.iter().filter(|(_, l)| l.standing == Standing::Unknown).map(|(kind, _)| *kind)
    }

    /// An object as the server has it now.
    pub(crate) fn apply(&mut self, kind: Kind, value: Value) {
        self.put(kind, value, false);
    }

    /// An object as this process just wrote it.
    pub(crate) fn wrote(&mut self, kind: Kind, value: Value) {
        self.put(kind, value, true);
    }

    fn put(&mut self, kind: Kind, mut value: Value, own: bool) {
        let version = version(&value);
        let key = key_of(kind, &value);
        let place: Place = (key.namespace.as_str().into(), key.name.as_str().into());
        if self.keep.statuses {
            self.startup.see(&key, &value);
        }
        let status = take_status(kind, &mut value).filter(|_| self.keep.statuses);
        if is_nobodys(kind, &value) && status.is_none() {
            // One that was somebody's may be so no longer.
            self.remove(kind, &place);
            return;
        }
        if kind == Kind::EgressDialect {
            let mode = value.pointer("/spec/mode").and_then(|mode| Mode::deserialize(mode).ok());
            self.say(&key.name, mode);
        }
        if self.keep.statuses
            && (has_status(kind) || is_record(kind))
            && let Some(uid) = value.pointer("/metadata/uid").and_then(Value::as_str)
        {
            self.uids.insert(key.clone(), uid.into());
        }
        let Cache { kinds, digests, keep, news, uncopied, .. } = self;
        let listing = kinds.entry(kind).or_default();
        if let Some(seen) = &mut listing.seen {
            seen.insert(place.clone());
        }
        let entry = listing.entries.entry(place.clone()).or_default();
        if version != 0 && version < entry.own {
            return;
        }
        entry.version = version;
        entry.meant = lost::is_meant(kind, &value, *keep);
        if std::mem::take(&mut entry.lost) {
            self.fresh = true;
        }
        if own {
            entry.own = version;
        }
        forget_unread(kind, &mut value);
        let text = value.to_string();
        let written = digest(&place, &text);
        let node = (kind == Kind::Pod)
            .then(|| value.pointer("/spec/nodeName").and_then(Value::as_str).unwrap_or_default().into());
        let mut whole = written;
        let told_of = status.is_some();
        if let Some(status) = status {
            whole = whole.wrapping_add(xxh3_64(status.to_string().as_bytes()));
            put_status(kind, &mut value, status);
        }
        if entry.told && entry.whole == whole {
            return;
        }
        digests.replace(kind, entry, written, node.as_deref());
        (entry.whole, entry.written, entry.node, entry.told) = (whole, written, node, true);
        let fault = match object(key.clone(), value) {
            Decoded::Object(object, faults) => {
                let valid = faults.is_empty();
                entry.stale = told_of && kind == Kind::Service && Intent::read(&object).is_none();
                if valid || !entry.valid {
                    entry.valid = valid;
                    if keep.texts {
                        uncopied.insert(key.clone(), Some(text.into()));
                    }
                    news.applied(key.clone(), Arc::new(object));
                }
                faults.into_iter().next()
            }
            Decoded::Broken(fault) => Some(fault),
            Decoded::Foreign(_) => None,
        };
        let in_force = entry.valid;
        entry.problem = fault.map(|fault| Box::new(problem(&key, fault, in_force)));
        self.fresh = true;
    }

    /// An object is gone.
    pub(crate) fn delete(&mut self, kind: Kind, value: &Value) {
        let key = key_of(kind, value);
        let place: Place = (key.namespace.into(), key.name.into());
        let own = self.kinds.get(&kind).and_then(|l| l.entries.get(&place)).map_or(0, |entry| entry.own);
        if version(value) >= own && !self.lose(kind, &place, true) {
            self.remove(kind, &place);
        }
    }

    /// This process deleted an object.
    pub(crate) fn deleted(&mut self, key: &ObjectKey) {
        self.remove(key.kind, &(key.namespace.as_str().into(), key.name.as_str().into()));
    }

    fn remove(&mut self, kind: Kind, place: &Place) {
        let Some(entry) = self.kinds.get_mut(&kind).and_then(|l| l.entries.remove(place)) else { return };
        self.digests.remove(kind, &entry);
        if kind == Kind::EgressDialect {
            self.say(&place.1, None);
        }
        let key = ObjectKey { kind, namespace: place.0.to_string(), name: place.1.to_string() };
        self.startup.forget(kind, &key.name);
        self.uids.remove(&key);
        if self.keep.texts {
            self.uncopied.insert(key.clone(), None);
        }
        self.news.deleted(key);
        self.fresh = true;
    }

    /// The version of an object as it is known.
    pub(crate) fn version(&self, key: &ObjectKey) -> Option<u64> {
        let place: Place = (key.namespace.as_str().into(), key.name.as_str().into());
        self.kinds
            .get(&key.kind)?
            .entries
            .get(&place)
            .map(|entry| entry.version)
            .filter(|version| *version != 0)
    }

    /// What the server calls an object, if it is known.
    pub(crate) fn uid(&self, key: &ObjectKey) -> Option<&str> {
        self.uids.get(key).map(AsRef::as_ref)
    }

    /// Nodes that wait for their agents.
    pub(crate) fn startup(&mut self) -> &mut Startup {
        &mut self.startup
    }

    /// Something is to be told.
    pub(crate) fn has_news(&self) -> bool {
        self.fresh
    }

    /// What is to be told, if anything is.
    pub(crate) fn take(&mut self) -> Option<Changes> {
        if !std::mem::take(&mut self.fresh) {
            return None;
        }
        let (applied, deleted) = self.news.take();
        Some(Changes {
            applied,
            deleted,
            problems: self.problems(),
            objects_digest: self.digests.objects(None),
            addresses_digest: format!("{:016x}", self.digests.addresses),
            stale_statuses: self.stale_statuses(),
            lost: self.lost(),
            more: false,
        })
    }

    /// Some of what is to be told, if there is much of it, before all is known.
    pub(crate) fn take_piece(&mut self) -> Option<Changes> {
        const PIECE: usize = 256;
        if self.news.len() < PIECE {
            return None;
        }
        let (applied, deleted) = self.news.take();
        Some(Changes { applied, deleted, more: true, ..Changes::default() })
    }

    /// The digest that an agent of this node has of what people wrote, if it has seen the same.
    pub(crate) fn objects_digest_at(&self, node: &str) -> String {
        self.digests.objects(Some(node))
    }

    fn stale_statuses(&self) -> BTreeSet<ObjectKey> {
        let stale = |(kind, listing): (&Kind, &Listing)| {
            let key = |(place, _): (&Place, _)| ObjectKey {
                kind: *kind,
                namespace: place.0.to_string(),
                name: place.1.to_string(),
            };
            listing.entries.iter().filter(|(_, entry)| entry.stale).map(key).collect::<Vec<_>>()
        };
        self.kinds.get_key_value(&Kind::Service).map(stale).into_iter().flatten().collect()
    }

    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for listing in self.kinds.values() {
            if let Standing::Faulty(problem) | Standing::Missing(problem) = &listing.standing {
                problems.push(problem.clone());
            }
            problems.extend(listing.outdated.clone());
            problems.extend(listing.entries.values().filter_map(|entry| entry.problem.as_deref().cloned()));
        }
        problems
    }

    /// What the copy on disk lacks; from now on it counts as being there.
    pub(crate) fn take_uncopied(&mut self) -> Lines {
        std::mem::take(&mut self.uncopied)
    }

    /// How many objects there are.
    pub(crate) fn len(&self) -> usize {
        self.kinds.values().map(|listing| listing.entries.len()).sum()
    }
}

impl Sums {
    fn of(&mut self, kind: Kind, node: Option<&str>) -> Option<&mut u64> {
        match (kind, node) {
            (Kind::EgressAddress, _) => Some(&mut self.addresses),
            (kind, _) if is_record(kind) => None,
            (_, Some(node)) => {
                if !self.pods.contains_key(node) {
                    self.pods.insert(node.into(), 0);
                }
                self.pods.get_mut(node)
            }
            (_, None) => Some(&mut self.objects),
        }
    }

    fn replace(&mut self, kind: Kind, old: &Entry, new: u64, node: Option<&str>) {
        self.remove(kind, old);
        if let Some(sum) = self.of(kind, node) {
            *sum = sum.wrapping_add(new);
        }
    }

    fn remove(&mut self, kind: Kind, old: &Entry) {
        if !old.told {
            return;
        }
        if let Some(sum) = self.of(kind, old.node.as_deref()) {
            *sum = sum.wrapping_sub(old.written);
        }
        if let Some(node) = &old.node
            && self.pods.get(node) == Some(&0)
        {
            self.pods.remove(node);
        }
    }

    fn objects(&self, node: Option<&str>) -> String {
        let pods = match node {
            Some(node) => self.pods.get(node).copied().unwrap_or_default(),
            None => self.pods.values().fold(0, |sum, pods| u64::wrapping_add(sum, *pods)),
        };
        format!("{:016x}", self.objects.wrapping_add(pods))
    }
}

fn digest(place: &Place, text: &str) -> u64 {
    let mut hash = Xxh3::new();
    for part in [&place.0, &place.1] {
        hash.update(part.as_bytes());
        hash.update(&[0]);
    }
    hash.update(text.as_bytes());
    hash.digest()
}

/// The version that an API server gives an object; 0 if it gives none.
fn version(value: &Value) -> u64 {
    let text = value.pointer("/metadata/resourceVersion").and_then(Value::as_str);
    text.and_then(|text| text.parse().ok()).unwrap_or_default()
}

fn problem(key: &ObjectKey, fault: Fault, in_force: bool) -> Problem {
    let before = match in_force {
        true => " Until then the object stays in force as it was before.",
        false => "",
    };
    Problem {
        file: std::path::PathBuf::new(),
        document: 0,
        object: Some(key.to_string()),
        field: fault.field,
        message: fault.message,
        cure: format!("{}{before}", fault.cure),
    }
}

mod lost;
#[cfg(test)]
mod tests;

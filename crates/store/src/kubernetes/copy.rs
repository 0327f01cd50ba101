//! A copy on disk of everything that was read, so that a process can start while no server answers. It also keeps
//! what was in force of objects that are broken now.

mod journal;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Weak;
use std::time::{Duration, Instant};

use egret_api::ObjectKey;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::cache::Cache;
use super::scope::Scope;
use super::shared::Shared;
use crate::Changes;

pub(crate) use self::journal::{Journal, Reader};

/// How often it is looked whether the copy is still one.
const LOOK: Duration = Duration::from_secs(1);
/// Writing may take one part in so many of the time: a large cluster's copy must not keep the disk busy.
const SHARE: u32 = 50;
/// Version of the file's form.
const FORM: u64 = 2;

/// Of objects that changed: the text that is in force, or that they are gone.
pub(crate) type Lines = BTreeMap<ObjectKey, Option<Box<str>>>;

/// Opens a copy, to be read; `None` if there is none of use.
pub(crate) fn open(path: &Path, scope: &Scope) -> Option<Reader> {
    Reader::open(path, &head(scope)).unwrap_or_else(|error| {
        unread(path, &error);
        None
    })
}

/// Reads on in a copy until something is to be told, which is returned, or there is no more.
pub(crate) fn restore(path: &Path, reader: &mut Reader, cache: &mut Cache) -> Option<Changes> {
    loop {
        match reader.next() {
            Ok(Some((key, Some(value)))) => cache.apply(key.kind, value),
            Ok(Some((key, None))) => cache.deleted(&key),
            Ok(None) => return None,
            // What was read before is in the part of the file that is gone on with.
            Err(error) => {
                unread(path, &error);
                return None;
            }
        }
        // It comes from there.
        drop(cache.take_uncopied());
        if let Some(piece) = cache.take_piece() {
            return Some(piece);
        }
    }
}

fn unread(path: &Path, error: &std::io::Error) {
    tracing::warn!(file = %path.display(), "the copy of what the API server said cannot be read: {error}");
}

fn head(scope: &Scope) -> Value {
    match scope {
        Scope::Cluster => json!({"form": FORM}),
        Scope::Node(node) => json!({"form": FORM, "node": node}),
    }
}

/// Keeps the copy up to date for as long as the store lives.
pub(crate) async fn keep(path: PathBuf, scope: Scope, restored: Option<Journal>, shared: Weak<Shared>) {
    let mut journal = Some(restored.unwrap_or_else(|| Journal::new(&path, head(&scope))));
    let mut lines = Lines::new();
    let mut complained = false;
    loop {
        sleep(LOOK).await;
        let Some(shared) = shared.upgrade() else { return };
        let (news, live, complete) =
            shared.with(|cache| (cache.take_uncopied(), cache.len(), cache.is_complete()));
        drop(shared);
        // What could not be written the last time, unless it is other by now.
        lines.extend(news);
        let Some(mut open) = journal.take() else { return };
        if lines.is_empty() && (!complete || open.counts()) {
            journal = Some(open);
            continue;
        }
        let begun = Instant::now();
        let batch = std::mem::take(&mut lines);
        let written = tokio::task::spawn_blocking(move || {
            let result = open.write(&batch, live, complete);
            (open, batch, result)
        });
        // A thread that panicked took the journal along, and nothing that works.
        let Ok((open, batch, result)) = written.await else { return };
        journal = Some(open);
        match result {
            Ok(()) => complained = false,
            Err(error) => {
                lines = batch;
                if !std::mem::replace(&mut complained, true) {
                    tracing::warn!(file = %path.display(), "no copy of what the API server says is kept: {error}");
                }
            }
        }
        sleep(begun.elapsed() * SHARE).await;
    }
}

//! Notices that something below a directory changed.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::StoreError;
use crate::noticed::Noticed;

/// Several files are often written together; they are read together after this.
const DEBOUNCE: Duration = Duration::from_millis(10);
/// The kernel may lose events when there are many, and mounted directories may be replaced as a whole.
const RESYNC: Duration = Duration::from_secs(10);

/// Watches one directory, at any depth.
pub(crate) struct Watch {
    root: PathBuf,
    /// Which directory it is, since another may be put in its place.
    place: Option<(u64, u64)>,
    watcher: RecommendedWatcher,
    noticed: Noticed,
    events: mpsc::Receiver<()>,
    /// When the change that was noticed is to be told.
    due: Option<Instant>,
    resync: Instant,
}

impl Watch {
    pub(crate) fn open(root: &Path, noticed: Noticed) -> Result<Self, StoreError> {
        let (sender, events) = mpsc::channel(1);
        let (below, notice) = (root.to_owned(), noticed.clone());
        let failed = |source| StoreError::Watch { path: root.to_owned(), source };
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let wakes = match &event {
                Ok(event) if !event.need_rescan() => note(&below, event, &notice),
                _ => {
                    notice.everything();
                    true
                }
            };
            if wakes {
                // A full channel tells the same already.
                let _ = sender.try_send(());
            }
        })
        .map_err(failed)?;
        watcher.watch(root, RecursiveMode::Recursive).map_err(failed)?;
        Ok(Self {
            root: root.to_owned(),
            place: place(root),
            watcher,
            noticed,
            events,
            due: None,
            resync: Instant::now() + RESYNC,
        })
    }

    /// Resolves after a change, or at the given time, or when it is time to look anyway. Nothing is lost when
    /// the future is dropped: what was noticed stays noticed.
    pub(crate) async fn changed(&mut self, at: Option<Instant>) {
        loop {
            let until = [self.due, at, Some(self.resync)].into_iter().flatten().min().unwrap_or(self.resync);
            if self.due.is_some() {
                tokio::time::sleep_until(until).await;
                while self.events.try_recv().is_ok() {}
                break;
            }
            tokio::select! {
                () = tokio::time::sleep_until(until) => break,
                event = self.events.recv() => match event {
                    Some(()) => self.due = Some(Instant::now() + DEBOUNCE),
                    // Without the watcher's thread there is still the resync.
                    None => { tokio::time::sleep_until(until).await; break }
                }
            }
        }
        self.due = None;
        if self.resync <= Instant::now() {
            self.resync = Instant::now() + RESYNC;
            self.noticed.everything();
            self.follow();
        }
    }

    /// Watches the directory that is there now, if it is not the one that was watched.
    fn follow(&mut self) {
        let now = place(&self.root);
        if now.is_some() && now != self.place {
            // The old one is gone, with its watch.
            drop(self.watcher.unwatch(&self.root));
            match self.watcher.watch(&self.root, RecursiveMode::Recursive) {
                Ok(()) => self.place = now,
                Err(error) => {
                    tracing::warn!(directory = %self.root.display(), %error, "cannot watch the store")
                }
            }
        }
    }
}

fn place(root: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(root).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

fn changes(event: &notify::Event) -> bool {
    match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        _ => true,
    }
}

/// Notes which files an event is about. Returns whether readers should look.
fn note(root: &Path, event: &notify::Event, noticed: &Noticed) -> bool {
    let mut wakes = false;
    for path in event.paths.iter().filter(|_| changes(event)) {
        wakes |= noticed.change(path.strip_prefix(root).unwrap_or(Path::new("")));
    }
    wakes
}

//! The texts of files, read again only when they may have changed.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use xxhash_rust::xxh3::xxh3_64;

/// Within this time of its last write a file may still be being written, and a change may carry the same time.
pub(crate) const SETTLE: Duration = Duration::from_millis(20);

/// How a file was when it was read last.
struct Seen {
    place: (u64, u64),
    stamp: (u64, i64, i64, i64, i64),
    /// Read so soon after its last write that a later one could leave the same stamp.
    fresh: bool,
    digest: u64,
}

/// What a look at a file found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// As it was read last.
    Same,
    /// Being written in place, it seems: what was read last stands until it has settled.
    Settling,
    /// New text.
    Text(String),
}

/// Files by their path below a directory, as they were read last.
#[derive(Default)]
pub(crate) struct Texts {
    seen: BTreeMap<OsString, Seen>,
}

impl Texts {
    /// Looks at a file below the directory. `in_place`: people's editors write this file, perhaps in place and in
    /// pieces.
    pub(crate) fn look(&mut self, directory: &Path, file: &Path, in_place: bool) -> io::Result<Look> {
        let path = directory.join(file);
        let metadata = std::fs::metadata(&path)?;
        let file = file.as_os_str();
        let place = (metadata.dev(), metadata.ino());
        let stamp = (
            metadata.size(),
            metadata.mtime(),
            metadata.mtime_nsec(),
            metadata.ctime(),
            metadata.ctime_nsec(),
        );
        let fresh = metadata
            .modified()
            .ok()
            .and_then(|modified| SystemTime::now().duration_since(modified).ok())
            .is_some_and(|age| age < SETTLE);
        if let Some(seen) = self.seen.get(file) {
            if seen.place == place && seen.stamp == stamp && !seen.fresh {
                return Ok(Look::Same);
            }
            // A file put in place by a rename is whole at once, and is another file than the one before.
            if in_place && fresh && seen.place == place && seen.stamp != stamp {
                return Ok(Look::Settling);
            }
        }
        let bytes = std::fs::read(path)?;
        let digest = xxh3_64(&bytes);
        let same = self.seen.get(file).is_some_and(|seen| seen.digest == digest);
        self.seen.insert(file.to_owned(), Seen { place, stamp, fresh, digest });
        if same {
            return Ok(Look::Same);
        }
        String::from_utf8(bytes).map(Look::Text).map_err(|_| {
            self.seen.remove(file);
            io::Error::new(io::ErrorKind::InvalidData, "not UTF-8 text")
        })
    }

    /// Forgets a file.
    pub(crate) fn forget(&mut self, file: &Path) {
        self.seen.remove(file.as_os_str());
    }

    /// The digest of a file's text as read last.
    pub(crate) fn digest(&self, file: &OsStr) -> u64 {
        self.seen.get(file).map_or(0, |seen| seen.digest)
    }
}

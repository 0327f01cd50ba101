//! The texts of files, read again only when they may have changed.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Within this time of its last write a file may still be being written, and a change may carry the same time.
pub(crate) const SETTLE: Duration = Duration::from_millis(20);

/// How a file was when it was read last.
struct Seen {
    /// Device and inode.
    place: (u64, u64),
    stamp: (u64, i64, i64, i64, i64),
    /// It must be read the next time whatever the stamp: it was read so soon after its last write that a later one
    /// could leave the same, or it could not be read.
    again: bool,
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
    /// Sum over the files: in which order they came does not matter.
    digest: u64,
}

impl Texts {
    /// Looks at a file below the directory; one that is not there is forgotten. `in_place`: people's editors write
    /// this file, perhaps in place and in pieces.
    pub(crate) fn look(&mut self, directory: &Path, file: &Path, in_place: bool) -> io::Result<Look> {
        let path = directory.join(file);
        let metadata = std::fs::metadata(&path).inspect_err(|_| self.forget(file))?;
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
            if seen.place == place && seen.stamp == stamp && !seen.again {
                return Ok(Look::Same);
            }
            // A file put in place by a rename is whole at once, and is another file than the one before.
            if in_place && fresh && seen.place == place && seen.stamp != stamp {
                return Ok(Look::Settling);
            }
        }
        let not_text = || io::Error::new(io::ErrorKind::InvalidData, "not UTF-8 text");
        let text = std::fs::read(path).and_then(|bytes| String::from_utf8(bytes).map_err(|_| not_text()));
        let digest = text.as_ref().map_or(0, |text| xxh3_64(text.as_bytes()));
        let same = self.seen.get(file).is_some_and(|seen| seen.digest == digest);
        self.forget(Path::new(file));
        self.digest = self.digest.wrapping_add(share(file, digest));
        self.seen.insert(file.to_owned(), Seen { place, stamp, again: fresh || text.is_err(), digest });
        text.map(|text| if same { Look::Same } else { Look::Text(text) })
    }

    /// Forgets a file.
    pub(crate) fn forget(&mut self, file: &Path) {
        if let Some(seen) = self.seen.remove(file.as_os_str()) {
            self.digest = self.digest.wrapping_sub(share(file.as_os_str(), seen.digest));
        }
    }

    /// Digest of the texts and where they stand.
    pub(crate) fn digest(&self) -> u64 {
        self.digest
    }
}

/// A file's part of the digest.
fn share(file: &OsStr, digest: u64) -> u64 {
    xxh3_64_with_seed(file.as_encoded_bytes(), digest)
}

//! Writing the log: a row of files by number, of which the last grows and the first goes.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

/// The log is made of about so many files: that much of it goes at once.
const FILES: u64 = 8;
/// The least size of a file, in bytes.
const LEAST: u64 = 4096;
const SUFFIX: &str = ".jsonl";

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes in all.
    pub size: u64,
    /// What is older goes.
    pub age: Duration,
}

/// Two clocks.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// The one that people set.
    pub wall: Timestamp,
    /// One that nobody sets; since whenever.
    pub running: Duration,
}

/// Why a log cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("--flow-log {path}: {error}; give the agent a directory that it may write, or --flow-log-size 0")]
pub struct LogError {
    /// The directory or file.
    pub path: PathBuf,
    /// What happened.
    pub error: io::Error,
}

/// A log that is being written.
#[derive(Debug)]
pub struct Log {
    directory: PathBuf,
    limits: Limits,
    /// In their order; the last one is written.
    files: VecDeque<Part>,
    open: Option<File>,
}

#[derive(Clone, Copy, Debug)]
struct Part {
    number: u64,
    bytes: u64,
    /// When its last line was written, by the clock that nobody sets, in seconds; before its beginning it is negative.
    last: i64,
    /// The same of its first line.
    first: i64,
}

impl Log {
    /// Goes on with the log in this directory, or begins one. What a process could not write to its end is cut off.
    ///
    /// # Errors
    /// When the directory cannot be made or read, or its files not be written.
    pub fn open(directory: &Path, limits: Limits, now: Now) -> Result<Self, LogError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            |error| LogError { path, error }
        };
        fs::create_dir_all(directory).map_err(failed(directory))?;
        let mut files = VecDeque::new();
        for (number, path) in parts(directory).map_err(failed(directory))? {
            let about = fs::metadata(&path).map_err(failed(&path))?;
            // A file of the future is as good as new: the clock was set.
            let written = about.modified().ok().and_then(|time| Timestamp::try_from(time).ok());
            let age = written.map_or(0, |written| (now.wall.as_second() - written.as_second()).max(0));
            let last = seconds(now.running) - age;
            files.push_back(Part { number, bytes: about.len(), last, first: last });
        }
        let mut log = Self { directory: directory.to_owned(), limits, files, open: None };
        if let Some(part) = log.files.back().copied() {
            let path = log.path(part.number);
            let bytes = whole_lines(&path).map_err(failed(&path))?;
            log.files.back_mut().into_iter().for_each(|part| part.bytes = bytes);
        }
        log.forget(now).map_err(failed(directory))?;
        Ok(log)
    }

    /// Appends whole lines.
    ///
    /// # Errors
    /// When the disk does not take them; nothing of them is there then.
    pub fn write(&mut self, lines: &[u8], now: Now) -> Result<(), LogError> {
        if lines.is_empty() {
            return Ok(());
        }
        let old = seconds(self.limits.age) / FILES as i64;
        let full = |part: &Part| {
            part.bytes > 0
                && (part.bytes + lines.len() as u64 > self.most_of_one()
                    || seconds(now.running) - part.first > old)
        };
        let number = match self.files.back() {
            Some(part) if !full(part) => part.number,
            part => {
                let number = part.map_or(0, |part| part.number + 1);
                let first = seconds(now.running);
                self.files.push_back(Part { number, bytes: 0, last: first, first });
                self.open = None;
                number
            }
        };
        let path = self.path(number);
        let failed = |error| LogError { path: path.clone(), error };
        self.append(&path, lines, now).map_err(failed)?;
        self.forget(now).map_err(failed)
    }

    fn append(&mut self, path: &Path, lines: &[u8], now: Now) -> io::Result<()> {
        let file = match self.open.take() {
            Some(file) => file,
            None => OpenOptions::new().create(true).append(true).mode(0o600).open(path)?,
        };
        let Some(part) = self.files.back_mut() else { return Ok(()) };
        match (&file).write_all(lines) {
            Ok(()) => {
                part.bytes += lines.len() as u64;
                part.last = seconds(now.running);
                self.open = Some(file);
                Ok(())
            }
            Err(error) => {
                // A reader must not meet half of them.
                let _ = file.set_len(part.bytes);
                Err(error)
            }
        }
    }

    /// Removes what is too old or too much. The file that is written stays.
    fn forget(&mut self, now: Now) -> io::Result<()> {
        while let Some(part) = self.files.front().copied().filter(|_| self.files.len() > 1) {
            let old = seconds(now.running) - part.last > seconds(self.limits.age);
            if !old && self.bytes() <= self.limits.size.max(LEAST) {
                break;
            }
            match fs::remove_file(self.path(part.number)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => drop(self.files.pop_front()),
            }
        }
        Ok(())
    }

    /// Bytes of the log.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|part| part.bytes).sum()
    }

    fn most_of_one(&self) -> u64 {
        (self.limits.size / FILES).max(LEAST)
    }

    fn path(&self, number: u64) -> PathBuf {
        self.directory.join(format!("{number:012}{SUFFIX}"))
    }
}

/// Removes a log, and its directory if nothing else is in it.
///
/// # Errors
/// When a file cannot be removed.
pub fn remove(directory: &Path) -> io::Result<()> {
    let found = match parts(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    for (_, path) in found {
        fs::remove_file(path)?;
    }
    let _ = fs::remove_dir(directory);
    Ok(())
}

/// The log's files in their order.
pub(crate) fn parts(directory: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some(number) = name.strip_suffix(SUFFIX).and_then(|number| number.parse().ok()) {
            found.push((number, path));
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

/// Cuts off what comes after the last end of a line. Returns what is left, in bytes.
fn whole_lines(path: &Path) -> io::Result<u64> {
    const STEP: u64 = 4096;
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut end = file.metadata()?.len();
    let mut buffer = Vec::new();
    while end > 0 {
        let from = end.saturating_sub(STEP);
        file.seek(SeekFrom::Start(from))?;
        buffer.clear();
        Read::by_ref(&mut file).take(end - from).read_to_end(&mut buffer)?;
        if let Some(at) = buffer.iter().rposition(|byte| *byte == b'\n') {
            end = from + at as u64 + 1;
            break;
        }
        end = from;
    }
    file.set_len(end)?;
    Ok(end)
}

#[cfg(test)]
mod tests;

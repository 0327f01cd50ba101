//! The file of a copy: a head, then a line for each change, the last of an object being the one that counts. So nobody
//! has to keep in memory what is in the file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use egret_api::{Kind, ObjectKey};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Lines;
use crate::decode::key_of;

/// With this many lines more than twice the objects, the file is written anew without what counts no more.
const SPARE: usize = 1000;

/// The file of a copy, being written.
pub(crate) struct Journal {
    path: PathBuf,
    head: Value,
    /// Absent: nothing could be written yet.
    file: Option<File>,
    /// Length in bytes up to which all lines are whole.
    length: u64,
    /// Lines after the head.
    lines: usize,
    /// It stands at its path: whoever starts reads it.
    counts: bool,
    /// Another process wrote it, and may still do so while this one begins: it is not written to.
    others: bool,
}

/// The file of a copy, being read, each change in its order.
pub(crate) struct Reader {
    journal: Journal,
    lines: BufReader<File>,
    text: String,
}

impl Reader {
    /// Opens the file at `path`; `None`: there is none.
    ///
    /// # Errors
    /// When it cannot be read, or its head is another.
    pub(crate) fn open(path: &Path, head: &Value) -> io::Result<Option<Reader>> {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let lines = BufReader::new(file.try_clone()?);
        let journal =
            Journal { file: Some(file), counts: true, others: true, ..Journal::new(path, head.clone()) };
        let mut reader = Reader { journal, lines, text: String::new() };
        match reader.line()? {
            Some(there) if there == *head => Ok(Some(reader)),
            _ => Err(io::Error::other("it is of another node or another version")),
        }
    }

    /// The next change; an object that is gone has no value. A line that was cut off by a crash is left out, as it would
    /// be if the crash had been earlier.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn next(&mut self) -> io::Result<Option<(ObjectKey, Option<Value>)>> {
        while let Some(value) = self.line()? {
            self.journal.lines += 1;
            let kind = value["apiVersion"].as_str().zip(value["kind"].as_str());
            if let Some(kind) = kind.and_then(|(version, kind)| Kind::of(version, kind)) {
                let key = key_of(kind, &value);
                return Ok(Some((key, (value["gone"] != Value::Bool(true)).then_some(value))));
            }
        }
        Ok(None)
    }

    /// To be gone on with after what was read.
    pub(crate) fn done(self) -> Journal {
        self.journal
    }

    fn line(&mut self) -> io::Result<Option<Value>> {
        self.text.clear();
        let length = self.lines.read_line(&mut self.text)?;
        let whole = self.text.ends_with('\n').then(|| serde_json::from_str(&self.text).ok()).flatten();
        if whole.is_some() {
            self.journal.length += length as u64;
        }
        Ok(whole)
    }
}

/// What tells whose line it is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    api_version: String,
    kind: String,
    metadata: Metadata,
    #[serde(default)]
    gone: bool,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    namespace: String,
    name: String,
}

fn gone(key: &ObjectKey) -> Value {
    let (version, kind) = (key.kind.api_versions()[0], key.kind.in_manifests());
    let metadata = json!({"namespace": key.namespace, "name": key.name});
    json!({"apiVersion": version, "kind": kind, "metadata": metadata, "gone": true})
}

impl Journal {
    /// One that takes the place of what is at `path` when all is known.
    pub(crate) fn new(path: &Path, head: Value) -> Journal {
        Journal { path: path.to_owned(), head, file: None, length: 0, lines: 0, counts: false, others: false }
    }

    /// It stands at its path.
    pub(crate) fn counts(&self) -> bool {
        self.counts
    }

    /// Adds changes, all or none of them. `live`: how many objects there are; `complete`: what was added makes a copy of
    /// everything, so that it may take the place of an older one.
    ///
    /// # Errors
    /// When the disk does not take them; then they are to be written again.
    pub(crate) fn write(&mut self, changes: &Lines, live: usize, complete: bool) -> io::Result<()> {
        if self.counts && (self.others || !self.stands()) {
            self.tidy()?;
        }
        self.append(changes)?;
        if self.lines > 2 * live + SPARE {
            self.tidy()?;
        }
        if complete && !self.counts {
            self.publish()?;
        }
        Ok(())
    }

    fn draft(&self) -> PathBuf {
        self.path.with_extension("draft")
    }

    fn append(&mut self, changes: &Lines) -> io::Result<()> {
        if self.file.is_none() {
            self.begin()?;
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        // What a write that failed left behind is overwritten.
        file.set_len(self.length)?;
        file.seek(SeekFrom::Start(self.length))?;
        let mut writer = BufWriter::new(&*file);
        let mut length = self.length;
        for (key, text) in changes {
            let line = match text {
                Some(text) => format!("{text}\n"),
                None => format!("{}\n", gone(key)),
            };
            writer.write_all(line.as_bytes())?;
            length += line.len() as u64;
        }
        writer.flush()?;
        drop(writer);
        file.sync_data()?;
        (self.length, self.lines) = (length, self.lines + changes.len());
        Ok(())
    }

    fn begin(&mut self) -> io::Result<()> {
        if let Some(parent) = self.path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let path = self.draft();
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        let head = format!("{}\n", self.head);
        file.write_all(head.as_bytes())?;
        (self.file, self.length, self.lines) = (Some(file), head.len() as u64, 0);
        Ok(())
    }

    /// Writes the file anew, without what counts no more.
    fn tidy(&mut self) -> io::Result<()> {
        let Some(file) = self.file.take() else { return Ok(()) };
        let mut fresh = Journal::new(&self.path, self.head.clone());
        // A draft that is being written keeps its name until the new one has it.
        let tidied = fresh.take_over(&file, self.length);
        self.file = Some(file);
        tidied?;
        let counts = self.counts;
        *self = fresh;
        if counts { self.publish() } else { Ok(()) }
    }

    /// Copies those lines of an older file that count.
    fn take_over(&mut self, file: &File, length: u64) -> io::Result<()> {
        let mut last = BTreeMap::new();
        each_line(file, length, |number, text| {
            if let Some((key, gone)) = whose(text) {
                last.insert(key, (number, gone));
            }
            Ok(())
        })?;
        let counting: BTreeSet<usize> =
            last.into_values().filter(|(_, gone)| !gone).map(|(number, _)| number).collect();
        // Not over the old draft: that may be the file that is read.
        match std::fs::remove_file(self.draft()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => self.begin()?,
        }
        let Some(fresh) = &self.file else { return Ok(()) };
        let mut writer = BufWriter::new(fresh);
        let mut taken = 0;
        each_line(file, length, |number, text| {
            if counting.contains(&number) {
                writer.write_all(text.as_bytes())?;
                taken += text.len() as u64;
            }
            Ok(())
        })?;
        writer.flush()?;
        drop(writer);
        fresh.sync_data()?;
        (self.length, self.lines) = (self.length + taken, counting.len());
        Ok(())
    }

    /// What is written here is what stands at the path: people may have removed it.
    fn stands(&self) -> bool {
        let Some(Ok(own)) = self.file.as_ref().map(File::metadata) else { return false };
        std::fs::metadata(&self.path).is_ok_and(|there| (there.dev(), there.ino()) == (own.dev(), own.ino()))
    }

    fn publish(&mut self) -> io::Result<()> {
        std::fs::rename(self.draft(), &self.path)?;
        self.counts = true;
        Ok(())
    }
}

/// The lines after the head, numbered.
fn each_line(
    mut file: &File,
    length: u64,
    mut look: impl FnMut(usize, &str) -> io::Result<()>,
) -> io::Result<()> {
    file.seek(SeekFrom::Start(0))?;
    let (mut reader, mut text) = (BufReader::new(io::Read::take(file, length)), String::new());
    reader.read_line(&mut text)?;
    for number in 0.. {
        text.clear();
        if reader.read_line(&mut text)? == 0 {
            break;
        }
        look(number, &text)?;
    }
    Ok(())
}

/// Whose line it is, and whether it says that the object is gone.
fn whose(text: &str) -> Option<(ObjectKey, bool)> {
    let Line { api_version, kind, metadata, gone } = serde_json::from_str(text).ok()?;
    let kind = Kind::of(&api_version, &kind)?;
    Some((ObjectKey { kind, namespace: metadata.namespace, name: metadata.name }, gone))
}

#[cfg(test)]
mod tests;

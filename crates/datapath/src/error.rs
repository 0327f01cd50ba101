//! What can fail, and how a person cures it.

use std::io;
use std::path::PathBuf;

/// Why the datapath could not do something.
#[derive(Debug, thiserror::Error)]
pub enum DatapathError {
    /// The directory for pins is no place for pins.
    #[error("--pin-dir {path}: {why}; mount a BPF file system there: mount -t bpf bpf DIR")]
    PinDir {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The object, or a program of it, was refused.
    #[error("the kernel refused {object}: {why}")]
    Load {
        /// The object or program.
        object: String,
        /// The kernel's answer; for a program it includes the verifier's words.
        why: String,
    },
    /// A pinned map has another shape than this version's programs want.
    #[error(
        "{path} was made by another version: {why}; remove the old datapath with `egret agent --uninstall`, \
         or keep the old version"
    )]
    MapShape {
        /// The pin.
        path: PathBuf,
        /// The difference.
        why: String,
    },
    /// A map could not be read or written.
    #[error("map {map}: {why}")]
    Map {
        /// The map.
        map: String,
        /// The kernel's answer.
        why: String,
    },
    /// A program could not be attached.
    #[error("cannot attach {program} to interface {link}: {why}")]
    Attach {
        /// The program.
        program: String,
        /// Index of the interface.
        link: u32,
        /// The kernel's answer.
        why: String,
    },
    /// The overlay device could not be made as it must be.
    #[error("overlay device {device}: {why}")]
    Overlay {
        /// Its name.
        device: String,
        /// What is wrong, and what cures it.
        why: String,
    },
    /// A question to the kernel about links, addresses, routes or neighbours failed.
    #[error("netlink, {what}: {why}")]
    Netlink {
        /// The question.
        what: String,
        /// The kernel's answer.
        why: String,
    },
    /// The guard's rules were refused.
    #[error("guard: {0}")]
    Guard(String),
    /// The programs could not be run by hand.
    #[error("sweep: {0}")]
    Sweep(String),
    /// A file or socket failed.
    #[error("{what}: {source}")]
    Io {
        /// The file or socket.
        what: String,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl DatapathError {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| DatapathError::Io { what, source }
    }

    pub(crate) fn netlink(what: impl Into<String>) -> impl FnOnce(rtnetlink::Error) -> Self {
        let what = what.into();
        move |error| DatapathError::Netlink { what, why: error.to_string() }
    }

    pub(crate) fn map(map: &str, error: impl std::fmt::Display) -> Self {
        DatapathError::Map { map: map.to_owned(), why: error.to_string() }
    }
}

/// The changes that could not be applied; all others are in force.
#[derive(Debug, thiserror::Error)]
#[error("{} of {total} changes failed; the first: {}", failures.len(), failures.first().map_or("", String::as_str))]
pub struct ApplyError {
    /// For each failed change: the map, the entry and why.
    pub failures: Vec<String>,
    /// How many changes were asked for.
    pub total: usize,
}

/// An error with all that is behind it.
pub(crate) fn in_full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let more = inner.to_string();
        // Transparent errors say the same words twice.
        if !text.ends_with(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = inner.source();
    }
    text
}

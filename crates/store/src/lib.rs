//! Where objects come from and records go to: the seam between Egret and the outside of a node's kernel.
//!
//! [`Store`] is the seam. [`Kubernetes`] is a shell around an API server. [`Directory`] is the shell that needs no
//! cluster: a directory of manifests as people have them, with the records and statuses that Egret writes in `.egret`
//! below it. Reading is forgiving where
//! nothing can go wrong by it (several documents in a file, lists, sequences, kinds that are not ours), and
//! where something is broken it names the file, object, field and cure, and keeps what was in force before.

mod accepted;
mod decode;
mod directory;
mod document;
mod kubernetes;
mod manifests;
mod news;
mod noticed;
mod problem;
mod read;
mod records;
mod seam;
mod source;
mod texts;
mod watch;
mod written;

pub use directory::Directory;
pub use document::objects_in;
pub use kubernetes::{Access, Applied, Kubernetes, Reading, Scope, Term, connect};
pub use manifests::read_manifests;
pub use problem::{Problem, StoreError};
pub use records::Files;
pub use seam::{Changes, Event, Progress, Recorder, Snapshot, Store};
pub use source::Source;

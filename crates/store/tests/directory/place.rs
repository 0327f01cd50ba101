//! A directory, and what is written into it.

use std::path::PathBuf;
use std::time::Duration;

use egret_api::{EgressNode, EgressNodeSpec, Object};
use egret_store::{Directory, Snapshot};

/// Sooner than everything is looked at again.
pub const SOON: Duration = Duration::from_secs(7);

/// A directory of its own, removed at the end.
pub struct Place(pub PathBuf);

impl Place {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("egret-store-{name}-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&path));
        Self(path)
    }
    pub fn open(&self) -> Directory {
        Directory::open(&self.0, "test").unwrap()
    }
    pub fn write(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        // Another file each time, as editors do it that write a copy and rename it.
        let temporary = self.0.join(".new");
        std::fs::write(&temporary, text).unwrap();
        std::fs::rename(&temporary, &path).unwrap();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

pub fn only(snapshot: &Snapshot) -> &Object {
    assert_eq!(snapshot.objects.len(), 1, "{:?}", names(snapshot));
    &snapshot.objects[0]
}

pub fn names(snapshot: &Snapshot) -> Vec<String> {
    snapshot.objects.iter().map(|object| object.key().to_string()).collect()
}

pub fn namespace(name: &str) -> String {
    format!("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {name}\n")
}

pub fn policy(name: &str, pool: &str) -> String {
    format!(
        "apiVersion: egret.dev/v1alpha1\nkind: EgressPolicy\nmetadata: {{name: {name}, namespace: prod}}\n\
         spec: {{podSelector: {{}}, {pool}}}\n"
    )
}

pub fn node(name: &str, ready: bool) -> Object {
    Object::EgressNode(Box::new(EgressNode::new(name, EgressNodeSpec { ready, ..EgressNodeSpec::default() })))
}

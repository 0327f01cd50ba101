//! People's manifests in an API server: a text replaces what the text of the same name said before.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use super::ControlPlane;

impl ControlPlane {
    /// Applies a manifest and keeps what it says in a file, to know what to remove later. Returns what is wrong with it.
    ///
    /// # Errors
    /// When the file cannot be written, or an object cannot be removed.
    pub fn apply_manifest(&self, kept: &Path, text: &str) -> Result<Vec<String>> {
        let mut problems = Vec::new();
        let mut objects = Vec::new();
        for object in egret_store::objects_in(text) {
            match object {
                Ok(object) => objects.push(object),
                Err(message) => problems.push(message),
            }
        }
        let before = match fs::read(kept) {
            Ok(text) => serde_json::from_slice(&text).context("what was applied before")?,
            Err(_) => Vec::<Value>::new(),
        };
        // What cannot be read may be what was applied before: it stays.
        let gone: Vec<Value> = match problems.is_empty() {
            true => before.iter().filter(|old| !objects.iter().any(|new| same(old, new))).cloned().collect(),
            false => Vec::new(),
        };
        let known: Vec<&Value> = match problems.is_empty() {
            true => objects.iter().collect(),
            false => before
                .iter()
                .filter(|old| !objects.iter().any(|new| same(old, new)))
                .chain(&objects)
                .collect(),
        };
        if let Some(directory) = kept.parent() {
            fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
        }
        fs::write(kept, serde_json::to_vec(&known)?).with_context(|| kept.display().to_string())?;
        if !objects.is_empty()
            && let Err(refusal) = self.apply(&objects)
        {
            problems.push(format!("{refusal:#}"));
        }
        if !gone.is_empty() {
            self.delete(&gone)?;
        }
        Ok(problems)
    }

    /// Removes what a kept manifest says.
    ///
    /// # Errors
    /// When it cannot be read, or an object cannot be removed.
    pub fn delete_manifest(&self, kept: &Path) -> Result<()> {
        let text = fs::read(kept).with_context(|| kept.display().to_string())?;
        let objects: Vec<Value> = serde_json::from_slice(&text).context("what was applied before")?;
        self.delete(&objects)?;
        fs::remove_file(kept).with_context(|| kept.display().to_string())
    }
}

/// Two texts speak of one object. Versions of a kind are views of one thing.
fn same(one: &Value, other: &Value) -> bool {
    let name = |object: &Value| {
        let word = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let group = word("/apiVersion")
            .and_then(|version| version.split_once('/').map(|(group, _)| group.to_owned()));
        let namespace = word("/metadata/namespace").unwrap_or_else(|| "default".to_owned());
        (group, word("/kind"), namespace, word("/metadata/name"))
    };
    name(one) == name(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_object_is_its_group_kind_namespace_and_name() {
        let of = |version: &str, metadata: Value| json!({"apiVersion": version, "kind": "K", "metadata": metadata});
        let one = of("g/v1", json!({"name": "a"}));
        assert!(same(&one, &of("g/v2", json!({"name": "a", "namespace": "default"}))));
        assert!(!same(&one, &of("h/v1", json!({"name": "a"}))));
        assert!(!same(&one, &of("g/v1", json!({"name": "a", "namespace": "b"}))));
        assert!(!same(&one, &of("g/v1", json!({"name": "b"}))));
    }
}

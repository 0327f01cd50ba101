//! A copy on disk of everything that was read, so that a process can start while no server answers. It also keeps
//! what was in force of objects that are broken now.

use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Weak;
use std::time::{Duration, Instant};

use egret_api::Kind;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::scope::Scope;
use super::shared::Shared;

/// How often it is looked whether the copy is still one.
const LOOK: Duration = Duration::from_secs(1);
/// Writing may take one part in so many of the time: a large cluster's copy must not keep the disk busy.
const SHARE: u32 = 50;
/// Version of the file's form.
const FORM: u64 = 1;

/// Reads a copy; true if there was one.
pub(crate) fn restore(path: &Path, scope: &Scope, shared: &Shared) -> bool {
    match read(path, scope) {
        Ok(Some(objects)) => {
            shared.with(|cache| objects.into_iter().for_each(|(kind, value)| cache.apply(kind, value)));
            true
        }
        Ok(None) => false,
        Err(error) => {
            tracing::warn!(file = %path.display(), "the copy of what the API server said cannot be read: {error}");
            false
        }
    }
}

fn read(path: &Path, scope: &Scope) -> io::Result<Option<Vec<(Kind, Value)>>> {
    let file = match std::fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut lines = BufReader::new(file).lines();
    let head: Value =
        lines.next().transpose()?.map_or(Ok(Value::Null), |line| serde_json::from_str(&line))?;
    if head != self::head(scope) {
        return Err(io::Error::other("it is of another node or another version"));
    }
    let mut objects = Vec::new();
    for line in lines {
        let value: Value = serde_json::from_str(&line?)?;
        let kind = value["apiVersion"].as_str().zip(value["kind"].as_str()).and_then(|(v, k)| Kind::of(v, k));
        objects.extend(kind.map(|kind| (kind, value)));
    }
    Ok(Some(objects))
}

fn head(scope: &Scope) -> Value {
    match scope {
        Scope::Cluster => json!({"form": FORM}),
        Scope::Node(node) => json!({"form": FORM, "node": node}),
    }
}

/// Keeps the copy up to date for as long as the store lives.
pub(crate) async fn keep(path: PathBuf, scope: Scope, shared: Weak<Shared>) {
    let mut written = None;
    let mut complained = false;
    loop {
        sleep(LOOK).await;
        let Some(shared) = shared.upgrade() else { return };
        let lines = shared.with(|cache| {
            // What is not known yet must not take the place of what was.
            let other = cache.is_complete() && written != Some(cache.revision());
            written = if other { Some(cache.revision()) } else { written };
            other.then(|| cache.texts().map(str::to_owned).collect::<Vec<_>>())
        });
        drop(shared);
        let Some(lines) = lines else { continue };
        let begun = Instant::now();
        let (file, head) = (path.clone(), head(&scope));
        let result = tokio::task::spawn_blocking(move || write(&file, &head, &lines)).await;
        match result.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(()) => complained = false,
            Err(error) => {
                written = None;
                if !std::mem::replace(&mut complained, true) {
                    tracing::warn!(file = %path.display(), "no copy of what the API server says is kept: {error}");
                }
            }
        }
        sleep(begun.elapsed() * SHARE).await;
    }
}

fn write(path: &Path, head: &Value, lines: &[String]) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let draft = path.with_extension("draft");
    let mut file = BufWriter::new(std::fs::File::create(&draft)?);
    writeln!(file, "{head}")?;
    for line in lines {
        writeln!(file, "{line}")?;
    }
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_data()?;
    std::fs::rename(&draft, path)
}

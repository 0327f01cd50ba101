//! A cluster without nodes' machines: an API server, the controllers that make pods of workloads, and Node objects.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use egret_lab::kubernetes::Alone;
use serde_json::json;

/// How long anything may take that is waited for.
const SOON: Duration = Duration::from_secs(90);

/// One after the other: each needs half a gigabyte, and two processors to be quick.
static ONE: Mutex<()> = Mutex::new(());

pub struct Cluster {
    pub server: Alone,
    directory: PathBuf,
    _one: MutexGuard<'static, ()>,
}

impl Cluster {
    pub fn start(name: &str) -> Self {
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&directory));
        let mut server = Alone::start(&directory, &[]).unwrap();
        server.start_controllers().unwrap();
        let cluster = Self { server, directory, _one: one };
        for name in ["node-1", "node-2"] {
            let metadata = json!({"name": name, "labels": {"kubernetes.io/os": "linux", "kubernetes.io/hostname": name}});
            cluster.apply(&json!({"apiVersion": "v1", "kind": "Node", "metadata": metadata}).to_string());
        }
        cluster.until("every namespace to have its account", || {
            let accounts = cluster.kubectl(&["get", "serviceaccounts,configmaps", "-A", "-o", "name"]);
            let count = |name: &str| accounts.lines().filter(|line| line.ends_with(name)).count();
            (count("/default") == 4 && count("/kube-root-ca.crt") == 4).then_some(()).ok_or(accounts)
        });
        cluster
    }

    pub fn kubectl(&self, arguments: &[&str]) -> String {
        self.server.kubectl(arguments, "").unwrap()
    }

    pub fn apply(&self, text: &str) {
        self.server.kubectl(&["apply", "--server-side", "-f", "-"], text).unwrap();
    }

    pub fn until<T>(&self, what: &str, attempt: impl Fn() -> Result<T, String>) -> T {
        let deadline = Instant::now() + SOON;
        loop {
            match attempt() {
                Ok(value) => return value,
                Err(last) => assert!(Instant::now() < deadline, "still not: {what}:\n{last}"),
            }
        }
    }

    /// Every object that there is, but for what comes and goes with time: events, and leases of others.
    pub fn objects(&self) -> BTreeSet<String> {
        let resources = self.kubectl(&["api-resources", "--verbs=list", "-o", "name"]);
        let lasting = |name: &&str| !["events", "events.events.k8s.io", "componentstatuses"].contains(name);
        let resources = resources.lines().filter(lasting).collect::<Vec<_>>().join(",");
        let line =
            "{range .items[*]}{.apiVersion} {.kind} {.metadata.namespace}/{.metadata.name}{\"\\n\"}{end}";
        let all =
            self.kubectl(&["get", &resources, "-A", "--ignore-not-found", "-o", &format!("jsonpath={line}")]);
        let others = |line: &&str| !line.contains("Lease kube-");
        all.lines().filter(others).map(str::to_owned).collect()
    }

    /// Waits until there is exactly what there was.
    pub fn until_only(&self, before: &BTreeSet<String>) {
        self.until("only what was there before", || {
            let now = self.server_objects()?;
            let more: Vec<_> = now.difference(before).collect();
            let less: Vec<_> = before.difference(&now).collect();
            match more.is_empty() && less.is_empty() {
                true => Ok(()),
                false => Err(format!("left over: {more:#?}\ngone: {less:#?}")),
            }
        });
    }

    /// A kind may vanish while it is listed.
    fn server_objects(&self) -> Result<BTreeSet<String>, String> {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.objects()))
            .map_err(|_| "the list of kinds changes".to_owned())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.directory));
    }
}

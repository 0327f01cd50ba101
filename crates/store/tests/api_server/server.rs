//! A real API server with its etcd, for one test.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use egret_api::Modes;
use egret_store::{Access, Changes, Kubernetes, Scope, Snapshot, Store};
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};

/// How long anything may take that is waited for.
pub const SOON: Duration = Duration::from_secs(60);

/// Two at a time: each needs half a gigabyte, and most of them wait most of the time.
static TWO: Semaphore = Semaphore::const_new(2);
static COUNT: AtomicU32 = AtomicU32::new(0);

/// A server. It ends with the test, whatever becomes of the test: its standard input is closed then.
pub struct Server {
    directory: PathBuf,
    process: Child,
    _one_of_two: SemaphorePermit<'static>,
}

impl Server {
    pub async fn start(name: &str) -> Self {
        let one_of_two = TWO.acquire().await.unwrap();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("egret-api-{name}-{}-{count}", std::process::id()));
        drop(std::fs::remove_dir_all(&directory));
        let process = spawn(&directory);
        Self { directory, process, _one_of_two: one_of_two }
    }

    /// No goodbye.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// As it was, at the same address.
    pub fn restart(&mut self) {
        self.process = spawn(&self.directory);
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.directory.join("admin.kubeconfig")
    }

    /// A file of this test.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    pub async fn admin(&self) -> Client {
        let file = Kubeconfig::read_from(self.kubeconfig()).unwrap();
        let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.unwrap();
        Client::try_from(config).unwrap()
    }

    /// A client that has nothing but this token.
    pub async fn with_token(&self, token: &str) -> Client {
        let mut file = Kubeconfig::read_from(self.kubeconfig()).unwrap();
        file.auth_infos =
            serde_json::from_value(json!([{"name": "admin", "user": {"token": token}}])).unwrap();
        let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.unwrap();
        Client::try_from(config).unwrap()
    }

    pub async fn store(&self, scope: Scope) -> Reader {
        self.store_with(scope, None).await
    }

    pub async fn store_with(&self, scope: Scope, copy: Option<PathBuf>) -> Reader {
        self.open(scope, copy, Modes::default(), true).await
    }

    /// The store of a controller that is told how far other systems' objects count.
    pub async fn controllers_store(&self, modes: Modes) -> Reader {
        self.open(Scope::Cluster, None, modes, false).await
    }

    /// A store that finds the server by this kubeconfig.
    pub async fn store_by(&self, kubeconfig: PathBuf, scope: Scope) -> Reader {
        self.open_by(kubeconfig, scope, None, Modes::default(), true).await
    }

    async fn open(&self, scope: Scope, copy: Option<PathBuf>, modes: Modes, obeys: bool) -> Reader {
        self.open_by(self.kubeconfig(), scope, copy, modes, obeys).await
    }

    async fn open_by(
        &self,
        kubeconfig: PathBuf,
        scope: Scope,
        copy: Option<PathBuf>,
        modes: Modes,
        obeys: bool,
    ) -> Reader {
        let kubeconfig = Some(kubeconfig);
        let access = Access { kubeconfig, scope, manager: "egret-test", copy, modes, obeys };
        Reader { store: Kubernetes::open(access).await.unwrap(), all: Snapshot::default() }
    }

    /// Applies objects as a person would.
    pub async fn apply(&self, objects: &[Value]) {
        let admin = self.admin().await;
        for object in objects {
            let applied =
                eventually(async || apply(&admin, object, false).await.map_err(|e| e.to_string())).await;
            applied.unwrap_or_else(|error| panic!("{object}: {error}"));
        }
    }

    /// Installs Egret's definitions, but for those of these kinds.
    pub async fn install(&self, without: &[&str]) {
        let crds = egret_api::crds().into_iter().map(|crd| serde_json::to_value(crd).unwrap());
        let crds: Vec<_> =
            crds.filter(|crd| !without.contains(&crd["spec"]["names"]["kind"].as_str().unwrap())).collect();
        self.apply(&crds).await;
        let admin = self.admin().await;
        let api: Api<DynamicObject> = Api::all_with(admin, &resource(&crds[0]));
        for crd in &crds {
            let name = crd["metadata"]["name"].as_str().unwrap();
            let established = eventually(async || {
                let crd = api.get(name).await.map_err(|error| error.to_string())?;
                let conditions = crd.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
                let is = |c: &Value| c["type"] == "Established" && c["status"] == "True";
                if conditions.iter().any(is) { Ok(()) } else { Err(format!("{name}: {conditions:?}")) }
            });
            established.await.unwrap();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
        drop(std::fs::remove_dir_all(&self.directory));
    }
}

fn spawn(directory: &Path) -> Child {
    std::fs::create_dir_all(directory).unwrap();
    let log = std::fs::File::create(directory.join("log")).unwrap();
    let mut process = Command::new(program())
        .args(["apiserver", "--address", "127.0.0.1", "--dir"])
        .arg(directory)
        // Pods are made here before any controller could make service accounts for them.
        .args(["--", "--disable-admission-plugins=ServiceAccount"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .unwrap();
    // Kept open for as long as the process is meant to live.
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let told = || std::fs::read_to_string(directory.join("log")).unwrap_or_default();
    assert!(line.contains("kubeconfig"), "the API server ended:\n{}", told());
    process
}

/// `kubernetes/kube` in the directory that cargo builds in, which is above this program.
fn program() -> PathBuf {
    if let Some(named) = std::env::var_os("EGRET_KUBE") {
        return named.into();
    }
    let own = std::env::current_exe().unwrap();
    let built = own.ancestors().map(|above| above.join("kubernetes/kube")).find(|kube| kube.is_file());
    built.expect("kube is not built: `make kubernetes` builds it, or EGRET_KUBE says where it is")
}

/// A store, and all that it has told.
pub struct Reader {
    pub store: Kubernetes,
    pub all: Snapshot,
}

impl Reader {
    /// Reads until something holds.
    pub async fn until(&mut self, what: &str, holds: impl Fn(&Snapshot) -> bool) {
        let deadline = Instant::now() + SOON;
        while !holds(&self.all) {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(changes) = timeout(left, self.store.changes()).await else {
                panic!("still not: {what}; the store says {:?}, {:?}", self.names(), self.all.problems);
            };
            self.all.update(changes);
        }
    }

    /// The next changes, if there are any in this time.
    pub async fn next(&mut self, within: Duration) -> Option<Changes> {
        timeout(within, self.store.changes()).await.ok()
    }

    pub fn names(&self) -> Vec<String> {
        self.all.objects.iter().map(|object| object.key().to_string()).collect()
    }
}

/// Has this object.
pub fn has(snapshot: &Snapshot, name: &str) -> bool {
    snapshot.objects.iter().any(|object| object.key().to_string() == name)
}

/// Tries until it succeeds: definitions and policies of admission are in force a moment after they are made.
pub async fn eventually<T>(attempt: impl AsyncFn() -> Result<T, String>) -> Result<T, String> {
    let deadline = Instant::now() + SOON;
    loop {
        match attempt().await {
            Err(_) if Instant::now() < deadline => tokio::task::yield_now().await,
            result => return result,
        }
    }
}

/// How the API server knows an object's kind, by how English makes plurals.
pub fn resource(object: &Value) -> ApiResource {
    let (version, kind) = (object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap());
    let (group, v) = version.rsplit_once('/').unwrap_or(("", version));
    let lower = kind.to_lowercase();
    let plural = match (lower.strip_suffix('y'), lower.ends_with('s')) {
        (Some(stem), _) => format!("{stem}ies"),
        (None, true) => format!("{lower}es"),
        (None, false) => format!("{lower}s"),
    };
    ApiResource {
        group: group.to_owned(),
        version: v.to_owned(),
        api_version: version.to_owned(),
        kind: kind.to_owned(),
        plural,
    }
}

/// The API of an object's kind, in its namespace if it has one.
pub fn api(client: &Client, object: &Value) -> Api<DynamicObject> {
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource(object)),
        None => Api::all_with(client.clone(), &resource(object)),
    }
}

/// Applies one object. Its status is written as well, if it has one.
pub async fn apply(client: &Client, object: &Value, dry: bool) -> kube::Result<DynamicObject> {
    let name = object["metadata"]["name"].as_str().unwrap();
    let mut params = PatchParams::apply("a-person").force();
    params.dry_run = dry;
    params.field_validation = Some(kube::api::ValidationDirective::Strict);
    let api = api(client, object);
    let applied = api.patch(name, &params, &Patch::Apply(object)).await?;
    match object.get("status") {
        Some(_) if !dry => api.patch_status(name, &params, &Patch::Apply(object)).await,
        _ => Ok(applied),
    }
}

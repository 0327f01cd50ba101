//! What the API server is told of a pod.

use std::net::IpAddr;
use std::process::ExitStatus;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use std::os::unix::process::ExitStatusExt;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::Kubelet;

/// How soon an API server that does not take it is told again.
const AGAIN: Duration = Duration::from_secs(1);

/// What is told of a pod, and who tells it.
pub struct Report {
    api: Api<Pod>,
    name: String,
    uid: String,
    container: (String, String),
    /// The conditions that others wrote.
    others: Vec<Value>,
    addresses: (Vec<IpAddr>, Vec<IpAddr>),
    begun: String,
    state: Value,
    last: Value,
    restarts: u32,
    ready: bool,
    since: String,
    say: watch::Sender<Value>,
    task: JoinHandle<()>,
}

impl Drop for Report {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Report {
    /// Of a pod that is new here.
    pub(super) fn new(kubelet: &Kubelet, pod: &Pod) -> Report {
        let api: Api<Pod> = Api::namespaced(kubelet.client.clone(), &pod.namespace().unwrap_or_default());
        let container = pod.spec.as_ref().and_then(|spec| spec.containers.first());
        let container = container.map(|c| (c.name.clone(), c.image.clone().unwrap_or_default()));
        let conditions = pod.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
        let others = conditions.into_iter().filter(|condition| condition.type_ == "PodScheduled");
        let (say, told) = watch::channel(Value::Null);
        let task = tokio::spawn(tell(api.clone(), pod.name_any(), told));
        Report {
            api,
            name: pod.name_any(),
            uid: pod.uid().unwrap_or_default(),
            container: container.unwrap_or_default(),
            others: others.filter_map(|condition| serde_json::to_value(condition).ok()).collect(),
            addresses: (kubelet.addresses.clone(), Vec::new()),
            begun: now(),
            state: json!({"waiting": {"reason": "ContainerCreating"}}),
            last: json!({}),
            restarts: 0,
            ready: false,
            since: now(),
            say,
            task,
        }
    }

    /// It has addresses.
    pub fn addresses(&mut self, own: Vec<IpAddr>) {
        self.addresses.1 = own;
    }

    /// Its container does not run yet, or not now.
    pub fn waiting(&mut self, reason: &str, message: &str) {
        self.state = json!({"waiting": {"reason": reason, "message": message}});
        self.turn(false);
    }

    /// Its container runs.
    pub fn running(&mut self) {
        self.state = json!({"running": {"startedAt": now()}});
        self.turn(false);
    }

    /// Its container is ready for work, or is not.
    pub fn ready(&mut self, ready: bool) {
        self.turn(ready);
    }

    /// Its container has ended, and is started again if the pod stays.
    pub fn ended(&mut self, status: Option<ExitStatus>) {
        let code = status.and_then(|status| status.code().or(status.signal().map(|signal| 128 + signal)));
        let started = self.state.pointer("/running/startedAt").cloned().unwrap_or(Value::Null);
        let reason = if code == Some(0) { "Completed" } else { "Error" };
        let code = code.unwrap_or(137);
        self.state = json!({
            "terminated": {"exitCode": code, "reason": reason, "startedAt": started, "finishedAt": now()},
        });
        self.last = self.state.clone();
        self.restarts += 1;
        self.turn(false);
    }

    fn turn(&mut self, ready: bool) {
        if self.ready != ready {
            (self.ready, self.since) = (ready, now());
        }
        self.say.send_replace(self.written());
    }

    fn written(&self) -> Value {
        let ips = |list: &[IpAddr]| list.iter().map(|ip| json!({"ip": ip})).collect::<Vec<_>>();
        let truth = |is: bool| if is { "True" } else { "False" };
        let set_up = !self.addresses.1.is_empty();
        let mut conditions = self.others.clone();
        for (kind, is, since) in [
            ("PodReadyToStartContainers", set_up, &self.begun),
            ("Initialized", true, &self.begun),
            ("ContainersReady", self.ready, &self.since),
            ("Ready", self.ready, &self.since),
        ] {
            conditions.push(json!({"type": kind, "status": truth(is), "lastTransitionTime": since}));
        }
        let running = self.state.get("running").is_some();
        let (name, image) = &self.container;
        json!({"metadata": {"uid": self.uid}, "status": {
            "phase": if running || self.restarts > 0 { "Running" } else { "Pending" },
            "startTime": self.begun,
            "hostIP": self.addresses.0.first(), "hostIPs": ips(&self.addresses.0),
            "podIP": self.addresses.1.first(), "podIPs": ips(&self.addresses.1),
            "conditions": conditions,
            "containerStatuses": [{
                "name": name, "image": image, "imageID": image, "state": self.state, "lastState": self.last,
                "ready": self.ready, "started": running, "restartCount": self.restarts,
            }],
        }})
    }

    /// It is over: the object goes.
    pub async fn over(self) {
        let only = Preconditions { uid: Some(self.uid.clone()), resource_version: None };
        let params = DeleteParams { preconditions: Some(only), ..DeleteParams::default().grace_period(0) };
        while let Err(error) = self.api.delete(&self.name, &params).await {
            if is_gone(&error) {
                return;
            }
            eprintln!("{}: cannot be removed: {error}", self.name);
            sleep(AGAIN).await;
        }
    }
}

/// Writes what is told last, for as long as there is somebody to tell.
async fn tell(api: Api<Pod>, name: String, mut told: watch::Receiver<Value>) {
    while told.changed().await.is_ok() {
        loop {
            let status = told.borrow_and_update().clone();
            match api.patch_status(&name, &PatchParams::default(), &Patch::Merge(&status)).await {
                Ok(_) => break,
                Err(error) if is_gone(&error) => return,
                Err(error) => {
                    eprintln!("{name}: its status cannot be written: {error}");
                    sleep(AGAIN).await;
                }
            }
        }
    }
}

/// The pod is there no more, or is another one.
fn is_gone(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404 || status.code == 409)
}

fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

//! The writing side: server-side apply, one field manager for each program.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use egret_api::{Kind, Object, ObjectKey};
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::backoff::Backoff;
use super::events;
use super::follow::resource;
use super::lease;
use super::pruned::{self, UNDECLARED};
use super::shared::Shared;
use super::words::{code, is_passing, refused};
use crate::StoreError;
use crate::seam::{Event, Progress, Recorder};

/// A write is tried so often before its caller is told.
const ATTEMPTS: u32 = 4;
/// A server that does not answer a write within this is taken for one that does not answer.
pub(crate) const ANSWER: Duration = Duration::from_secs(10);

/// What was to be told of objects, and their versions then.
type Refused = BTreeMap<ObjectKey, (Option<u64>, Value)>;

/// Writes by server-side apply.
#[derive(Clone)]
pub struct Applied {
    client: Client,
    manager: &'static str,
    shared: Arc<Shared>,
    /// What could not be told in annotations because they are somebody else's, and the version of the object then.
    refused: Arc<Mutex<Refused>>,
    events: events::Sender,
}

impl Applied {
    pub(crate) fn new(
        client: Client,
        manager: &'static str,
        shared: Arc<Shared>,
        events: events::Sender,
    ) -> Self {
        Self { client, manager, shared, refused: Arc::default(), events }
    }

    fn refused(&self) -> MutexGuard<'_, Refused> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wrote(&self, key: &ObjectKey, written: Option<DynamicObject>) {
        if let Some(written) = written.and_then(|written| serde_json::to_value(written).ok()) {
            self.shared.with(|cache| cache.wrote(key.kind, written));
        }
    }

    /// Sets annotations, and removes those that this process set before; false if one is somebody else's.
    async fn annotate(&self, key: &ObjectKey, annotations: &Value) -> Result<bool, StoreError> {
        let value = json!({
            "apiVersion": key.kind.api_versions()[0],
            "kind": key.kind.in_manifests(),
            "metadata": {"name": key.name, "annotations": annotations},
        });
        // Not by force: a system that is still there goes on to write them, and would be overwritten for ever.
        let (api, params) = (self.api(key), PatchParams::apply(self.manager));
        let patch = Patch::Apply(&value);
        let attempt = || async {
            match api.patch(&key.name, &params, &patch).await {
                Err(error) if code(&error) == Some(409) => Ok(None),
                written => written.map(Some),
            }
        };
        let Some(written) = self.insist("annotate", key, attempt).await? else { return Ok(true) };
        let ours = written.is_some();
        self.wrote(key, written);
        Ok(ours)
    }

    fn api(&self, key: &ObjectKey) -> Api<DynamicObject> {
        let resource = resource(key.kind, key.kind.api_versions()[0]);
        match key.kind.namespaced() {
            true => Api::namespaced_with(self.client.clone(), &key.namespace, &resource),
            false => Api::all_with(self.client.clone(), &resource),
        }
    }

    /// Tries until the answer is no passing failure.
    async fn insist<T, F: Future<Output = kube::Result<T>>>(
        &self,
        action: &'static str,
        key: &ObjectKey,
        mut attempt: impl FnMut() -> F,
    ) -> Result<Option<T>, StoreError> {
        let mut backoff = Backoff::interrupted();
        for number in 1.. {
            let error = match timeout(ANSWER, attempt()).await {
                Ok(Ok(value)) => return Ok(Some(value)),
                Ok(Err(error)) => error,
                Err(_) => return Err(no_answer(action, key)),
            };
            match code(&error) {
                // The object is gone: nobody can write to it, nobody needs to remove it.
                Some(404) if action != "apply" => return Ok(None),
                // Whoever was quicker is heard first.
                Some(409) => return Err(refused(action, key.to_string(), &error)),
                _ if number < ATTEMPTS && is_passing(&error) => sleep(backoff.next()).await,
                _ => return Err(refused(action, key.to_string(), &error)),
            }
        }
        Ok(None)
    }
}

fn no_answer(action: &'static str, key: &ObjectKey) -> StoreError {
    StoreError::Api {
        action,
        object: key.to_string(),
        words: format!("no answer for {} s", ANSWER.as_secs()),
        cure: "it is tried again",
    }
}

impl Recorder for Applied {
    async fn write_record(&self, object: &Object) -> Result<(), StoreError> {
        let key = object.key();
        let mut value =
            object.encode().map_err(|source| StoreError::Encode { object: key.to_string(), source })?;
        value["metadata"] = json!({"name": key.name});
        // Records of addresses have one writer at a time; one that was replaced without noticing must not win.
        if key.kind == Kind::EgressAddress
            && let Some(version) = self.shared.with(|cache| cache.version(&key))
        {
            value["metadata"]["resourceVersion"] = version.to_string().into();
        }
        let (api, params) = (self.api(&key), PatchParams::apply(self.manager).force());
        let mut lacking = None;
        let written = loop {
            let patch = Patch::Apply(&value);
            match self.insist("apply", &key, || api.patch(&key.name, &params, &patch)).await {
                // It names one at a time.
                Err(StoreError::Api { words, .. }) if words.contains(UNDECLARED) => {
                    let taken = pruned::take_out(&mut value, &words);
                    let none = taken.is_none();
                    lacking = lacking.or(taken);
                    if none {
                        return Err(StoreError::Api {
                            action: "apply",
                            object: key.to_string(),
                            words,
                            cure: "install the definitions: `egret crds | kubectl apply --server-side -f -`",
                        });
                    }
                }
                written => break written?,
            }
        };
        if let Some(kept) = written.as_ref().and_then(|written| written.data.get("spec")) {
            let problem = lacking
                .map(|field| pruned::unkept(key.kind, field))
                .or_else(|| pruned::problem(key.kind, &value["spec"], kept));
            if self.shared.with(|cache| cache.outdated(key.kind, problem.clone(), kept)) {
                tracing::warn!("{}", problem.map(|problem| problem.to_string()).unwrap_or_default());
            }
        }
        self.wrote(&key, written);
        Ok(())
    }

    async fn delete_record(&self, key: &ObjectKey) -> Result<(), StoreError> {
        let (api, params) = (self.api(key), DeleteParams::default());
        self.insist("delete", key, || api.delete(&key.name, &params)).await?;
        self.shared.with(|cache| cache.deleted(key));
        Ok(())
    }

    async fn write_status(&self, key: &ObjectKey, status: &Value) -> Result<(), StoreError> {
        let version = || self.shared.with(|cache| cache.version(key));
        if self.refused().get(key).is_some_and(|(at, told)| *at == version() && told == status) {
            return Ok(());
        }
        if key.kind == Kind::Service && version().is_none() {
            // It is gone; a server takes the status of a Service that it does not know for a new Service.
            return Ok(());
        }
        let mut own = status.clone();
        let annotations = own.as_object_mut().and_then(|own| own.remove("annotations"));
        let value = json!({
            "apiVersion": key.kind.api_versions()[0],
            "kind": key.kind.in_manifests(),
            "metadata": {"name": key.name},
            "status": own,
        });
        let (api, params) = (self.api(key), PatchParams::apply(self.manager).force());
        let patch = Patch::Apply(&value);
        let written =
            self.insist("write the status of", key, || api.patch_status(&key.name, &params, &patch)).await?;
        let gone = written.is_none();
        self.wrote(key, written);
        if key.kind != Kind::Service || gone {
            return Ok(());
        }
        match self.annotate(key, &annotations.unwrap_or_else(|| json!({}))).await? {
            true => drop(self.refused().remove(key)),
            false => {
                tracing::info!(object = %key, "its annotations are another system's, and are left to it");
                self.refused().insert(key.clone(), (version(), status.clone()));
            }
        }
        Ok(())
    }

    async fn delete_status(&self, key: &ObjectKey) -> Result<(), StoreError> {
        match key.kind {
            // What is not applied any more goes.
            Kind::Service => self.write_status(key, &json!({})).await,
            // It went with its object.
            _ => Ok(()),
        }
    }

    fn tell(&self, event: Event) {
        // There is more to tell than anybody would read.
        drop(self.events.try_send(event));
    }

    async fn write_progress(&self, progress: &Progress) -> Result<(), StoreError> {
        lease::write_progress(&self.client, progress).await
    }
}

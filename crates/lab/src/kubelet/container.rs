//! What a container is started with: the pod's own words, with the node's values in them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, Container, EnvVar, Pod};
use kube::{Api, ResourceExt};
use serde::{Deserialize, Serialize};

use super::Kubelet;

/// What a container may do unless its `securityContext` says otherwise, as container runtimes have it.
const USUAL: [&str; 14] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// A container, ready to be started.
#[derive(Serialize, Deserialize, Clone, Debug)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    /// An empty directory, on which the container's root is mounted.
    pub root: PathBuf,
    /// The program that the image `egret` has; `None`: the image is the machine.
    pub program: Option<PathBuf>,
    /// The command line; empty: nothing runs.
    pub command: Vec<String>,
    /// The environment, and nothing else of this process's.
    pub environment: BTreeMap<String, String>,
    /// What is mounted where, in this order.
    pub mounts: Vec<Mount>,
    /// The user and group that it runs as.
    pub user: (i64, i64),
    /// Capabilities, without `CAP_`.
    pub capabilities: Vec<String>,
    /// It may get privileges by what it executes.
    pub escalates: bool,
    /// Its root cannot be written.
    pub read_only: bool,
}

/// A place of the node in a container.
#[derive(Serialize, Deserialize, Clone, Debug)]
#[serde(rename_all = "camelCase")]
pub struct Mount {
    /// On this machine.
    pub source: PathBuf,
    /// In the container.
    pub target: PathBuf,
    /// It cannot be written there.
    pub read_only: bool,
}

/// The only container of a pod.
///
/// # Errors
/// When there are more.
pub fn only(pod: &Pod) -> Result<&Container> {
    let spec = pod.spec.as_ref().context("a pod without spec")?;
    let first = spec.init_containers.as_ref().is_some_and(|list| !list.is_empty());
    ensure!(!first, "initContainers: the lab's kubelet has none; leave them out");
    match spec.containers.as_slice() {
        [container] => Ok(container),
        more => bail!("containers: {}; the lab's kubelet runs pods of one", more.len()),
    }
}

impl Kubelet {
    /// What the pod's container is started with.
    ///
    /// # Errors
    /// What of the pod cannot be had here.
    pub(super) async fn spec_of(
        &self,
        pod: &Pod,
        address: &str,
        root: PathBuf,
        volumes: &BTreeMap<String, PathBuf>,
    ) -> Result<Spec> {
        let container = only(pod)?;
        let image = container.image.as_deref().unwrap_or_default();
        let name = image.split([':', '@']).next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
        let program = match name {
            "egret" => Some(std::env::current_exe().context("the path of this program")?),
            "lab" => None,
            _ => bail!("image: {image}; the lab has two images: egret, and lab, which is this machine"),
        };
        let environment = self.environment(pod, container, address).await?;
        let expand = |words: &Option<Vec<String>>| -> Vec<String> {
            words.iter().flatten().map(|word| expanded(word, &environment)).collect()
        };
        let mut command = expand(&container.command);
        if command.is_empty() && program.is_some() {
            command.push(super::runtime::PROGRAM.to_owned());
        }
        command.extend(expand(&container.args));
        let mut mounts = Vec::new();
        for mount in container.volume_mounts.iter().flatten() {
            let source = volumes.get(&mount.name).with_context(|| format!("volume {}: none", mount.name))?;
            mounts.push(Mount {
                source: source.clone(),
                target: mount.mount_path.clone().into(),
                read_only: mount.read_only.unwrap_or_default(),
            });
        }
        let of_pod = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
        let own = container.security_context.as_ref();
        ensure!(
            !own.and_then(|own| own.privileged).unwrap_or_default(),
            "privileged: the lab's kubelet has no such containers; add capabilities"
        );
        let of = |own: Option<i64>, of_pod: Option<i64>| own.or(of_pod).unwrap_or_default();
        let user = of(own.and_then(|own| own.run_as_user), of_pod.and_then(|pod| pod.run_as_user));
        let group = of(own.and_then(|own| own.run_as_group), of_pod.and_then(|pod| pod.run_as_group));
        let not_root = own.and_then(|own| own.run_as_non_root).or(of_pod.and_then(|pod| pod.run_as_non_root));
        ensure!(user != 0 || not_root != Some(true), "runAsNonRoot: the container would run as root");
        let capabilities = own.and_then(|own| own.capabilities.clone()).unwrap_or_default();
        Ok(Spec {
            root,
            program,
            command,
            environment,
            mounts,
            user: (user, group),
            capabilities: granted(
                &capabilities.drop.unwrap_or_default(),
                capabilities.add.unwrap_or_default(),
            ),
            escalates: own.and_then(|own| own.allow_privilege_escalation).unwrap_or(true),
            read_only: own.and_then(|own| own.read_only_root_filesystem).unwrap_or_default(),
        })
    }

    async fn environment(
        &self,
        pod: &Pod,
        container: &Container,
        address: &str,
    ) -> Result<BTreeMap<String, String>> {
        let (host, port) = self.server.clone();
        let mut made: BTreeMap<String, String> = [
            ("KUBERNETES_SERVICE_HOST".to_owned(), host),
            ("KUBERNETES_SERVICE_PORT".to_owned(), port),
            ("PATH".to_owned(), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
        ]
        .into();
        for variable in container.env.iter().flatten() {
            if let Some(value) = self.value(pod, variable, address, &made).await? {
                made.insert(variable.name.clone(), value);
            }
        }
        Ok(made)
    }

    async fn value(
        &self,
        pod: &Pod,
        variable: &EnvVar,
        address: &str,
        before: &BTreeMap<String, String>,
    ) -> Result<Option<String>> {
        let Some(from) = &variable.value_from else {
            return Ok(Some(expanded(variable.value.as_deref().unwrap_or_default(), before)));
        };
        if let Some(field) = &from.field_ref {
            return self.field(pod, &field.field_path, address).map(Some);
        }
        let Some(reference) = &from.config_map_key_ref else {
            bail!("env {}: the lab's kubelet knows fieldRef and configMapKeyRef", variable.name);
        };
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &pod.namespace().unwrap_or_default());
        let map = api.get_opt(&reference.name).await.with_context(|| reference.name.clone())?;
        let value = map.and_then(|map| map.data?.remove(&reference.key));
        if value.is_none() && !reference.optional.unwrap_or_default() {
            bail!("env {}: ConfigMap {} has no key {}", variable.name, reference.name, reference.key);
        }
        Ok(value)
    }

    /// The downward API's fields.
    pub(super) fn field(&self, pod: &Pod, path: &str, address: &str) -> Result<String> {
        Ok(match path {
            "spec.nodeName" => self.node.clone(),
            "metadata.name" => pod.name_any(),
            "metadata.namespace" => pod.namespace().unwrap_or_default(),
            "metadata.uid" => pod.uid().unwrap_or_default(),
            "status.podIP" => address.to_owned(),
            "status.hostIP" => self.addresses.first().map(ToString::to_string).unwrap_or_default(),
            _ => bail!("fieldPath {path}: the lab's kubelet does not know it"),
        })
    }
}

/// The capabilities that are left of the usual ones, and those that are added.
fn granted(dropped: &[String], added: Vec<String>) -> Vec<String> {
    let usual = USUAL.iter().filter(|name| !dropped.iter().any(|d| d == "ALL" || d == *name));
    let mut granted: Vec<String> = usual.map(|name| (*name).to_owned()).collect();
    granted.extend(added);
    granted.sort();
    granted.dedup();
    granted
}

/// `$(NAME)` is the value of NAME if there is one, and `$$` a dollar.
fn expanded(text: &str, values: &BTreeMap<String, String>) -> String {
    let (mut made, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once('$') {
        made += before;
        let named = after.strip_prefix('(').and_then(|name| name.split_once(')'));
        rest = match (after.strip_prefix('$'), named) {
            (Some(after), _) => {
                made.push('$');
                after
            }
            (None, Some((name, after))) if values.contains_key(name) => {
                made += &values[name];
                after
            }
            _ => {
                made.push('$');
                after
            }
        };
    }
    made + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_put_where_their_names_are() {
        let values = [("NODE".to_owned(), "node-1".to_owned())].into();
        for (text, made) in [
            ("--node=$(NODE)", "--node=node-1"),
            ("$(NODE)$(NODE)", "node-1node-1"),
            ("$(ELSE) $ 5$", "$(ELSE) $ 5$"),
            ("$$(NODE)", "$(NODE)"),
        ] {
            assert_eq!(expanded(text, &values), made, "{text}");
        }
    }

    #[test]
    fn a_container_has_the_usual_capabilities_unless_they_are_dropped() {
        let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(granted(&words(&["ALL"]), words(&["NET_ADMIN", "BPF"])), ["BPF", "NET_ADMIN"]);
        assert_eq!(granted(&[], Vec::new()), USUAL);
        assert!(!granted(&words(&["NET_RAW"]), Vec::new()).contains(&"NET_RAW".to_owned()));
    }
}

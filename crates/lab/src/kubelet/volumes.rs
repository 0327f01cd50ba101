//! A pod's volumes: places of the node, and files that the API server has the content of.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{
    ConfigMap, HostPathVolumeSource, Pod, ProjectedVolumeSource, ServiceAccount,
    ServiceAccountTokenProjection,
};
use kube::api::PostParams;
use kube::{Api, ResourceExt};

use super::{Kubelet, directory};

/// How long a token is good for unless the pod says so, in seconds.
const LIFE: i64 = 3600;
/// A projected file is looked after this often.
pub const REFRESH: Duration = Duration::from_secs(60);

/// The volumes of a pod.
#[derive(Clone, Debug, Default)]
pub struct Volumes {
    /// Where each is on this machine.
    pub places: BTreeMap<String, PathBuf>,
    /// When the first of its tokens is due to be renewed.
    pub due: Option<tokio::time::Instant>,
}

impl Kubelet {
    /// Makes a pod's volumes, or brings them up to date.
    ///
    /// # Errors
    /// What cannot be had, by the volume's name.
    pub(super) async fn volumes(&self, pod: &Pod, own: &Path, address: &str) -> Result<Volumes> {
        let mut made = Volumes::default();
        for volume in pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()) {
            let place = match (&volume.host_path, &volume.projected) {
                (Some(path), None) => self.place(path),
                (None, Some(projected)) => {
                    let place = own.join("volumes").join(&volume.name);
                    self.project(pod, projected, &place, address, &mut made).await.map(|()| place)
                }
                _ => bail!("volume {}: the lab's kubelet knows hostPath and projected", volume.name),
            };
            made.places
                .insert(volume.name.clone(), place.with_context(|| format!("volume {}", volume.name))?);
        }
        Ok(made)
    }

    /// Where a path of the node is on this machine. A node's BPF file system is its part of the lab's, the settings of its
    /// network are found by its network namespace, and the rest of its disk is a directory of the lab.
    fn place(&self, path: &HostPathVolumeSource) -> Result<PathBuf> {
        let place = match path.path.as_str() {
            "/sys/fs/bpf" => {
                let pins = self.paths.bpf().join(&self.node);
                fs::create_dir_all(&pins).with_context(|| pins.display().to_string())?;
                pins
            }
            "/proc/sys/net" => PathBuf::from("/proc/sys/net"),
            other => directory(&self.paths, &self.node).join("disk").join(other.trim_start_matches('/')),
        };
        match path.type_.as_deref() {
            Some("DirectoryOrCreate") => {
                fs::create_dir_all(&place).with_context(|| place.display().to_string())?
            }
            Some("Directory") => {
                ensure!(place.is_dir(), "hostPath {}: no such directory of the node", path.path)
            }
            other => bail!("hostPath {}: type {other:?}; the lab's kubelet knows directories", path.path),
        }
        Ok(place)
    }

    /// Writes the files of a projected volume: into a new directory, which takes the place of the one before at once.
    async fn project(
        &self,
        pod: &Pod,
        projected: &ProjectedVolumeSource,
        place: &Path,
        address: &str,
        made: &mut Volumes,
    ) -> Result<()> {
        let namespace = pod.namespace().unwrap_or_default();
        let mut files: BTreeMap<String, String> = BTreeMap::new();
        for source in projected.sources.iter().flatten() {
            if let Some(token) = &source.service_account_token {
                files.insert(token.path.clone(), self.token(pod, token, made).await?);
            } else if let Some(map) = &source.config_map {
                let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &namespace);
                let read = api.get(&map.name).await.with_context(|| format!("ConfigMap {}", map.name))?;
                let data = read.data.unwrap_or_default();
                for item in map.items.iter().flatten() {
                    let text = data.get(&item.key);
                    let text =
                        text.with_context(|| format!("ConfigMap {}: no key {}", map.name, item.key))?;
                    files.insert(item.path.clone(), text.clone());
                }
            } else if let Some(downward) = &source.downward_api {
                for item in downward.items.iter().flatten() {
                    let field = item.field_ref.as_ref().context("downwardAPI without fieldRef")?;
                    files.insert(item.path.clone(), self.field(pod, &field.field_path, address)?);
                }
            } else {
                bail!("the lab's kubelet projects tokens, ConfigMaps and the downward API");
            }
        }
        let user = super::container::only(pod)?.security_context.as_ref().and_then(|own| own.run_as_user);
        let of_pod = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref()?.run_as_user);
        put(place, &files, user.or(of_pod).and_then(|user| u32::try_from(user).ok()))
    }

    /// A token that is good for as long as the pod is there, and says which node the pod is on.
    async fn token(
        &self,
        pod: &Pod,
        source: &ServiceAccountTokenProjection,
        made: &mut Volumes,
    ) -> Result<String> {
        let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.clone());
        let account = account.context("serviceAccountName: none")?;
        let api: Api<ServiceAccount> =
            Api::namespaced(self.client.clone(), &pod.namespace().unwrap_or_default());
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: source.audience.iter().cloned().collect(),
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".to_owned()),
                    kind: Some("Pod".to_owned()),
                    name: Some(pod.name_any()),
                    uid: pod.uid(),
                }),
                expiration_seconds: Some(source.expiration_seconds.unwrap_or(LIFE)),
            },
            ..TokenRequest::default()
        };
        let answer = api.create_token_request(&account, &PostParams::default(), &request).await;
        let status = answer.with_context(|| format!("a token of {account}"))?.status.context("no token")?;
        // As kubelet does it: when four fifths of its life are over, or a day.
        let left = status.expiration_timestamp.0.duration_since(jiff::Timestamp::now()).as_secs().max(0);
        let fresh = Duration::from_secs((left.unsigned_abs() * 4 / 5).min(86_400));
        let due = tokio::time::Instant::now() + fresh;
        made.due = Some(made.due.map_or(due, |before| before.min(due)));
        Ok(status.token)
    }
}

/// Puts files into a directory so that who reads sees all of the old or all of the new.
fn put(place: &Path, files: &BTreeMap<String, String>, user: Option<u32>) -> Result<()> {
    let context = || place.display().to_string();
    let stamp = format!("..{}", jiff::Timestamp::now().as_nanosecond());
    let fresh = place.join(&stamp);
    fs::create_dir_all(&fresh).with_context(context)?;
    for (name, text) in files {
        let file = fresh.join(name);
        fs::write(&file, text).with_context(context)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(if user.is_some() { 0o600 } else { 0o644 }))?;
        chown(&file, user, None).with_context(context)?;
    }
    let (data, draft) = (place.join("..data"), place.join("..data_tmp"));
    let before = fs::read_link(&data).ok();
    symlink(&stamp, &draft).with_context(context)?;
    fs::rename(&draft, &data).with_context(context)?;
    for name in files.keys() {
        let link = place.join(name);
        if !link.is_symlink() {
            symlink(Path::new("..data").join(name), &link).with_context(context)?;
        }
    }
    if let Some(before) = before {
        fs::remove_dir_all(place.join(before)).with_context(context)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_replaced_all_at_once_and_none_is_left_over() {
        let place = std::env::temp_dir().join(format!("egret-volume-{}", std::process::id()));
        drop(fs::remove_dir_all(&place));
        for text in ["old", "new"] {
            let files =
                [("token".to_owned(), text.to_owned()), ("namespace".to_owned(), "n".to_owned())].into();
            put(&place, &files, None).unwrap();
            assert_eq!(fs::read_to_string(place.join("token")).unwrap(), text);
        }
        let names = fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(names.count(), 4, "..data, one directory and two links");
        fs::remove_dir_all(&place).unwrap();
    }
}

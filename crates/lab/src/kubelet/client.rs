//! Who a kubelet is to the API server: a node, with the rights that the server's authorizer of nodes gives it.

use std::path::Path;

use anyhow::{Context, Result};
use http::{HeaderValue, Request};
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tower::service_fn;

/// A client that is this node's kubelet: the administrator's, who speaks for it.
///
/// # Errors
/// When the administrator's kubeconfig cannot be read.
pub async fn of(admin: &Path, node: &str) -> Result<Client> {
    let file = Kubeconfig::read_from(admin).with_context(|| admin.display().to_string())?;
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
    let (client, name) = (Client::try_from(config)?, HeaderValue::from_str(&format!("system:node:{node}"))?);
    let service = service_fn(move |mut request: Request<Body>| {
        request.headers_mut().insert("Impersonate-User", name.clone());
        request.headers_mut().insert("Impersonate-Group", HeaderValue::from_static("system:nodes"));
        let client = client.clone();
        async move { client.send(request).await }
    });
    Ok(Client::new(service, "default"))
}

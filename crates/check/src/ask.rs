//! Questions to an API server.

use futures::future::join_all;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SubjectAccessReview,
    SubjectAccessReviewSpec,
};
use kube::api::{ApiResource, DynamicObject, ListParams, PostParams};
use kube::{Api, Client};
use serde_json::Value;

use crate::Right;

/// An answer, or why there is none.
pub type Answer<T> = Result<T, String>;

/// How an API server knows a kind: group, version and resource.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resource<'a>(pub &'a str, pub &'a str, pub &'a str);

pub(crate) const DEFINITIONS: Resource = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions");
pub(crate) const NODES: Resource = Resource("", "v1", "nodes");
pub(crate) const PODS: Resource = Resource("", "v1", "pods");
pub(crate) const DAEMON_SETS: Resource = Resource("apps", "v1", "daemonsets");
pub(crate) const DEPLOYMENTS: Resource = Resource("apps", "v1", "deployments");
pub(crate) const LEASES: Resource = Resource("coordination.k8s.io", "v1", "leases");

/// Every object of a resource, in one namespace or in all. A resource that is not served has none.
pub(crate) async fn list(
    client: &Client,
    resource: Resource<'_>,
    namespace: Option<&str>,
) -> Answer<Vec<Value>> {
    let Resource(group, version, plural) = resource;
    let api_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    let known = ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version,
        // The server does not look at it.
        kind: String::new(),
        plural: plural.to_owned(),
    };
    let api: Api<DynamicObject> = match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &known),
        None => Api::all_with(client.clone(), &known),
    };
    match api.list(&ListParams::default()).await {
        Ok(list) => list.items.into_iter().map(|item| serde_json::to_value(item).map_err(words)).collect(),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(Vec::new()),
        Err(error) => Err(words(error)),
    }
}

pub(crate) fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Who is asked about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Who<'a> {
    /// Who asks.
    Myself,
    /// The right's service account in this namespace.
    Account(&'a str),
}

/// A right, and whether it is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    /// The right.
    pub right: Right,
    /// It is held; or why that cannot be told.
    pub held: Answer<bool>,
}

/// Asks the server's authorizers about each right, all at the same time.
pub(crate) async fn permissions(
    client: &Client,
    who: Who<'_>,
    rights: impl IntoIterator<Item = Right>,
) -> Vec<Permission> {
    let ask = async |right: Right| Permission { held: may(client, who, &right).await, right };
    join_all(rights.into_iter().map(ask)).await
}

async fn may(client: &Client, who: Who<'_>, right: &Right) -> Answer<bool> {
    let filled = |word: &str| (!word.is_empty()).then(|| word.to_owned());
    let resource_attributes = Some(ResourceAttributes {
        group: filled(&right.group),
        resource: filled(&right.resource),
        subresource: filled(&right.subresource),
        namespace: filled(&right.namespace),
        name: filled(&right.name),
        verb: filled(&right.verb),
        ..ResourceAttributes::default()
    });
    let params = PostParams::default();
    let status = match who {
        Who::Myself => {
            let spec = SelfSubjectAccessReviewSpec { resource_attributes, ..Default::default() };
            let review = SelfSubjectAccessReview { spec, ..Default::default() };
            Api::all(client.clone()).create(&params, &review).await.map_err(words)?.status
        }
        Who::Account(namespace) => {
            let spec = SubjectAccessReviewSpec {
                resource_attributes,
                user: Some(format!("system:serviceaccount:{namespace}:{}", right.account)),
                groups: Some(vec![
                    "system:serviceaccounts".to_owned(),
                    format!("system:serviceaccounts:{namespace}"),
                    "system:authenticated".to_owned(),
                ]),
                ..Default::default()
            };
            let review = SubjectAccessReview { spec, ..Default::default() };
            Api::all(client.clone()).create(&params, &review).await.map_err(words)?.status
        }
    };
    status.map(|status| status.allowed).ok_or_else(|| "the server gave no verdict".to_owned())
}

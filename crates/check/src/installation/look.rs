//! Asks the API server.

use egret_api::Kind;
use futures::future::join_all;
use kube::Client;
use serde_json::Value;

use super::Facts;
use crate::ask::{
    Answer, DAEMON_SETS, DEFINITIONS, DEPLOYMENTS, LEASES, NODES, PODS, Resource, Who, list, permissions,
    words,
};
use crate::{Right, rights, text};

const ADMISSION: &str = "admissionregistration.k8s.io";

/// What was installed, and where.
#[derive(Clone, Copy, Debug)]
pub struct Installation<'a> {
    /// The namespace of Egret's own pods.
    pub namespace: &'a str,
    /// Every object that an installation brings, in its usual namespace.
    pub objects: &'a [Value],
    /// The version of the program that asks.
    pub version: &'a str,
}

/// Looks at an installation.
pub async fn look(client: &Client, installation: Installation<'_>, expected: Vec<Value>) -> Facts {
    let Installation { namespace, objects, version } = installation;
    let policies = |kind: &str| kind.starts_with("ValidatingAdmissionPolicy");
    let in_namespace = |right: Right| match right.namespace.is_empty() {
        true => right,
        false => Right { namespace: namespace.to_owned(), ..right },
    };
    let here = Some(namespace);
    Facts {
        namespace: namespace.to_owned(),
        own_version: version.to_owned(),
        version: client.apiserver_version().await.map(|info| info.git_version).map_err(words),
        expected,
        definitions: list(client, DEFINITIONS, None).await,
        permissions: permissions(
            client,
            Who::Account(namespace),
            rights(objects).into_iter().map(in_namespace),
        )
        .await,
        expected_policies: objects.iter().filter(|object| policies(text(object, "/kind"))).cloned().collect(),
        policies: both(
            list(client, Resource(ADMISSION, "v1", "validatingadmissionpolicies"), None).await,
            list(client, Resource(ADMISSION, "v1", "validatingadmissionpolicybindings"), None).await,
        ),
        nodes: list(client, NODES, None).await,
        workloads: both(list(client, DEPLOYMENTS, here).await, list(client, DAEMON_SETS, here).await),
        leases: list(client, LEASES, here).await,
        pods: list(client, PODS, here).await,
        records: of_kind(client, Kind::EgressNode).await,
        addresses: of_kind(client, Kind::EgressAddress).await,
        objects: people(client).await,
    }
}

fn both(one: Answer<Vec<Value>>, other: Answer<Vec<Value>>) -> Answer<Vec<Value>> {
    Ok([one?, other?].concat())
}

async fn of_kind(client: &Client, kind: Kind) -> Answer<Vec<Value>> {
    let (group, version) = kind.api_versions()[0].split_once('/').unwrap_or(("", kind.api_versions()[0]));
    list(client, Resource(group, version, &kind.plural()), None).await
}

/// The objects of every kind whose status says whether they are in force.
async fn people(client: &Client) -> Answer<Vec<(String, Value)>> {
    let told = |kind: &&Kind| {
        !matches!(
            kind,
            Kind::Namespace
                | Kind::Node
                | Kind::Pod
                | Kind::EgressAddress
                | Kind::EgressNode
                | Kind::EgressDialect
        )
    };
    let of = async |kind: &Kind| {
        let objects = of_kind(client, *kind).await?;
        Ok(objects.into_iter().map(|object| (kind.as_str().to_owned(), object)).collect::<Vec<_>>())
    };
    let all: Answer<Vec<Vec<_>>> =
        join_all(Kind::ALL.iter().filter(told).map(of)).await.into_iter().collect();
    Ok(all?.concat())
}

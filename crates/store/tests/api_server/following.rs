//! What is read, and goes on being read whatever happens to the server.

use std::time::Duration;

use egret_store::Scope;
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};

use crate::server::{Server, api, eventually, has};

fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

fn policy(name: &str, pool: &str) -> Value {
    json!({
        "apiVersion": "egret.dev/v1alpha1", "kind": "EgressPolicy",
        "metadata": {"name": name, "namespace": "default"}, "spec": {"podSelector": {}, "pool": pool},
    })
}

fn pod(name: &str, node: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"},
        "spec": {"nodeName": node, "containers": [{"name": "main", "image": "none"}]},
        "status": {"phase": "Running", "podIPs": [{"ip": "10.244.1.2"}], "podIP": "10.244.1.2"},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_reads_the_pods_of_its_node_and_both_know_that_they_agree() {
    let server = Server::start("scope").await;
    server.install(&[]).await;
    server.apply(&[policy("web", "pool"), pod("here", "node-1"), pod("there", "node-2")]).await;
    let mut agent = server.store(Scope::Node("node-1".into())).await;
    let mut all = server.store(Scope::Cluster).await;
    all.until("both pods", |s| has(s, "Pod default/here") && has(s, "Pod default/there")).await;
    agent.until("its pod", |s| has(s, "Pod default/here") && has(s, "EgressPolicy default/web")).await;
    assert!(!has(&agent.all, "Pod default/there"), "{:?}", agent.names());
    assert_eq!(agent.all.objects_digest, all.store.objects_digest_at("node-1"));
    assert_ne!(agent.all.objects_digest, all.store.objects_digest_at("node-2"));
    let mut finished = pod("here", "node-1");
    finished["status"]["phase"] = "Succeeded".into();
    server.apply(&[finished]).await;
    agent.until("the pod to be nobody's business", |s| !has(s, "Pod default/here")).await;
    all.until("the same", |s| !has(s, "Pod default/here")).await;
    assert_eq!(agent.all.objects_digest, all.store.objects_digest_at("node-1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_takes_nothing_away_and_is_caught_up_with() {
    let mut server = Server::start("killed").await;
    server.install(&[]).await;
    server.apply(&[policy("stays", "pool"), policy("goes", "pool"), policy("changes", "pool")]).await;
    let mut store = server.store(Scope::Cluster).await;
    store.until("three policies", |s| has(s, "EgressPolicy default/goes")).await;
    let before = store.names();
    server.kill();
    assert!(store.next(Duration::from_secs(4)).await.is_none(), "a server that is away says nothing");
    assert_eq!(store.names(), before);
    server.restart();
    let goes = policy("goes", "pool");
    let admin = server.admin().await;
    let gone = eventually(async || {
        api(&admin, &goes).delete("goes", &DeleteParams::default()).await.map_err(|error| error.to_string())
    });
    gone.await.unwrap();
    server.apply(&[policy("changes", "other"), policy("comes", "pool")]).await;
    store
        .until("what changed", |s| {
            has(s, "EgressPolicy default/comes") && !has(s, "EgressPolicy default/goes")
        })
        .await;
    store
        .until("the policy that changed", |s| {
            s.objects.iter().any(
                |object| matches!(&**object, egret_api::Object::EgressPolicy(p) if p.spec.pool == "other"),
            )
        })
        .await;
    assert!(has(&store.all, "EgressPolicy default/stays"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_without_definition_is_told_and_picked_up_when_it_is_there() {
    let server = Server::start("missing").await;
    server.install(&["Egress", "ExternalIPPool"]).await;
    server.apply(&[policy("web", "pool")]).await;
    let mut store = server.store(Scope::Cluster).await;
    store.until("what there is", |s| has(s, "EgressPolicy default/web")).await;
    let told: Vec<_> = store.all.problems.iter().map(ToString::to_string).collect();
    assert!(
        told.iter()
            .any(|words| words.contains("does not serve crd.antrea.io/v1beta1")
                && words.contains("egret crds")),
        "{told:?}"
    );
    server.install(&[]).await;
    let egress = json!({
        "apiVersion": "crd.antrea.io/v1alpha2", "kind": "Egress", "metadata": {"name": "late"},
        "spec": {"appliedTo": {"podSelector": {}}, "externalIPPool": "p"},
    });
    server.apply(&[egress]).await;
    store.until("the kind to be picked up", |s| has(s, "Egress late") && s.problems.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_object_that_cannot_be_read_harms_no_other() {
    let server = Server::start("undecodable").await;
    server.install(&[]).await;
    // The definition of another version, which takes what this one cannot read.
    let loose = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "egresspolicies.egret.dev"},
        "spec": {"group": "egret.dev", "scope": "Namespaced",
            "names": {"kind": "EgressPolicy", "plural": "egresspolicies", "singular": "egresspolicy", "listKind": "EgressPolicyList"},
            "versions": [{"name": "v1alpha1", "served": true, "storage": true, "schema": {"openAPIV3Schema":
                {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]},
    });
    let admin = server.admin().await;
    let crds = api(&admin, &loose);
    let name = "egresspolicies.egret.dev";
    crds.delete(name, &DeleteParams::default()).await.unwrap();
    let made = eventually(async || {
        let object = serde_json::from_value(loose.clone()).unwrap();
        crds.create(&PostParams::default(), &object).await.map_err(|error| error.to_string())
    });
    made.await.unwrap();
    let mut broken = policy("broken", "pool");
    broken["spec"]["destinations"] = json!([{"cidr": 4}]);
    server.apply(&[policy("good", "pool"), broken]).await;
    let mut store = server.store(Scope::Cluster).await;
    store.until("the good one", |s| has(s, "EgressPolicy default/good") && !s.problems.is_empty()).await;
    let told: Vec<_> = store.all.problems.iter().map(ToString::to_string).collect();
    assert!(told[0].starts_with("EgressPolicy default/broken: spec.destinations[0].cidr: "), "{told:?}");
    assert!(!has(&store.all, "EgressPolicy default/broken"));
    // What becomes unreadable stays as it was.
    let mut worse = policy("good", "pool");
    worse["spec"]["pool"] = json!(["a"]);
    server.apply(&[worse, policy("later", "pool")]).await;
    store.until("the later one", |s| has(s, "EgressPolicy default/later") && s.problems.len() == 2).await;
    assert!(has(&store.all, "EgressPolicy default/good"));
    server.apply(&[policy("good", "other"), policy("broken", "pool")]).await;
    store.until("both to be cured", |s| s.problems.is_empty() && has(s, "EgressPolicy default/broken")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_starts_from_its_copy_while_no_server_answers() {
    let mut server = Server::start("copy").await;
    server.install(&[]).await;
    server.apply(&[namespace("prod"), policy("web", "pool"), pod("here", "node-1")]).await;
    let copy = server.file("copy.jsonl");
    let scope = Scope::Node("node-1".into());
    let mut first = server.store_with(scope.clone(), Some(copy.clone())).await;
    first.until("everything", |s| has(s, "EgressPolicy default/web") && has(s, "Pod default/here")).await;
    let kept = eventually(async || match std::fs::read_to_string(&copy) {
        Ok(text) if text.contains(r#""name":"here""#) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    kept.await.unwrap();
    let digest = first.all.objects_digest.clone();
    drop(first);
    server.kill();
    let mut second = server.store_with(scope.clone(), Some(copy.clone())).await;
    second
        .until("what the copy says", |s| has(s, "EgressPolicy default/web") && has(s, "Pod default/here"))
        .await;
    assert_eq!(second.all.objects_digest, digest);
    let told: Vec<_> = second.all.problems.iter().map(ToString::to_string).collect();
    assert!(told.iter().any(|words| words.contains("the copy on disk is in force")), "{told:?}");
    let mut other = server.store_with(Scope::Node("node-2".into()), Some(copy)).await;
    assert!(other.next(Duration::from_secs(5)).await.is_none(), "another node's copy is none");
    server.restart();
    server.apply(&[policy("late", "pool")]).await;
    second
        .until("what the server says now", |s| has(s, "EgressPolicy default/late") && s.problems.is_empty())
        .await;
}

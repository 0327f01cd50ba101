//! What is written, and how often.

use std::time::Duration;

use egret_api::{EgressAddress, EgressAddressSpec, EgressNode, EgressNodeSpec, Kind, Object, ObjectKey};
use egret_store::{Recorder, Scope, Store};
use serde_json::json;

use crate::server::{Server, api, has};

fn record(revision: u64) -> Object {
    let spec: EgressAddressSpec = serde_json::from_value(json!({
        "address": "192.0.2.11", "pool": "EgressPool/pool", "claims": [], "candidates": ["node-4"], "blockSize": 1024,
        "leases": [], "revision": revision,
    }))
    .unwrap();
    Object::EgressAddress(Box::new(EgressAddress::new("192-0-2-11", spec)))
}

fn node(holds: &[&str]) -> Object {
    let holds = holds.iter().map(|address| (*address).to_owned()).collect();
    let programmed = [("192.0.2.11".to_owned(), 3)].into();
    let spec = EgressNodeSpec { holds, programmed, ready: true, ..EgressNodeSpec::default() };
    Object::EgressNode(Box::new(EgressNode::new("node-1", spec)))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_written_again_is_nothing_and_nobody_wakes() {
    let server = Server::start("once").await;
    server.install(&[]).await;
    let mut store = server.store(Scope::Cluster).await;
    store.until("everything to be read", |s| has(s, "Namespace default")).await;
    let recorder = store.store.recorder();
    for object in [record(1), node(&["192.0.2.11"])] {
        recorder.write_record(&object).await.unwrap();
    }
    store.until("both", |s| has(s, "EgressAddress 192-0-2-11") && has(s, "EgressNode node-1")).await;
    let admin = server.admin().await;
    let of = json!({"apiVersion": "egret.dev/v1alpha1", "kind": "EgressNode", "metadata": {}});
    let nodes = api(&admin, &of);
    let first = nodes.get("node-1").await.unwrap();
    while store.next(Duration::from_secs(1)).await.is_some() {}
    for _ in 0..3 {
        recorder.write_record(&node(&["192.0.2.11"])).await.unwrap();
        recorder.write_record(&record(1)).await.unwrap();
    }
    assert!(store.next(Duration::from_secs(2)).await.is_none(), "nothing changed");
    let again = nodes.get("node-1").await.unwrap();
    assert_eq!(again.metadata.resource_version, first.metadata.resource_version);
    let owners: Vec<_> =
        again.metadata.managed_fields.unwrap().into_iter().map(|field| field.manager.unwrap()).collect();
    assert_eq!(owners, ["egret-test"]);
    // What is no longer said is gone, also from maps.
    let mut bare = node(&[]);
    if let Object::EgressNode(node) = &mut bare {
        node.spec.programmed.clear();
    }
    recorder.write_record(&bare).await.unwrap();
    let spec = nodes.get("node-1").await.unwrap().data["spec"].clone();
    assert_eq!((&spec["holds"], &spec["programmed"]), (&json!([]), &json!({})));
    recorder.delete_record(&record(1).key()).await.unwrap();
    recorder.delete_record(&record(1).key()).await.unwrap();
    store.until("the record to be gone", |s| !has(s, "EgressAddress 192-0-2-11")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_is_the_controllers_and_the_rest_of_the_object_is_peoples() {
    let server = Server::start("status").await;
    server.install(&[]).await;
    let policy = json!({
        "apiVersion": "egret.dev/v1alpha1", "kind": "EgressPolicy",
        "metadata": {"name": "web", "namespace": "default"}, "spec": {"podSelector": {}, "pool": "pool"},
    });
    server.apply(std::slice::from_ref(&policy)).await;
    let mut store = server.store(Scope::Cluster).await;
    let mut agent = server.store(Scope::Node("node-1".into())).await;
    store.until("the policy", |s| has(s, "EgressPolicy default/web")).await;
    agent.until("the policy", |s| has(s, "EgressPolicy default/web")).await;
    while agent.next(Duration::from_secs(1)).await.is_some() {}
    let key = ObjectKey { kind: Kind::EgressPolicy, namespace: "default".into(), name: "web".into() };
    let status = json!({"address": "192.0.2.11", "conditions": [{
        "type": "Ready", "status": "True", "reason": "Ready", "message": "m", "observedGeneration": 1,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }]});
    let recorder = store.store.recorder();
    recorder.write_status(&key, &status).await.unwrap();
    let written = |s: &egret_store::Snapshot| {
        s.objects.iter().any(|object| matches!(&**object, Object::EgressPolicy(p) if p.status.is_some()))
    };
    store.until("the status", written).await;
    assert!(agent.next(Duration::from_secs(2)).await.is_none(), "an agent has no use for a status");
    let admin = server.admin().await;
    let now = api(&admin, &policy).get("web").await.unwrap();
    assert_eq!(
        (&now.data["status"]["address"], &now.data["spec"]["pool"]),
        (&json!("192.0.2.11"), &json!("pool"))
    );
    assert_eq!(now.metadata.generation, Some(1), "a status is no new generation");
    // One that is gone meanwhile is no failure.
    let gone = ObjectKey { name: "gone".into(), ..key };
    recorder.write_status(&gone, &status).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_service_only_our_conditions_are_written_and_they_go_with_the_annotation() {
    let server = Server::start("service").await;
    server.install(&[]).await;
    let condition = |of: &str| {
        json!({"type": of, "status": "True", "reason": "Ready", "message": "m",
               "lastTransitionTime": "2026-01-01T00:00:00Z"})
    };
    let service = |annotations: serde_json::Value| {
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "sip", "namespace": "default", "annotations": annotations},
            "spec": {"type": "LoadBalancer", "selector": {"app": "sip"}, "ports": [{"port": 5060}]},
            "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.5"}]}, "conditions": [condition("theirs")]},
        })
    };
    let egress = service(json!({"kube-vip.io/egress": "true"}));
    let mut other = service(json!({}));
    other["metadata"]["name"] = "nobodys".into();
    server.apply(&[other, egress.clone()]).await;
    let mut store = server.store(Scope::Cluster).await;
    store.until("the service", |s| has(s, "Service default/sip")).await;
    assert!(!has(&store.all, "Service default/nobodys") && !has(&store.all, "Service default/kubernetes"));

    let key = ObjectKey { kind: Kind::Service, namespace: "default".into(), name: "sip".into() };
    let recorder = store.store.recorder();
    recorder.write_status(&key, &json!({"conditions": [condition("egret.dev/EgressReady")]})).await.unwrap();
    let types = |of: &Object| match of {
        Object::Service(service) => {
            let conditions = service.status.iter().flat_map(|s| s.conditions.iter().flatten());
            conditions.map(|c| c.type_.clone()).collect::<Vec<_>>()
        }
        _ => Vec::new(),
    };
    let told = |s: &egret_store::Snapshot| s.objects.iter().any(|o| types(o) == ["egret.dev/EgressReady"]);
    store.until("our condition, and no other", told).await;
    let admin = server.admin().await;
    let now = api(&admin, &egress).get("sip").await.unwrap();
    assert_eq!(now.data["status"]["conditions"].as_array().map(Vec::len), Some(2), "{:#}", now.data);
    assert_eq!(now.data["status"]["loadBalancer"]["ingress"][0]["ip"], "192.0.2.5");

    server.apply(&[service(json!({}))]).await;
    store.until("the status to be stale", |s| s.stale_statuses.contains(&key)).await;
    recorder.delete_status(&key).await.unwrap();
    store.until("the service to be nobody's", |s| !has(s, "Service default/sip")).await;
    assert!(store.all.stale_statuses.is_empty());
    let now = api(&admin, &egress).get("sip").await.unwrap();
    assert_eq!(now.data["status"]["conditions"][0]["type"], "theirs");
    assert_eq!(now.data["status"]["conditions"].as_array().map(Vec::len), Some(1), "{:#}", now.data);
}

#[test]
fn who_did_not_see_anothers_record_does_not_replace_it() {
    let awake = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    // A process that is stopped now and then: it follows nothing while it is not driven.
    let asleep = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server = awake.block_on(Server::start("conflict"));
    awake.block_on(server.install(&[]));
    let mut quick = awake.block_on(server.store(Scope::Cluster));
    awake.block_on(quick.until("everything to be read", |s| has(s, "Namespace default")));
    awake.block_on(quick.store.recorder().write_record(&record(1))).unwrap();
    let mut late = asleep.block_on(server.store(Scope::Cluster));
    asleep.block_on(late.until("the record", |s| has(s, "EgressAddress 192-0-2-11")));
    awake.block_on(quick.store.recorder().write_record(&record(2))).unwrap();
    let refused = asleep.block_on(late.store.recorder().write_record(&record(9))).unwrap_err().to_string();
    assert!(refused.contains("another process changed it at the same time"), "{refused}");
    asleep.block_on(late.until("what the other one wrote", |s| {
        s.objects.iter().any(|o| matches!(&**o, Object::EgressAddress(record) if record.spec.revision == 2))
    }));
    asleep.block_on(late.store.recorder().write_record(&record(3))).unwrap();
}

//! Records whose definition goes, or is of another version.

use egret_api::{Kind, Modes, Object, ObjectKey};
use egret_store::{Recorder, Scope, Snapshot, Store, StoreError};
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::server::{Server, api, eventually, has};

const ADDRESS: &str = "EgressAddress 192-0-2-9";

fn address(leases: Value) -> Value {
    json!({
        "apiVersion": "egret.dev/v1alpha1", "kind": "EgressAddress", "metadata": {"name": "192-0-2-9"},
        "spec": {"address": "192.0.2.9", "pool": "EgressPool/pool", "claims": [], "candidates": ["node-1"],
                 "blockSize": 1024, "podShare": 4, "leases": leases, "revision": 1},
    })
}

fn leased() -> Value {
    json!([{"node": "node-1", "firstPort": 1024, "revision": 1}])
}

fn node() -> Value {
    json!({"apiVersion": "egret.dev/v1alpha1", "kind": "EgressNode", "metadata": {"name": "node-1"},
           "spec": {"underlay": "192.0.2.200", "ready": true}})
}

fn dialect() -> Value {
    json!({"apiVersion": "egret.dev/v1alpha1", "kind": "EgressDialect", "metadata": {"name": "antrea"},
           "spec": {"mode": "Observe"}})
}

fn object(value: Value) -> Object {
    match value["kind"].as_str().unwrap() {
        "EgressAddress" => Object::EgressAddress(serde_json::from_value(value).unwrap()),
        "EgressNode" => Object::EgressNode(serde_json::from_value(value).unwrap()),
        _ => Object::EgressDialect(serde_json::from_value(value).unwrap()),
    }
}

/// The definition of a kind as this version has it.
fn definition(kind: &str) -> Value {
    let mut crds = egret_api::crds().into_iter().map(|crd| serde_json::to_value(crd).unwrap());
    crds.find(|crd| crd["spec"]["names"]["kind"] == kind).unwrap()
}

fn properties(definition: &mut Value) -> &mut serde_json::Map<String, Value> {
    definition
        .pointer_mut("/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties")
        .and_then(Value::as_object_mut)
        .unwrap()
}

/// What the reader has of the record.
fn share(snapshot: &Snapshot) -> Option<u8> {
    snapshot.objects.iter().find_map(|object| match &**object {
        Object::EgressAddress(record) => Some(record.spec.pod_share),
        _ => None,
    })
}

/// Definitions are in force a moment after they are made.
async fn insist(recorder: &impl Recorder, value: &Value) {
    let object = object(value.clone());
    let written = async || recorder.write_record(&object).await.map_err(|e: StoreError| e.to_string());
    eventually(written).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn records_outlive_their_definitions_until_their_writer_writes_or_removes_them() {
    let server = Server::start("outlive").await;
    server.install(&[]).await;
    server.apply(&[address(leased()), node(), dialect()]).await;
    let names = [ADDRESS, "EgressNode node-1", "EgressDialect antrea"];
    let all = |s: &Snapshot| names.iter().all(|name| has(s, name));
    let mut agent = server.store(Scope::Node("node-1".into())).await;
    let mut controller = server.controllers_store(Modes::default()).await;
    agent.until("the records", all).await;
    controller.until("the records", all).await;
    let digest = agent.all.addresses_digest.clone();

    let admin = server.admin().await;
    let definitions = api(&admin, &definition("EgressAddress"));
    for plural in ["egressaddresses", "egressnodes", "egressdialects"] {
        definitions.delete(&format!("{plural}.egret.dev"), &DeleteParams::default()).await.unwrap();
    }
    let unserved =
        |s: &Snapshot| s.problems.iter().filter(|p| p.message.contains("does not serve")).count() == 3;
    for reader in [&mut agent, &mut controller] {
        reader.until("three records to be lost", |s| s.lost.len() == 3).await;
        reader.until("people to be told", unserved).await;
        assert!(all(&reader.all), "{:?}", reader.names());
        assert_eq!(reader.all.addresses_digest, digest);
    }
    let recorder = controller.store.recorder();
    let refused = recorder.write_record(&object(node())).await.unwrap_err().to_string();
    assert!(refused.contains("install the definitions"), "{refused}");

    server.install(&[]).await;
    for reader in [&mut agent, &mut controller] {
        reader.until("the kinds to be served", |s| s.problems.is_empty()).await;
        assert!(all(&reader.all) && reader.all.lost.len() == 3, "{:?}", reader.all.lost);
    }
    for record in [address(leased()), node(), dialect()] {
        insist(&recorder, &record).await;
    }
    for reader in [&mut agent, &mut controller] {
        reader.until("them to be there again", |s| s.lost.is_empty()).await;
        assert!(all(&reader.all), "{:?}", reader.names());
    }
    let digest = controller.all.addresses_digest.clone();
    agent.until("both to agree", |s| s.addresses_digest == digest).await;
    // Who means it says so first.
    insist(&recorder, &address(json!([]))).await;
    let key = ObjectKey { kind: Kind::EgressAddress, namespace: String::new(), name: "192-0-2-9".into() };
    recorder.delete_record(&key).await.unwrap();
    for reader in [&mut agent, &mut controller] {
        reader.until("it to be gone", |s| !has(s, ADDRESS) && s.lost.is_empty()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_of_other_versions_are_lived_with_and_told() {
    let server = Server::start("skew").await;
    server.install(&["EgressAddress", "EgressPolicy"]).await;
    // One that serves this version no more; and one that is older than this program, and has one version more.
    let mut later = definition("EgressPolicy");
    later["spec"]["versions"][0]["name"] = "v1beta9".into();
    let mut older = definition("EgressAddress");
    for field in ["podShare", "timeouts"] {
        assert!(properties(&mut older).remove(field).is_some());
    }
    let mut second = older["spec"]["versions"][0].clone();
    second["name"] = "v1alpha0".into();
    second["storage"] = false.into();
    older["spec"]["versions"].as_array_mut().unwrap().push(second);
    server.apply(&[later, older]).await;
    let mut store = server.controllers_store(Modes::default()).await;
    let told = |s: &Snapshot, words: &str| s.problems.iter().any(|p| p.to_string().contains(words));
    store
        .until("the start, and what is wrong", |s| {
            has(s, "Namespace default") && told(s, "does not serve egret.dev/v1alpha1")
        })
        .await;

    let recorder = store.store.recorder();
    insist(&recorder, &address(leased())).await;
    store.until("what is not kept to be told", |s| told(s, "does not keep spec.")).await;
    store.until("the record", |s| share(s) == Some(2)).await;
}

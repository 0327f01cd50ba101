//! What a later version of Egret writes into the API server, read and written by this one: nothing of it is lost, and what is
//! not understood is told and harms nothing else.

use egret_api::{EgressNode, EgressNodeSpec, Kind, Modes, Object, ObjectKey};
use egret_store::{Recorder, Scope, Snapshot, Store};
use kube::api::{DynamicObject, Patch, PatchParams};
use serde_json::{Map, Value, json};

use crate::server::{Server, api, eventually, has};

const LATER: &str = "egret-of-a-later-version";

/// A definition as a later version may have it.
fn definition(kind: &str, change: impl Fn(&mut Map<String, Value>)) -> Value {
    let mut crds = egret_api::crds().into_iter().map(|crd| serde_json::to_value(crd).unwrap());
    let mut crd = crds.find(|crd| crd["spec"]["names"]["kind"] == kind).unwrap();
    let place = "/spec/versions/0/schema/openAPIV3Schema/properties";
    change(crd.pointer_mut(place).and_then(Value::as_object_mut).unwrap());
    crd
}

/// A field of the definition's spec, or of its status.
fn add(properties: &mut Map<String, Value>, part: &str, field: &str) {
    properties[part]["properties"][field] =
        json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
}

fn object(kind: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": "egret.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

/// Writes as the later version does.
async fn write(server: &Server, object: &Value, status: Option<Value>) {
    let admin = server.admin().await;
    let (name, api) = (object["metadata"]["name"].as_str().unwrap(), api(&admin, object));
    let params = PatchParams::apply(LATER).force();
    let written = eventually(async || {
        api.patch(name, &params, &Patch::Apply(object)).await.map_err(|error| error.to_string())
    });
    written.await.unwrap();
    if let Some(status) = status {
        let mut told = object.clone();
        told.as_object_mut().unwrap().remove("spec");
        told["status"] = status;
        api.patch_status(name, &params, &Patch::Apply(&told)).await.unwrap();
    }
}

async fn read(server: &Server, object: &Value) -> DynamicObject {
    api(&server.admin().await, object).get(object["metadata"]["name"].as_str().unwrap()).await.unwrap()
}

fn told(snapshot: &Snapshot, object: &str, word: &str) -> bool {
    let is = |problem: &&egret_store::Problem| problem.to_string().contains(object);
    snapshot.problems.iter().filter(is).any(|problem| problem.to_string().contains(word))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_later_version_wrote_is_kept_and_what_is_not_understood_is_told_and_harms_nothing_else() {
    let server = Server::start("later").await;
    server.install(&[]).await;
    server
        .apply(&[
            definition("EgressPool", |properties| {
                add(properties, "spec", "encryption");
                add(properties, "status", "forecast");
                let families =
                    properties["spec"].pointer_mut("/properties/nodeAddress/properties/family/enum");
                families.and_then(Value::as_array_mut).unwrap().push("IPv8".into());
            }),
            definition("EgressAddress", |properties| add(properties, "spec", "shadow")),
            definition("EgressNode", |properties| add(properties, "spec", "temperature")),
        ])
        .await;
    let pool = |name: &str| object("EgressPool", name, json!({"ranges": [{"cidr": "192.0.2.0/28"}]}));
    let record = object(
        "EgressAddress",
        "192-0-2-9",
        json!({"address": "192.0.2.9", "pool": "EgressPool/plain", "claims": [], "candidates": ["node-1"],
               "blockSize": 1024, "leases": [{"node": "node-1", "firstPort": 1024, "revision": 1}], "revision": 1,
               "shadow": {"of": "node-2"}}),
    );
    let node = object(
        "EgressNode",
        "node-1",
        json!({"underlay": "192.0.2.200", "ready": true, "temperature": {"celsius": 40}}),
    );
    let reason = json!({"conditions": [{
        "type": "Ready", "status": "False", "reason": "MoonPhase", "message": "of a later version",
        "lastTransitionTime": "2030-01-01T00:00:00Z", "observedGeneration": 1,
    }], "forecast": {"days": 3}});
    // A condition of its own, that this version has none of.
    let mut own = reason.clone();
    own["conditions"][0]["type"] = "Encrypted".into();
    write(&server, &pool("plain"), Some(own)).await;
    write(&server, &pool("told"), Some(reason)).await;
    write(&server, &record, None).await;
    write(&server, &node, None).await;
    let mut encrypted = pool("encrypted");
    encrypted["spec"]["encryption"] = json!({"cipher": "later"});
    let eight =
        object("EgressPool", "eight", json!({"nodeAddress": {"family": "IPv8"}, "interface": "eth1"}));

    let mut store = server.controllers_store(Modes::default()).await;
    let all = |s: &Snapshot| {
        let names = ["EgressPool plain", "EgressPool told", "EgressAddress 192-0-2-9", "EgressNode node-1"];
        names.iter().all(|name| has(s, name)) && s.problems.is_empty()
    };
    store.until("all that is understood, without a word", all).await;
    write(&server, &encrypted, None).await;
    write(&server, &eight, None).await;
    store
        .until("people to be told what is not understood", |s| {
            told(s, "EgressPool encrypted", "encryption") && told(s, "EgressPool eight", "IPv8")
        })
        .await;
    assert!(
        !has(&store.all, "EgressPool encrypted") && !has(&store.all, "EgressPool eight"),
        "{:?}",
        store.names()
    );
    assert!(
        has(&store.all, "EgressPool plain") && has(&store.all, "EgressNode node-1"),
        "{:?}",
        store.names()
    );

    // What this version writes beside it.
    let recorder = store.store.recorder();
    let key = ObjectKey { kind: Kind::EgressPool, namespace: String::new(), name: "plain".into() };
    let status = json!({"conditions": [{
        "type": "Ready", "status": "True", "reason": "Ready", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1,
    }]});
    recorder.write_status(&key, &status).await.unwrap();
    let spec = EgressNodeSpec { underlay: "192.0.2.201".into(), ready: true, ..EgressNodeSpec::default() };
    recorder.write_record(&Object::EgressNode(Box::new(EgressNode::new("node-1", spec)))).await.unwrap();
    let is = |object: &std::sync::Arc<Object>| match &**object {
        Object::EgressAddress(address) => Some(Object::EgressAddress(address.clone())),
        _ => None,
    };
    let mut ours = store.all.objects.iter().find_map(is).unwrap();
    if let Object::EgressAddress(address) = &mut ours {
        address.spec.revision = 2;
    }
    recorder.write_record(&ours).await.unwrap();

    let written = read(&server, &pool("plain")).await;
    let conditions = written.data["status"]["conditions"].as_array().unwrap().clone();
    let kinds: Vec<_> =
        conditions.iter().map(|c| (c["type"].as_str().unwrap(), c["reason"].as_str().unwrap())).collect();
    assert_eq!(kinds, [("Encrypted", "MoonPhase"), ("Ready", "Ready")], "{}", written.data);
    assert_eq!(written.data["status"]["forecast"]["days"], 3, "{}", written.data);
    let written = read(&server, &node).await;
    assert_eq!(
        (&written.data["spec"]["underlay"], &written.data["spec"]["temperature"]["celsius"]),
        (&json!("192.0.2.201"), &json!(40))
    );
    let written = read(&server, &record).await;
    assert_eq!(
        (&written.data["spec"]["revision"], &written.data["spec"]["shadow"]["of"]),
        (&json!(2), &json!("node-2"))
    );
    // A reason that this version has not is no reason not to write one that it has.
    let key = ObjectKey { name: "told".into(), ..key };
    recorder.write_status(&key, &status).await.unwrap();
    let written = read(&server, &pool("told")).await;
    assert_eq!(written.data["status"]["conditions"][0]["reason"], "Ready");
    assert_eq!(written.data["status"]["forecast"]["days"], 3);

    // An agent that meets an object of which it had an earlier text goes on with that.
    let mut agent = server.store(Scope::Node("node-1".into())).await;
    agent
        .until("what it understands", |s| has(s, "EgressPool plain") && has(s, "EgressAddress 192-0-2-9"))
        .await;
    let mut changed = pool("plain");
    changed["spec"]["encryption"] = json!({"cipher": "later"});
    write(&server, &changed, None).await;
    agent.until("it to be told", |s| told(s, "EgressPool plain", "encryption")).await;
    assert!(has(&agent.all, "EgressPool plain"), "the last text that was understood is in force");
}

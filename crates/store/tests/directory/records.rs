//! What Egret's own processes write.

use std::time::Duration;

use egret_api::{Kind, Object, ObjectKey};
use egret_store::{Progress, Recorder, Store};
use serde_json::json;

use crate::place::{Place, SOON, names, namespace, node, only, policy};

#[test]
fn records_and_statuses_are_read_back() {
    let place = Place::new("records");
    let store = place.open();
    place.write("p.yaml", &policy("a", "pool: one"));
    store.write_record(&node("node-1", true)).unwrap();
    let key = ObjectKey { kind: Kind::EgressPolicy, namespace: "prod".into(), name: "a".into() };
    store.write_status(&key, &json!({"address": "192.0.2.1", "conditions": []})).unwrap();
    for store in [&store, &place.open()] {
        let snapshot = store.snapshot();
        assert_eq!(snapshot.problems, []);
        let [policy, record] = &snapshot.objects[..] else { panic!("{:?}", names(&snapshot)) };
        let Object::EgressPolicy(policy) = &**policy else { panic!("not a policy") };
        assert_eq!(policy.status.as_ref().unwrap().address.as_deref(), Some("192.0.2.1"));
        assert_eq!(**record, node("node-1", true));
    }
    std::fs::rename(place.0.join("p.yaml"), place.0.join("p.off")).unwrap();
    assert_eq!(store.snapshot().stale_statuses, [key.clone()].into());
    std::fs::rename(place.0.join("p.off"), place.0.join("p.yaml")).unwrap();
    assert_eq!(store.snapshot().stale_statuses, [].into());
    assert_eq!(Store::origin(&store, &key).as_deref(), Some("p.yaml"));
    store.delete_status(&key).unwrap();
    store.delete_record(&node("node-1", true).key()).unwrap();
    let snapshot = store.snapshot();
    let Object::EgressPolicy(policy) = only(&snapshot) else { panic!("{:?}", names(&snapshot)) };
    assert_eq!(policy.status, None);
    let left = std::fs::read_dir(place.0.join(".egret/tmp")).unwrap().count();
    assert_eq!(left, 0, "no temporary file stays behind");
}

#[test]
fn a_record_is_a_manifest_of_its_kind() {
    let place = Place::new("record-text");
    let store = place.open();
    store.write_record(&node("n", true)).unwrap();
    let text = std::fs::read_to_string(place.0.join(".egret/records/EgressNode/n.json")).unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), node("n", true).encode().unwrap());
    // Whose a record is is told by its file as well: two files of one name would be each other's end.
    place.write(".egret/records/EgressNode/m.json", &text);
    let snapshot = place.open().snapshot();
    assert_eq!((names(&snapshot), snapshot.problems.len()), (vec!["EgressNode n".to_owned()], 1));
}

#[tokio::test]
async fn a_broken_record_stays_as_it_was() {
    let place = Place::new("broken-record");
    let mut store = place.open();
    store.write_record(&node("n", true)).unwrap();
    store.snapshot();
    place.write(".egret/records/EgressNode/n.json", "{");
    // What others write of records is looked at when the watch has told it.
    let told = tokio::time::timeout(SOON, async {
        while store.snapshot().problems.is_empty() {
            store.changed().await;
        }
    })
    .await;
    let snapshot = store.snapshot();
    assert!(told.is_ok(), "{:?}", names(&snapshot));
    assert_eq!((names(&snapshot), snapshot.problems.len()), (vec!["EgressNode n".to_owned()], 1));
}

#[test]
fn names_cannot_lead_out_of_the_directory() {
    let place = Place::new("names");
    let store = place.open();
    for name in ["../a.yaml", "/tmp/a.yaml", ".egret/a.yaml", "a.txt", ""] {
        assert!(store.write_manifest(name, "").is_err(), "{name}");
    }
    assert!(store.write_record(&node("../../a", true)).is_err());
    store.write_manifest("team/a.yaml", &namespace("x")).unwrap();
    assert_eq!(names(&store.snapshot()), ["Namespace x"]);
    store.remove_manifest("team/a.yaml").unwrap();
    store.remove_manifest("team/a.yaml").unwrap();
    assert!(store.snapshot().objects.is_empty());
}

#[test]
fn a_directory_that_is_gone_changes_nothing() {
    let place = Place::new("gone");
    let store = place.open();
    place.write("a.yaml", &namespace("x"));
    store.snapshot();
    std::fs::remove_dir_all(&place.0).unwrap();
    let snapshot = store.snapshot();
    assert_eq!((names(&snapshot), snapshot.problems.len()), (vec!["Namespace x".to_owned()], 1));
}

#[tokio::test]
async fn changes_wake_and_a_dropped_wait_loses_nothing() {
    let place = Place::new("watch");
    let mut store = place.open();
    let recorder = store.recorder();
    let soon = Duration::from_secs(5);
    place.write("new/a.yaml", &namespace("x"));
    tokio::time::timeout(soon, store.changed()).await.unwrap();
    recorder.write_record(&node("n", false)).await.unwrap();
    // Dropped at its first await, over and over, until the change has come through.
    tokio::time::timeout(soon, async {
        while tokio::time::timeout(Duration::from_millis(1), store.changed()).await.is_err() {}
    })
    .await
    .unwrap();
    let progress = Progress { observed_objects: "a".into(), addresses: "b".into() };
    recorder.write_progress(&progress).await.unwrap();
    tokio::time::timeout(soon, store.changed()).await.unwrap();
    assert_eq!(store.progress(), Some(progress));
}

const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata:\n  name: sip\n  namespace: prod\n  annotations: {kube-vip.io/egress: 'true'}\n\
    spec: {type: LoadBalancer, selector: {app: sip}, ports: [{port: 5060, protocol: UDP, targetPort: 99999999}]}\n\
    status: {loadBalancer: {ingress: [{ip: 192.0.2.7}]}, conditions: [{type: Theirs}]}\n";

#[test]
fn of_a_services_status_only_our_conditions_are_ours() {
    let place = Place::new("service");
    let store = place.open();
    place.write("sip.yaml", SERVICE);
    let key = ObjectKey { kind: Kind::Service, namespace: "prod".into(), name: "sip".into() };
    let told = json!({"type": "egret.dev/EgressReady", "status": "True", "reason": "Ready", "message": "",
        "lastTransitionTime": "2026-01-01T12:00:00Z"});
    store.write_status(&key, &json!({"conditions": [told]})).unwrap();
    // The address changes hands: what somebody else writes is read anew.
    place.write("sip.yaml", &SERVICE.replace("192.0.2.7", "192.0.2.8"));
    let snapshot = store.snapshot();
    assert_eq!(snapshot.problems, []);
    let status = snapshot.objects[0].encode().unwrap()["status"].clone();
    assert_eq!(status, json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.8"}]}, "conditions": [told]}));
    assert!(snapshot.stale_statuses.is_empty());
    place.write("sip.yaml", &SERVICE.replace("'true'", "'false'"));
    assert_eq!(store.snapshot().stale_statuses, [key].into(), "it is no policy any more");
}

//! Records that somebody else removed.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use egret_store::Event;
use serde_json::Value;

use super::*;

/// Notes what is written, and refuses it for as long as its definition is missing.
#[derive(Clone, Default)]
struct Server {
    missing: Arc<AtomicBool>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn ask(&self, what: String) -> Result<(), StoreError> {
        self.asked.lock().unwrap().push(what.clone());
        match self.missing.load(Ordering::Relaxed) {
            true => Err(StoreError::Api {
                action: "apply",
                object: what,
                words: "404".into(),
                cure: "install it",
            }),
            false => Ok(()),
        }
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

impl Recorder for Server {
    async fn write_record(&self, object: &Object) -> Result<(), StoreError> {
        self.ask(match object {
            Object::EgressAddress(record) => {
                format!("{} with {} leases", record.spec.address, record.spec.leases.len())
            }
            other => other.key().to_string(),
        })
    }
    async fn delete_record(&self, key: &ObjectKey) -> Result<(), StoreError> {
        self.ask(format!("no {key}"))
    }
    async fn write_status(&self, _: &ObjectKey, _: &Value) -> Result<(), StoreError> {
        Ok(())
    }
    async fn delete_status(&self, _: &ObjectKey) -> Result<(), StoreError> {
        Ok(())
    }
    fn tell(&self, _: Event) {}
    async fn write_progress(&self, _: &Progress) -> Result<(), StoreError> {
        Ok(())
    }
}

#[tokio::test]
async fn they_are_written_again_as_they_were_as_soon_as_that_is_possible_and_not_all_the_time() {
    let mut place = Place::new("lost");
    for (name, text) in [("pool.yaml", POOL), ("policy.yaml", POLICY), ("cluster.yaml", CLUSTER)] {
        place.store.write_manifest(name, text).unwrap();
    }
    place.store.write_record(&gateway()).unwrap();
    for second in 0..3 {
        place.pass(second).await;
    }
    let [before] = &place.addresses()[..] else { panic!("{:?}", place.addresses()) };
    let whole = format!("192.0.2.8 with {} leases", before.leases.len());
    assert!(!before.leases.is_empty());

    let key = ObjectKey { kind: Kind::EgressAddress, namespace: String::new(), name: "192-0-2-8".into() };
    let antrea = ObjectKey { kind: Kind::EgressDialect, namespace: String::new(), name: "antrea".into() };
    place.controller.take(Changes { lost: [key, antrea.clone()].into(), ..Changes::default() });
    let server = Server::default();
    server.missing.store(true, Ordering::Relaxed);
    let mut pass = async |second: i64| {
        let now = Timestamp::from_second(1_700_000_000 + second).unwrap();
        place.controller.pass(&server, |_| None, now, &place.metrics).await.failed
    };
    for second in 10..70 {
        assert!(pass(second).await, "there is something left to be done");
    }
    let asked = server.asked();
    assert_eq!(asked.iter().filter(|what| **what == whole).count(), 7, "{asked:?}");
    assert_eq!(asked.len(), 14, "{asked:?}");

    server.missing.store(false, Ordering::Relaxed);
    while pass(90).await {}
    assert_eq!(server.asked(), [antrea.to_string(), whole]);
    assert!(!pass(120).await);
    assert_eq!(server.asked(), [""; 0], "what is there again is left alone");
}

#[tokio::test]
async fn one_that_nobody_needs_any_more_is_let_go_in_so_many_words() {
    let mut place = Place::new("let-go");
    for (name, text) in [("pool.yaml", POOL), ("policy.yaml", POLICY), ("cluster.yaml", CLUSTER)] {
        place.store.write_manifest(name, text).unwrap();
    }
    place.store.write_record(&gateway()).unwrap();
    for second in 0..3 {
        place.pass(second).await;
    }
    place.store.remove_manifest("policy.yaml").unwrap();
    // Long after the quarantine of its ports has passed.
    for second in [10, 11, 400, 401] {
        place.pass(second).await;
    }
    assert_eq!(place.addresses(), []);
    let key = ObjectKey { kind: Kind::EgressAddress, namespace: String::new(), name: "192-0-2-8".into() };
    let spec = serde_json::json!({
        "address": "192.0.2.8", "pool": "EgressPool/pool", "claims": [], "candidates": [], "blockSize": 1024,
        "leases": [], "revision": 3,
    });
    let spec = serde_json::from_value(spec).unwrap();
    // Another controller removed it after it had read it; this one took over.
    let record = Arc::new(Object::EgressAddress(Box::new(EgressAddress::new("192-0-2-8", spec))));
    place.controller.take(Changes {
        applied: vec![record],
        lost: [key.clone()].into(),
        ..Changes::default()
    });
    let server = Server::default();
    let now = Timestamp::from_second(1_700_000_500).unwrap();
    place.controller.pass(&server, |_| None, now, &place.metrics).await;
    assert_eq!(server.asked(), [format!("no {key}")]);
}

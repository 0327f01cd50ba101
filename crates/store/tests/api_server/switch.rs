//! Systems that are off are not read, and everybody hears of it.

use egret_api::{Dialect, EgressDialect, EgressDialectSpec, Mode, Modes, Object};
use egret_store::{Recorder, Scope, Store};
use serde_json::{Value, json};

use crate::server::{Reader, Server, has};

fn egress() -> Value {
    json!({
        "apiVersion": "crd.antrea.io/v1beta1", "kind": "Egress", "metadata": {"name": "web"},
        "spec": {"appliedTo": {"podSelector": {}}, "externalIPPool": "pool"},
    })
}

fn said(mode: Mode) -> Object {
    Object::EgressDialect(Box::new(EgressDialect::new("antrea", EgressDialectSpec { mode })))
}

async fn told(reader: &mut Reader, digest: &str) {
    reader.until("the same digest", |s| s.objects_digest == digest).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kinds_of_a_system_that_is_off_are_not_read_by_whoever_obeys_and_come_back() {
    let server = Server::start("switch").await;
    // Whoever does not use Antrea need not install its kinds, and is told nothing of it.
    server.install(&["Egress", "ExternalIPPool"]).await;
    let off = Modes::from_iter([(Dialect::Antrea, Mode::Off), (Dialect::Loxilb, Mode::Off)]);
    let mut controller = server.controllers_store(off.clone()).await;
    controller.until("everything to be read", |s| has(s, "Namespace default")).await;
    assert!(controller.all.problems.is_empty(), "{:?}", controller.all.problems);
    drop(controller);

    server.install(&[]).await;
    server.apply(&[egress()]).await;
    let mut controller = server.controllers_store(off).await;
    controller.until("everything to be read", |s| has(s, "Namespace default")).await;
    assert!(!has(&controller.all, "Egress web"), "{:?}", controller.names());
    let mut agent = server.store(Scope::Node("node-1".into())).await;
    agent.until("the Egress", |s| has(s, "Egress web")).await;
    assert_ne!(agent.all.objects_digest, controller.all.objects_digest, "they read different things");

    let recorder = controller.store.recorder();
    recorder.write_record(&said(Mode::Off)).await.unwrap();
    agent.until("the Egress to be forgotten", |s| !has(s, "Egress web")).await;
    let digest = controller.all.objects_digest.clone();
    told(&mut agent, &digest).await;
    // Who comes later hears of it at once, and who made up its mind is not talked out of it.
    let mut later = server.store(Scope::Cluster).await;
    told(&mut later, &digest).await;
    assert!(!has(&later.all, "Egress web"), "{:?}", later.names());

    recorder.write_record(&said(Mode::Observe)).await.unwrap();
    agent.until("the Egress to be back", |s| has(s, "Egress web")).await;
    assert!(!has(&controller.all, "Egress web"), "{:?}", controller.names());
}

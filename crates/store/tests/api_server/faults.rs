//! A server that is ill: nothing that was read is lost, it is not asked all the time, and all is well soon after.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use egret_api::{EgressNode, EgressNodeSpec, Kind, Object};
use egret_store::{Changes, Recorder, Scope, Store};
use k8s_openapi::api::authentication::v1::TokenRequest;
use kube::Api;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until, timeout};

use crate::proxy::{Asked, Fault, Proxy};
use crate::server::{Reader, Server, eventually, has};

/// How long a fault lasts.
const ILL: Duration = Duration::from_secs(12);
/// By when everything is as it should be after the end of one.
const HEALED: Duration = Duration::from_secs(15);

fn policy(name: &str) -> Value {
    json!({
        "apiVersion": "egret.dev/v1alpha1", "kind": "EgressPolicy",
        "metadata": {"name": name, "namespace": "default"}, "spec": {"podSelector": {}, "pool": "pool"},
    })
}

fn address() -> Value {
    json!({
        "apiVersion": "egret.dev/v1alpha1", "kind": "EgressAddress", "metadata": {"name": "192-0-2-9"},
        "spec": {"address": "192.0.2.9", "pool": "EgressPool/pool", "claims": [], "candidates": ["node-1"],
                 "blockSize": 1024, "leases": [{"node": "node-1", "firstPort": 1024, "revision": 1}], "revision": 1},
    })
}

/// A reader by a proxy of its own.
async fn reader(server: &Server, name: &str, user: Value) -> (Proxy, Reader) {
    let proxy = Proxy::start(&server.kubeconfig()).await;
    let kubeconfig = server.file(name);
    proxy.kubeconfig(&kubeconfig, user);
    let reader = server.store_by(kubeconfig, Scope::Node("node-1".into())).await;
    (proxy, reader)
}

/// Reads on for a while, in which nothing may go.
async fn keeps_all(reader: &mut Reader, until: Instant, what: &str) {
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        let Ok(Changes { deleted, .. }) = timeout(left, reader.store.changes()).await else { return };
        assert!(deleted.is_empty(), "{what}: {deleted:?} went");
    }
}

type Illness = (&'static str, usize, fn(&Asked) -> Option<Fault>);

/// The one that does not end: the versions from before it are known no more.
const GONE: &str = "gone";

/// What happens to whom, and how often each kind may be asked for while it lasts. A server that answers at all is asked
/// for a list and a watch each time.
fn illnesses() -> Vec<Illness> {
    vec![
        ("429", 6, |_| Some(Fault::Refuse(429, Some(5)))),
        ("500", 9, |_| Some(Fault::Refuse(500, None))),
        ("503", 9, |_| Some(Fault::Refuse(503, Some(1)))),
        (GONE, 9, |asked| (asked.watches() && !asked.begins_anew()).then_some(Fault::Refuse(410, None))),
        ("gone-inside", 9, |asked| asked.watches().then_some(Fault::GoneInside)),
        ("ends", 9, |asked| asked.watches().then_some(Fault::End)),
        ("breaks-off", 9, |_| Some(Fault::BreakOff(300))),
        ("slow", 3, |_| Some(Fault::Slow(Duration::from_secs(3)))),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ill_server_takes_nothing_away_is_not_asked_all_the_time_and_is_caught_up_with() {
    let server = Server::start("ill").await;
    server.install(&[]).await;
    let policies: Vec<Value> = (0..20).map(|number| policy(&format!("before-{number}"))).collect();
    server.apply(&policies).await;
    server.apply(&[address()]).await;
    let mut patients = Vec::new();
    for (name, bound, fault) in illnesses() {
        let (proxy, mut reader) = reader(&server, name, json!({})).await;
        reader.until("everything", |s| has(s, "EgressAddress 192-0-2-9") && s.problems.is_empty()).await;
        assert_eq!(reader.names().iter().filter(|name| name.contains("default/before-")).count(), 20);
        patients.push((name, bound, fault, proxy, reader));
    }
    let begun = Instant::now();
    for (_, _, fault, proxy, _) in &patients {
        proxy.faults(*fault);
        proxy.cut();
    }
    let watched = patients.into_iter().map(|(name, bound, _, proxy, mut reader)| async move {
        keeps_all(&mut reader, begun + ILL, name).await;
        (name, bound, proxy, reader)
    });
    let patients = futures::future::join_all(watched).await;
    for (name, bound, proxy, _) in &patients {
        let asked = proxy.since(begun);
        println!("{name}: {} requests in {} s of illness", asked.len(), ILL.as_secs());
        assert!(!asked.is_empty(), "{name}: nobody noticed");
        for path in asked.iter().map(|asked| asked.path.clone()).collect::<BTreeSet<_>>() {
            let count = asked.iter().filter(|asked| asked.path == path).count();
            assert!(count <= *bound, "{name}: {count} requests for {path}");
        }
    }
    server.apply(&[policy("after")]).await;
    let healed = Instant::now();
    patients.iter().filter(|(name, ..)| *name != GONE).for_each(|(_, _, proxy, _)| proxy.heal());
    let caught_up = patients.into_iter().map(|(name, _, proxy, mut reader)| async move {
        reader.until("what came meanwhile", |s| has(s, "EgressPolicy default/after")).await;
        let took = healed.elapsed();
        println!("{name}: caught up after {took:.1?}");
        assert!(took <= HEALED, "{name}: {took:?}");
        assert!(
            has(&reader.all, "EgressAddress 192-0-2-9") && has(&reader.all, "EgressPolicy default/before-7")
        );
        drop(proxy);
    });
    futures::future::join_all(caught_up).await;
}

fn node() -> Object {
    let spec = EgressNodeSpec { underlay: "192.0.2.200".into(), ready: true, ..EgressNodeSpec::default() };
    Object::EgressNode(Box::new(EgressNode::new("node-1", spec)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_waits_for_as_long_as_the_server_asks_and_what_met_another_is_told() {
    let server = Server::start("writes").await;
    server.install(&[]).await;
    let (proxy, store) = reader(&server, "writer", json!({})).await;
    let recorder = store.store.recorder();
    let writes = |asked: &Asked| asked.method == "PATCH";
    for (code, after, requests, least) in [(429, Some(2), 2..=2, 2), (500, None, 2..=4, 0)] {
        let begun = Instant::now();
        let busy = Duration::from_secs(1);
        proxy.faults(move |asked| {
            (asked.method == "PATCH" && begun.elapsed() < busy).then_some(Fault::Refuse(code, after))
        });
        recorder.write_record(&node()).await.unwrap_or_else(|error| panic!("{code}: {error}"));
        assert!(begun.elapsed() >= Duration::from_secs(least), "{code}: {:?}", begun.elapsed());
        let count = proxy.since(begun).into_iter().filter(writes).count();
        assert!(requests.contains(&count), "{code}: {count} writes");
    }
    let begun = Instant::now();
    proxy.faults(|asked| (asked.method == "PATCH").then_some(Fault::Refuse(409, None)));
    let told = recorder.write_record(&node()).await.unwrap_err().to_string();
    assert!(told.contains("EgressNode node-1") && told.contains("another process changed it"), "{told}");
    assert_eq!(proxy.since(begun).into_iter().filter(writes).count(), 1, "who was quicker is heard first");
}

/// A token of a service account that may do everything.
async fn token(server: &Server) -> String {
    let api: Api<k8s_openapi::api::core::v1::ServiceAccount> =
        Api::namespaced(server.admin().await, "default");
    let request = TokenRequest::default();
    let made = eventually(async || {
        let made = api.create_token_request("reader", &kube::api::PostParams::default(), &request).await;
        made.map_err(|error| error.to_string())
    });
    made.await.unwrap().status.unwrap().token
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_accepted_no_more_is_told_and_the_one_that_takes_its_place_is_used_at_once() {
    let server = Server::start("token").await;
    server.install(&[]).await;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "reader", "namespace": "default"}});
    let rights = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "reader"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": "default"}],
    });
    server.apply(&[account, rights, policy("before")]).await;
    let old = token(&server).await;
    let file = server.file("token-file");
    std::fs::write(&file, &old).unwrap();
    let (proxy, mut reader) = reader(&server, "by-token", json!({"tokenFile": file})).await;
    reader.until("everything", |s| has(s, "EgressPolicy default/before") && s.problems.is_empty()).await;

    let begun = Instant::now();
    let (expired, renewed) = (format!("Bearer {old}"), Arc::new(AtomicBool::new(false)));
    let by_new = renewed.clone();
    proxy.faults(move |asked| {
        by_new.fetch_or(asked.token != expired, Ordering::Relaxed);
        (asked.token == expired).then_some(Fault::Refuse(401, None))
    });
    proxy.cut();
    reader
        .until("people to be told", |s| s.problems.iter().any(|p| p.cure.contains("Renew the token")))
        .await;
    assert!(has(&reader.all, "EgressPolicy default/before"), "what is known stays");
    sleep_until(begun + Duration::from_secs(5)).await;
    let asked = proxy.since(begun).len();
    assert!(asked <= 8 * Kind::ALL.len(), "{asked} requests in 5 s with a token that is not accepted");
    assert!(!renewed.load(Ordering::Relaxed));

    std::fs::write(&file, token(&server).await).unwrap();
    let begun = Instant::now();
    server.apply(&[policy("after")]).await;
    reader
        .until("what came meanwhile", |s| has(s, "EgressPolicy default/after") && s.problems.is_empty())
        .await;
    println!("the renewed token was in use after {:.1?}", begun.elapsed());
    assert!(begun.elapsed() <= HEALED && renewed.load(Ordering::Relaxed), "{:?}", begun.elapsed());
}

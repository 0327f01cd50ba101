//! Others who write to the same objects: their values stay, and nobody writes for ever.

use std::time::Duration;

use egret_api::{Kind, ObjectKey};
use egret_store::{Recorder, Scope, Store};
use kube::Client;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::server::{Server, api, has};

const HOST: &str = "kube-vip.io/vipHost";

fn service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "sip", "namespace": "default", "annotations": {"kube-vip.io/egress": "true"}},
        "spec": {"type": "LoadBalancer", "selector": {"app": "sip"}, "ports": [{"port": 5060}]},
    })
}

fn status(host: &str) -> Value {
    json!({
        "conditions": [{"type": "egret.dev/EgressReady", "status": "True", "reason": "Ready", "message": "m",
                        "lastTransitionTime": "2026-01-01T00:00:00Z"}],
        "annotations": {HOST: host, "kube-vip.io/active-endpoint": "10.244.1.10"},
    })
}

/// Requests that changed, or would have changed, a Service so far.
async fn writes(admin: &Client) -> u64 {
    let request = http::Request::get("/metrics").body(Vec::new()).unwrap();
    let text = admin.request_text(request).await.unwrap();
    let own = text.lines().filter(|line| {
        line.starts_with("apiserver_request_total{")
            && line.contains("resource=\"services\"")
            && ["verb=\"APPLY\"", "verb=\"PATCH\"", "verb=\"PUT\""].iter().any(|verb| line.contains(verb))
    });
    own.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).map(|count| count as u64).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn annotations_of_another_system_stay_and_nobody_writes_for_ever() {
    let server = Server::start("rivals").await;
    server.install(&[]).await;
    server.apply(&[service()]).await;
    let admin = server.admin().await;
    let services = api(&admin, &service());
    // The original is still there.
    let own = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "sip", "annotations": {HOST: "node-9"}},
    });
    let of = |manager: &str| PatchParams { field_manager: Some(manager.into()), ..PatchParams::default() };
    let theirs = |patch: Value| {
        let services = services.clone();
        async move { services.patch("sip", &of("kube-vip").force(), &Patch::Apply(patch)).await.unwrap() }
    };
    theirs(own).await;
    let mut store = server.store(Scope::Cluster).await;
    store.until("the service", |s| has(s, "Service default/sip")).await;
    let key = ObjectKey { kind: Kind::Service, namespace: "default".into(), name: "sip".into() };
    let recorder = store.store.recorder();
    recorder.write_status(&key, &status("node-4")).await.unwrap();
    let now = services.get("sip").await.unwrap();
    let annotations = now.metadata.annotations.clone().unwrap();
    assert_eq!(annotations[HOST], "node-9", "theirs stays");
    assert_eq!(now.data["status"]["conditions"][0]["type"], "egret.dev/EgressReady", "ours is told");

    let settled = writes(&admin).await;
    assert!(settled > 0, "the server counts");
    for _ in 0..20 {
        recorder.write_status(&key, &status("node-4")).await.unwrap();
    }
    assert_eq!(writes(&admin).await, settled, "what is refused is not asked for again");

    // The original goes and takes its annotation along.
    theirs(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "sip"}})).await;
    store.next(Duration::from_secs(2)).await;
    recorder.write_status(&key, &status("node-4")).await.unwrap();
    let now = services.get("sip").await.unwrap();
    assert_eq!(now.metadata.annotations.clone().unwrap()[HOST], "node-4");
    let owner = now.metadata.managed_fields.unwrap().into_iter().find(|field| {
        field.fields_v1.as_ref().is_some_and(|fields| fields.0.to_string().contains("vipHost"))
    });
    assert_eq!(owner.unwrap().manager.as_deref(), Some("egret-test"));

    // A repository's manifest says nothing of it, and is applied again and again.
    for _ in 0..3 {
        let again = Patch::Apply(service());
        services.patch("sip", &of("gitops").force(), &again).await.unwrap();
    }
    let annotations = services.get("sip").await.unwrap().metadata.annotations.unwrap();
    assert_eq!((&*annotations[HOST], &*annotations["kube-vip.io/egress"]), ("node-4", "true"));

    // What is told no more goes, and nothing else does.
    recorder.delete_status(&key).await.unwrap();
    let now = services.get("sip").await.unwrap();
    let annotations = now.metadata.annotations.unwrap();
    assert_eq!(annotations.keys().collect::<Vec<_>>(), ["kube-vip.io/egress"]);
    assert!(now.data["status"]["conditions"].as_array().is_none_or(Vec::is_empty), "{:#}", now.data);
    // One that is gone meanwhile is no failure, and is not made anew.
    let gone = ObjectKey { name: "gone".into(), ..key };
    recorder.write_status(&gone, &status("node-4")).await.unwrap();
    assert!(services.get_opt("gone").await.unwrap().is_none());
}

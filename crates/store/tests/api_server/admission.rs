//! What an agent's token may do, and what a stolen one may not.

use std::sync::atomic::{AtomicU32, Ordering};

use egret_api::{EgressNode, EgressNodeSpec, Object};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::server::{Server, api, apply, eventually};

/// The installation, without the definitions.
pub fn installation() -> Vec<Value> {
    let text = include_str!("../../../../deploy/egret.yaml");
    let objects = egret_store::objects_in(text).into_iter().map(Result::unwrap);
    objects.filter(|object| object["kind"] != "CustomResourceDefinition").collect()
}

fn record(name: &str) -> Value {
    Object::EgressNode(Box::new(EgressNode::new(name, EgressNodeSpec::default()))).encode().unwrap()
}

fn agent_pod(node: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": format!("agent-{node}"), "namespace": "egret-system"},
        "spec": {"nodeName": node, "serviceAccountName": "egret-agent", "containers": [{"name": "a", "image": "egret"}]},
    })
}

/// A token as kubelet asks for it, or one that is bound to nothing.
async fn token(admin: &kube::Client, account: &str, pod: Option<&str>) -> String {
    let mut spec = json!({"expirationSeconds": 3600});
    if let Some(pod) = pod {
        spec["boundObjectRef"] = json!({"apiVersion": "v1", "kind": "Pod", "name": pod});
    }
    let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
    let path = format!("/api/v1/namespaces/egret-system/serviceaccounts/{account}/token");
    let request = http::Request::post(path).header("Content-Type", "application/json");
    let made: Value = admin.request(request.body(body.to_string().into_bytes()).unwrap()).await.unwrap();
    made["status"]["token"].as_str().unwrap().to_owned()
}

fn refusal<T: std::fmt::Debug>(result: kube::Result<T>) -> String {
    result.expect_err("it was granted").to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stolen_token_writes_nothing_but_its_own_nodes_record() {
    let server = Server::start("admission").await;
    server.install(&[]).await;
    server.apply(&installation()).await;
    let nodes = ["node-1", "node-2"]
        .map(|name| json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}));
    server.apply(&nodes).await;
    server.apply(&[agent_pod("node-1"), record("node-2")]).await;
    let admin = server.admin().await;
    let agent = server.with_token(&token(&admin, "egret-agent", Some("agent-node-1")).await).await;
    // The policy is in force a moment after it is made.
    let other = eventually(async || match apply(&agent, &record("node-2"), true).await {
        Ok(_) => Err("granted".to_owned()),
        Err(error) => Ok(error.to_string()),
    });
    let other = other.await.unwrap();
    assert!(
        other.contains("EgressNode node-2 is not this agent's to write: its token is bound to node node-1"),
        "{other}"
    );
    apply(&agent, &record("node-1"), false).await.unwrap();
    apply(&agent, &record("node-1"), false).await.unwrap();
    let made_up = refusal(apply(&agent, &record("node-3"), false).await);
    assert!(made_up.contains("node-3 is not this agent's"), "{made_up}");
    let records = api(&agent, &record("x"));
    let deleted = refusal(records.delete("node-2", &DeleteParams::default()).await);
    assert!(deleted.contains("node-2 is not this agent's"), "{deleted}");
    refusal(records.delete_collection(&DeleteParams::default(), &ListParams::default()).await);
    let policy = json!({
        "apiVersion": "egret.dev/v1alpha1", "kind": "EgressPolicy",
        "metadata": {"name": "web", "namespace": "default"}, "spec": {"podSelector": {}, "pool": "pool"},
    });
    refusal(apply(&agent, &policy, false).await);
    let status = Patch::Merge(json!({"status": {"address": "192.0.2.1"}}));
    refusal(api(&agent, &policy).patch_status("web", &PatchParams::default(), &status).await);
    let address = json!({
        "apiVersion": "egret.dev/v1alpha1", "kind": "EgressAddress", "metadata": {"name": "192-0-2-11"},
        "spec": {"address": "192.0.2.11", "pool": "EgressPool/p", "claims": [], "candidates": [], "blockSize": 64, "leases": [], "revision": 1},
    });
    refusal(apply(&agent, &address, false).await);
    let phase = Patch::Merge(json!({"status": {"phase": "Failed"}}));
    refusal(
        api(&agent, &agent_pod("node-1")).patch_status("agent-node-1", &PatchParams::default(), &phase).await,
    );
    let secrets = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": "egret-system"}});
    refusal(api(&agent, &secrets).list(&ListParams::default()).await);
    records.delete("node-1", &DeleteParams::default()).await.unwrap();
    // A token of the same account that no node vouches for.
    let loose = server.with_token(&token(&admin, "egret-agent", None).await).await;
    let loose = refusal(apply(&loose, &record("node-1"), false).await);
    assert!(loose.contains("the token is bound to no node"), "{loose}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_node_the_controller_takes_the_start_up_taint_and_nothing_else() {
    let server = Server::start("taint").await;
    server.install(&[]).await;
    server.apply(&installation()).await;
    let taint = |key: &str| json!({"key": key, "effect": "NoSchedule"});
    let ours = taint("egret.dev/agent-not-ready");
    let node = json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1", "labels": {"zone": "a"}},
        "spec": {"podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24"], "taints": [taint("theirs"), ours]},
    });
    server.apply(std::slice::from_ref(&node)).await;
    let admin = server.admin().await;
    // Admission has added one of its own.
    let before = api(&admin, &node).get("node-1").await.unwrap();
    let all = before.data["spec"]["taints"].as_array().unwrap().clone();
    let others: Vec<Value> = all.iter().filter(|taint| taint["key"] != ours["key"]).cloned().collect();
    assert_eq!(all.len(), others.len() + 1, "{all:?}");
    let controller = server.with_token(&token(&admin, "egret-controller", None).await).await;
    let patch = async |change: &Value| {
        api(&controller, &node).patch("node-1", &PatchParams::default(), &Patch::Merge(change)).await
    };
    // Another change each time: one that was granted is none the next time.
    let count = AtomicU32::new(0);
    let refused = eventually(async || {
        let zone = count.fetch_add(1, Ordering::Relaxed).to_string();
        match patch(&json!({"metadata": {"labels": {"zone": zone}}})).await {
            Ok(_) => Err("granted".to_owned()),
            Err(error) => Ok(error.to_string()),
        }
    });
    let refused = refused.await.unwrap();
    assert!(refused.contains("the controller may change nothing but the taint"), "{refused}");
    let mut more = others.clone();
    more.push(taint("mine"));
    for (change, words) in [
        (json!({"metadata": {"annotations": {"a": "b"}}}), "nothing but the taint"),
        (json!({"metadata": {"finalizers": ["a.b/c"]}}), "nothing but the taint"),
        (json!({"spec": {"unschedulable": true}}), "nothing but the taint"),
        (json!({"spec": {"providerID": "x"}}), "nothing but the taint"),
        (json!({"spec": {"taints": null}}), "and no other"),
        (json!({"spec": {"taints": more}}), "and no other"),
        (json!({"spec": {"taints": others, "unschedulable": true}}), "nothing but the taint"),
    ] {
        let refused = refusal(patch(&change).await);
        assert!(refused.contains(words), "{change}: {refused}");
    }
    refusal(api(&controller, &node).delete("node-1", &DeleteParams::default()).await);
    let status = Patch::Merge(json!({"status": {"phase": "Failed"}}));
    refusal(api(&controller, &node).patch_status("node-1", &PatchParams::default(), &status).await);
    let taken = patch(&json!({"spec": {"taints": others}})).await;
    assert!(taken.is_ok(), "{others:?} of {all:?}: {taken:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_service_the_controller_changes_nothing_but_what_tells_of_it() {
    let server = Server::start("services").await;
    server.install(&[]).await;
    server.apply(&installation()).await;
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "sip", "namespace": "default", "annotations": {"kube-vip.io/egress": "true"}},
        "spec": {"type": "LoadBalancer", "selector": {"app": "sip"}, "ports": [{"port": 5060}]},
    });
    server.apply(std::slice::from_ref(&service)).await;
    let admin = server.admin().await;
    let controller = server.with_token(&token(&admin, "egret-controller", None).await).await;
    let services = api(&controller, &service);
    let patched = async |patch: Value| {
        services
            .patch("sip", &PatchParams::default(), &Patch::Merge(patch))
            .await
            .map(|_| ())
            .map_err(|e| e.to_string())
    };
    // The policy is in force a moment after it is made; till then it is only tried.
    let stolen = eventually(async || {
        let (params, patch) = (
            PatchParams { dry_run: true, ..PatchParams::default() },
            json!({"spec": {"selector": {"app": "thief"}}}),
        );
        match services.patch("sip", &params, &Patch::Merge(patch)).await {
            Ok(_) => Err("granted".to_owned()),
            Err(error) => Ok(error.to_string()),
        }
    });
    let stolen = stolen.await.unwrap();
    assert!(stolen.contains("changes no Service but for annotations that tell of it"), "{stolen}");
    for annotations in
        [json!({"kube-vip.io/egress": "false"}), json!({"a": "b"}), json!({"kube-vip.io/egress": null})]
    {
        let refused = patched(json!({"metadata": {"annotations": annotations}})).await.unwrap_err();
        assert!(refused.contains("writes no annotation of a Service but those that tell of it"), "{refused}");
    }
    patched(json!({"metadata": {"labels": {"a": "b"}}})).await.unwrap_err();
    patched(json!({"metadata": {"annotations": {"kube-vip.io/vipHost": "node-4"}}})).await.unwrap();
    patched(json!({"metadata": {"annotations": {"kube-vip.io/vipHost": null}}})).await.unwrap();
    refusal(services.delete("sip", &DeleteParams::default()).await);
}

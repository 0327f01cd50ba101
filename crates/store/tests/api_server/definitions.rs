//! Egret's definitions, as the API server takes them.

use serde_json::{Value, json};

use crate::server::{Server, api, apply};

fn pool(spec: Value) -> Value {
    json!({"apiVersion": "egret.dev/v1alpha1", "kind": "EgressPool", "metadata": {"name": "pool"}, "spec": spec})
}

fn policy(spec: Value) -> Value {
    let metadata = json!({"name": "web", "namespace": "default"});
    json!({"apiVersion": "egret.dev/v1alpha1", "kind": "EgressPolicy", "metadata": metadata, "spec": spec})
}

fn cluster_policy(spec: Value) -> Value {
    let metadata = json!({"name": "web"});
    json!({"apiVersion": "egret.dev/v1alpha1", "kind": "ClusterEgressPolicy", "metadata": metadata, "spec": spec})
}

fn egress(version: &str, spec: Value) -> Value {
    json!({
        "apiVersion": format!("crd.antrea.io/{version}"), "kind": "Egress", "metadata": {"name": "web"}, "spec": spec,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_refused_with_the_field_and_the_cure() {
    let server = Server::start("definitions").await;
    server.install(&[]).await;
    let admin = server.admin().await;
    let to =
        |destination: Value| policy(json!({"podSelector": {}, "pool": "p", "destinations": [destination]}));
    let ranges = |range: Value| pool(json!({"ranges": [range]}));
    let ports = |ports: Value| pool(json!({"ranges": [{"cidr": "192.0.2.0/28"}], "ports": ports}));
    let operator = json!({"matchExpressions": [{"key": "a", "operator": "Is", "values": ["b"]}]});
    for (object, words) in [
        (
            ranges(json!({"cidr": "192.0.2.0/33"})),
            ["spec.ranges[0].cidr", "write a network like 192.0.2.8/29"],
        ),
        (ranges(json!({"start": "192.0.2.9"})), ["spec.ranges[0]", "write either cidr, or start and end"]),
        (
            ranges(json!({"start": "192.0.2.9", "end": "2001:db8::1"})),
            ["spec.ranges[0]", "write start and end of one family"],
        ),
        (ranges(json!({"start": "192.0.2.9", "end": "x"})), ["spec.ranges[0].end", "write an address"]),
        (pool(json!({"ranges": []})), ["spec.ranges", "at least 1"]),
        (pool(json!({"interface": "eth1"})), ["spec", "write either ranges, or nodeAddress"]),
        (
            pool(json!({"nodeAddress": {}, "interface": "eth1", "ranges": [{"cidr": "192.0.2.0/28"}]})),
            ["spec", "write either ranges, or nodeAddress"],
        ),
        (pool(json!({"nodeAddress": {}})), ["spec", "write its name in interface"]),
        (
            pool(json!({"nodeAddress": {"family": "IPv5"}, "interface": "eth1"})),
            ["spec.nodeAddress.family", "IPv6"],
        ),
        (ports(json!({"blockSize": 1000})), ["spec.ports.blockSize", "write a power of two from 64 to 8192"]),
        (
            ports(json!({"initialBlocks": 8, "maxBlocks": 4})),
            ["spec.ports", "write a maxBlocks that is not below"],
        ),
        (ports(json!({"podShare": 3})), ["spec.ports.podShare", "supported values"]),
        (
            to(json!({"cidr": "everywhere"})),
            ["spec.destinations[0].cidr", "write a network like 192.0.2.8/29"],
        ),
        (
            to(json!({"cidr": "192.0.2.0/24", "except": ["192.0.3.0/24"]})),
            ["spec.destinations[0]", "write networks inside cidr"],
        ),
        (
            to(json!({"cidr": "192.0.2.0/24", "ports": [{"port": 90, "endPort": 80}]})),
            ["spec.destinations[0].ports[0]", "write an endPort that is not below port"],
        ),
        (
            to(json!({"cidr": "192.0.2.0/24", "ports": [{"port": 0}]})),
            ["spec.destinations[0].ports[0].port", "to 1"],
        ),
        (policy(json!({"podSelector": {}, "pool": ""})), ["spec.pool", "at least 1 chars"]),
        (
            policy(json!({"podSelector": {}, "pool": "p", "address": "here"})),
            ["spec.address", "write an address"],
        ),
        (
            policy(json!({"podSelector": operator, "pool": "p"})),
            ["spec.podSelector.matchExpressions[0].operator", "supported values"],
        ),
        (
            policy(json!({"podSelector": {}, "pool": "p", "whenUnavailable": "Hope"})),
            ["whenUnavailable", "Bypass"],
        ),
        (
            cluster_policy(json!({"namespaceSelector": {}, "pool": "p", "adress": "1.2.3.4"})),
            ["spec.adress", "field not declared"],
        ),
        (egress("v1beta1", json!({"egressIP": "192.0.2.9"})), ["spec.appliedTo", "Required"]),
    ] {
        let refused = apply(&admin, &object, true).await.expect_err(&object.to_string()).to_string();
        for word in words {
            assert!(refused.contains(word), "{object}\n{refused}\nlacks {word:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_out_is_filled_in_and_both_versions_of_the_dialect_are_one() {
    let server = Server::start("defaults").await;
    server.install(&[]).await;
    let admin = server.admin().await;
    let made = apply(&admin, &pool(json!({"ranges": [{"cidr": "192.0.2.0/28"}]})), false).await.unwrap();
    assert_eq!(
        made.data["spec"]["ports"],
        json!({"blockSize": 1024, "initialBlocks": 2, "maxBlocks": 32, "podShare": 2})
    );
    assert_eq!(made.data["spec"]["timeouts"]["tcpEstablished"], 7440);
    let made = apply(&admin, &policy(json!({"podSelector": {}, "pool": "pool"})), false).await.unwrap();
    assert_eq!(made.data["spec"]["whenUnavailable"], "Drop");
    let old = egress("v1alpha2", json!({"appliedTo": {"podSelector": {}}, "externalIPPool": "p"}));
    apply(&admin, &old, false).await.unwrap();
    let new = api(&admin, &egress("v1beta1", json!({}))).get("web").await.unwrap();
    assert_eq!(new.data["spec"]["externalIPPool"], "p");
    // A status in a manifest of people's is not taken: it is the controller's.
    let metadata = new.metadata.resource_version;
    assert!(metadata.is_some() && new.data.get("status").is_none());
}

/// What `kubectl get` shows, as the server makes it.
async fn columns(admin: &kube::Client, path: &str) -> Vec<String> {
    let request = http::Request::get(path).header("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
    let table: Value = admin.request(request.body(Vec::new()).unwrap()).await.unwrap();
    let columns = table["columnDefinitions"].as_array().unwrap().iter();
    columns
        .filter(|column| column["priority"] == 0)
        .map(|column| column["name"].as_str().unwrap().to_uppercase())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_glance_tells_what_people_want_to_know() {
    let server = Server::start("columns").await;
    server.install(&[]).await;
    let admin = server.admin().await;
    for (path, expected) in [
        ("/apis/egret.dev/v1alpha1/egresspools", "NAME TOTAL USED READY REASON AGE"),
        ("/apis/egret.dev/v1alpha1/egresspolicies", "NAME POOL EGRESS-ADDRESS READY REASON AGE"),
        ("/apis/egret.dev/v1alpha1/clusteregresspolicies", "NAME POOL EGRESS-ADDRESS READY REASON AGE"),
        ("/apis/egret.dev/v1alpha1/egressaddresses", "NAME ADDRESS POOL CANDIDATES AGE"),
        ("/apis/egret.dev/v1alpha1/egressnodes", "NAME UNDERLAY READY HOLDS WAITING AGE"),
        ("/apis/crd.antrea.io/v1beta1/egresses", "NAME EGRESSIP AGE NODE"),
        ("/apis/crd.antrea.io/v1alpha2/egresses", "NAME EGRESSIP AGE NODE"),
        ("/apis/crd.antrea.io/v1beta1/externalippools", "NAME TOTAL USED AGE"),
        ("/apis/network.deckhouse.io/v1alpha1/egressgateways", "NAME READY MODE"),
        ("/apis/egress.loxilb.io/v1/egresses", "NAME VIP NODE AGE"),
        ("/apis/egret.dev/v1alpha1/egressdialects", "NAME MODE AGE"),
    ] {
        assert_eq!(columns(&admin, path).await.join(" "), expected, "{path}");
    }
    let found: Value = admin
        .request(http::Request::get("/apis/egret.dev/v1alpha1").body(Vec::new()).unwrap())
        .await
        .unwrap();
    for resource in found["resources"].as_array().unwrap() {
        let name = resource["name"].as_str().unwrap();
        if !name.contains('/') {
            assert_eq!(resource["categories"], json!(["egret"]), "{name}");
            assert_eq!(resource["shortNames"].as_array().map(Vec::len), Some(1), "{name}");
        }
    }
}

//! Facts in, findings out.

use serde_json::{Value, json};

use super::super::Facts;
use super::judge;
use crate::ask::Permission;
use crate::{Finding, Right, Verdict};

fn named(kind: &str, name: &str, spec: Value) -> Value {
    json!({"kind": kind, "metadata": {"name": name}, "spec": spec})
}

fn node(name: &str) -> Value {
    let mut node = named("Node", name, json!({}));
    node["status"] = json!({"nodeInfo": {"bootID": "now", "operatingSystem": "linux"}});
    node
}

fn record(name: &str, holds: &[&str]) -> Value {
    named("EgressNode", name, json!({"ready": true, "bootId": "now", "waiting": [], "holds": holds}))
}

fn pod(name: &str, component: &str, node: &str) -> Value {
    let mut pod = named("Pod", name, json!({"nodeName": node}));
    pod["metadata"]["labels"] = json!({
        "app.kubernetes.io/name": "egret", "app.kubernetes.io/component": component, "app.kubernetes.io/version": "0.1.0",
    });
    pod
}

fn policy() -> (String, Value) {
    let mut policy = named("EgressPolicy", "web", json!({}));
    policy["metadata"]["namespace"] = "prod".into();
    policy["status"] = json!({"conditions": [
        {"type": "Ready", "status": "True", "reason": "Ready"},
        {"type": "Outranked", "status": "False", "reason": "Outranked"},
    ]});
    ("EgressPolicy".to_owned(), policy)
}

fn permission(account: &str, resource: &str, verb: &str) -> Permission {
    let [namespace, subresource, name] = [(); 3].map(|()| String::new());
    let (group, resource) = ("egret.dev".to_owned(), resource.to_owned());
    let right = Right {
        account: account.to_owned(),
        namespace,
        group,
        resource,
        subresource,
        name,
        verb: verb.to_owned(),
    };
    Permission { right, held: Ok(true) }
}

fn admission() -> Vec<Value> {
    let validations = json!({"validations": [{"expression": "variables.node == variables.name"}]});
    let bound = json!({"policyName": "egret-agent-own-node", "validationActions": ["Deny"]});
    let name = "egret-agent-own-node";
    vec![
        named("ValidatingAdmissionPolicy", name, validations),
        named("ValidatingAdmissionPolicyBinding", name, bound),
        named("ValidatingAdmissionPolicy", "egret-controller-startup-taint", json!({"validations": []})),
    ]
}

fn deployment(arguments: &[&str]) -> Value {
    let container = json!({"name": "controller", "args": arguments});
    let spec = json!({"replicas": 2, "template": {"spec": {"containers": [container]}}});
    let mut deployment = named("Deployment", "egret-controller", spec);
    deployment["status"] = json!({"readyReplicas": 2});
    deployment
}

/// An installation that is as it must be.
fn sound() -> Facts {
    let address = json!({"address": "192.0.2.11", "candidates": ["b"]});
    let own = json!({"address": "198.51.100.2", "candidates": ["b"], "nodeAddress": true});
    Facts {
        namespace: "egret-system".to_owned(),
        own_version: "0.1.0".to_owned(),
        version: Ok("v1.33.1".to_owned()),
        expected: Vec::new(),
        definitions: Ok(Vec::new()),
        permissions: vec![
            permission("egret-agent", "egressnodes", "patch"),
            permission("egret-controller", "egressaddresses", "delete"),
        ],
        expected_policies: admission(),
        policies: Ok(admission()),
        nodes: Ok(vec![node("a"), node("b")]),
        workloads: Ok(vec![deployment(&["controller", "--remove-startup-taint"])]),
        leases: Ok(vec![named("Lease", "egret-controller", json!({"holderIdentity": "one"}))]),
        pods: Ok(vec![
            pod("agent-a", "agent", "a"),
            pod("agent-b", "agent", "b"),
            pod("c", "controller", "a"),
        ]),
        records: Ok(vec![record("a", &[]), record("b", &["192.0.2.11"])]),
        addresses: Ok(vec![
            named("EgressAddress", "192-0-2-11", address),
            named("EgressAddress", "own", own),
        ]),
        objects: Ok(vec![policy()]),
    }
}

#[test]
fn of_an_installation_as_it_must_be_nothing_is_to_be_mended() {
    let findings = judge(&sound());
    let bad: Vec<&Finding> = findings.iter().filter(|finding| finding.verdict != Verdict::Ok).collect();
    assert!(bad.is_empty(), "{bad:#?}");
    let looked: Vec<&str> = findings.iter().map(|finding| finding.looked_at.as_str()).collect();
    let all = [
        "API server",
        "definitions",
        "permissions of egret-agent",
        "permissions of egret-controller",
        "admission policies",
        "controller",
        "versions",
        "agents",
        "gateways",
        "policies and pools",
    ];
    assert_eq!(looked, all);
}

/// One fault each: what is looked at, how bad it is, and a word of what was found or of the cure.
#[test]
fn each_fault_is_found_and_nothing_else() {
    use Verdict::{Failure, Warning};
    type Fault = fn(&mut Facts);
    fn no<T>() -> Result<T, String> {
        Err("forbidden".to_owned())
    }
    fn all(of: &mut Result<Vec<Value>, String>) -> &mut Vec<Value> {
        of.as_mut().unwrap()
    }
    let table: &[(&str, Verdict, &str, Fault)] = &[
        ("API server", Failure, "refused", |f| f.version = Err("connection refused".to_owned())),
        ("definitions", Failure, "egresspools.egret.dev", |f| {
            f.expected =
                vec![json!({"metadata": {"name": "egresspools.egret.dev"}, "spec": {"group": "egret.dev"}})];
        }),
        ("permissions of egret-agent", Failure, "patch egressnodes.egret.dev", |f| {
            f.permissions[0].held = Ok(false)
        }),
        ("permissions of egret-controller", Warning, "subjectaccessreviews", |f| {
            f.permissions[1].held = no()
        }),
        ("admission policies", Failure, "egret-agent-own-node", |f| drop(all(&mut f.policies).remove(0))),
        ("admission policies", Failure, "not bound", |f| drop(all(&mut f.policies).remove(1))),
        ("admission policies", Failure, "egret-controller-startup-taint", |f| {
            drop(all(&mut f.policies).remove(2))
        }),
        ("admission policies", Warning, "egret-agent-own-node", |f| {
            all(&mut f.policies)[0]["spec"]["validations"][0]["expression"] = "true".into();
        }),
        ("admission policies", Warning, "egret-agent-own-node", |f| {
            all(&mut f.policies)[1]["spec"]["validationActions"] = json!(["Audit"]);
        }),
        ("admission policies", Warning, "forbidden", |f| f.policies = no()),
        ("controller", Failure, "--namespace", |f| all(&mut f.workloads).clear()),
        ("controller", Failure, "no holder", |f| all(&mut f.leases)[0]["spec"] = json!({})),
        ("controller", Warning, "1 of 2", |f| all(&mut f.workloads)[0]["status"]["readyReplicas"] = 1.into()),
        ("versions", Warning, "0.0.9", |f| {
            all(&mut f.pods)[0]["metadata"]["labels"]["app.kubernetes.io/version"] = "0.0.9".into();
        }),
        ("versions", Warning, "this program of 0.2.0", |f| f.own_version = "0.2.0".to_owned()),
        ("agents", Failure, "never reported: a", |f| drop(all(&mut f.records).remove(0))),
        ("agents", Failure, "booted: a", |f| all(&mut f.records)[0]["spec"]["bootId"] = "before".into()),
        ("agents", Failure, "not ready: a (waiting for the datapath)", |f| {
            all(&mut f.records)[0]["spec"] = json!({"ready": false, "waiting": ["waiting for the datapath"]});
        }),
        ("agents", Failure, "not ready: a (kubelet: containers with unready status: [agent])", |f| {
            let message = "containers with unready status: [agent]";
            let condition = json!({"type": "Ready", "status": "False", "message": message});
            all(&mut f.pods)[0]["status"] = json!({"conditions": [condition]});
        }),
        ("agents", Warning, "a part of their plan: a (guard", |f| {
            all(&mut f.records)[0]["spec"]["waiting"] = json!(["guard: no nft"]);
        }),
        ("agents", Warning, "not on c", |f| all(&mut f.nodes).push(node("c"))),
        ("agents", Warning, "forbidden", |f| f.nodes = no()),
        ("start-up taint", Warning, "a", |f| {
            all(&mut f.nodes)[0]["spec"]["taints"] = json!([{"key": "egret.dev/agent-not-ready"}]);
        }),
        ("gateways", Failure, "nobody holds 192.0.2.11", |f| {
            all(&mut f.records)[1]["spec"]["holds"] = json!([])
        }),
        ("gateways", Failure, "no node can serve 192.0.2.11", |f| {
            all(&mut f.addresses)[0]["spec"]["candidates"] = json!([]);
        }),
        ("policies and pools", Failure, "PoolNotFound: EgressPolicy prod/web: there is no pool", |f| {
            let condition = json!({"type": "Ready", "status": "False", "reason": "PoolNotFound", "message": "there is no pool x"});
            f.objects.as_mut().unwrap()[0].1["status"]["conditions"] = json!([condition]);
        }),
        ("policies and pools", Warning, "forbidden", |f| f.objects = no()),
    ];
    for (what, verdict, word, fault) in table {
        let mut facts = sound();
        fault(&mut facts);
        let findings = judge(&facts);
        let bad: Vec<&Finding> = findings.iter().filter(|finding| finding.verdict != Verdict::Ok).collect();
        let [bad] = bad.as_slice() else { panic!("{what}, {word}: {bad:#?}") };
        assert_eq!((bad.looked_at.as_str(), bad.verdict), (*what, *verdict), "{word}: {bad:#?}");
        let cure = bad.cure.as_deref().unwrap_or_default();
        assert!(!cure.is_empty() && (bad.found.contains(word) || cure.contains(word)), "{word}: {bad:#?}");
    }
}

#[test]
fn who_leaves_the_start_up_taint_to_others_needs_no_right_and_no_policy_for_it() {
    let mut facts = sound();
    facts.workloads = Ok(vec![deployment(&["controller"])]);
    facts.policies.as_mut().unwrap().pop();
    facts
        .permissions
        .push(Permission { held: Ok(false), ..permission("egret-controller", "nodes", "patch") });
    let bad: Vec<Finding> =
        judge(&facts).into_iter().filter(|finding| finding.verdict != Verdict::Ok).collect();
    assert!(bad.is_empty(), "{bad:#?}");
}

#[test]
fn a_node_with_its_only_gateway_down_serves_neither_a_held_nor_its_own_address() {
    let mut facts = sound();
    facts.records.as_mut().unwrap()[1]["spec"]["ready"] = false.into();
    let findings = judge(&facts);
    let found = findings.iter().find(|finding| finding.looked_at == "gateways").unwrap();
    assert!(found.found.contains("192.0.2.11, 198.51.100.2"), "{findings:#?}");
}

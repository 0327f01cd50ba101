//! What an installation's facts mean.

mod agents;
mod gateways;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Facts;
use crate::ask::Answer;
use crate::cluster::server_version;
use crate::{Finding, definitions, items, some, text};

/// Judges an installation.
pub fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![server_version(&facts.version)];
    findings.extend(definitions::judge(&facts.definitions, &facts.expected, true));
    findings.extend(permissions(facts));
    findings.push(policies(facts));
    findings.push(controller(facts));
    findings.push(versions(facts));
    findings.extend(judge_objects(facts));
    findings
}

/// Judges what the records and the objects alone tell: agents, gateways, policies and pools.
pub fn judge_objects(facts: &Facts) -> Vec<Finding> {
    let mut findings = agents::judge(facts);
    findings.push(gateways::judge(facts));
    findings.extend(objects(facts));
    findings
}

/// What could not be asked, with what would be needed to ask it.
fn unasked(what: &str, why: &str, resource: &str) -> Finding {
    Finding::warning(what, format!("it cannot be told: {why}"), format!("grant who asks to list {resource}"))
}

/// The controller takes the start-up taint away, if it was told so.
fn takes_taints(facts: &Facts) -> bool {
    let told = |workload: &Value| {
        items(workload, "/spec/template/spec/containers")
            .iter()
            .flat_map(|container| items(container, "/args"))
            .any(|argument| argument == "--remove-startup-taint")
    };
    facts.workloads.as_ref().map_or(true, |workloads| workloads.iter().any(told))
}

fn permissions(facts: &Facts) -> Vec<Finding> {
    let mut by_account: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for permission in &facts.permissions {
        let right = &permission.right;
        let optional = right.resource == "nodes" && right.verb == "patch" && !takes_taints(facts);
        if !optional {
            by_account.entry(&right.account).or_default().push(permission);
        }
    }
    let judge = |(account, permissions): (&str, Vec<&crate::ask::Permission>)| {
        let what = format!("permissions of {account}");
        let lacking: Vec<String> = permissions
            .iter()
            .filter(|permission| permission.held == Ok(false))
            .map(|permission| permission.right.to_string())
            .collect();
        if !lacking.is_empty() {
            return Finding::failure(
                what,
                format!("it may not {}", some(&lacking)),
                format!("apply the ClusterRole, Role and bindings {account} of the installation again"),
            );
        }
        match permissions.iter().find_map(|permission| permission.held.as_ref().err()) {
            Some(why) => Finding::warning(
                what,
                format!("they cannot be told: {why}"),
                "grant who asks to create subjectaccessreviews.authorization.k8s.io",
            ),
            None => Finding::ok(what, format!("all {} are granted", permissions.len())),
        }
    };
    by_account.into_iter().map(judge).collect()
}

fn policies(facts: &Facts) -> Finding {
    const WHAT: &str = "admission policies";
    let policies = match &facts.policies {
        Ok(policies) => policies,
        Err(why) => {
            return unasked(
                WHAT,
                why,
                "validatingadmissionpolicies.admissionregistration.k8s.io and their bindings",
            );
        }
    };
    // A binding has the name of its policy.
    let found = |expected: &&Value| {
        policies.iter().find(|policy| {
            text(policy, "/metadata/name") == text(expected, "/metadata/name")
                && policy["spec"].get("policyName") == expected["spec"].get("policyName")
        })
    };
    let wanted = |expected: &&Value| {
        text(expected, "/metadata/name") != "egret-controller-startup-taint" || takes_taints(facts)
    };
    let (mut absent, mut other, mut count) = (BTreeSet::new(), BTreeSet::new(), 0);
    for expected in facts.expected_policies.iter().filter(wanted) {
        let name = text(expected, "/metadata/name").to_owned();
        match found(&expected) {
            None => drop(absent.insert(name)),
            Some(policy) if says(policy) != says(expected) => drop(other.insert(name)),
            Some(_) => count += 1,
        }
    }
    const CURE: &str = "apply the installation's ValidatingAdmissionPolicies and their bindings again";
    match (absent.is_empty(), other.is_empty()) {
        (false, _) => {
            let names: Vec<String> = absent.into_iter().collect();
            let found = format!(
                "not there, or not bound: {}; a stolen token can write more than its own",
                some(&names)
            );
            Finding::failure(WHAT, found, CURE)
        }
        (true, false) => {
            let names: Vec<String> = other.into_iter().collect();
            Finding::warning(WHAT, format!("not as this version brings them: {}", some(&names)), CURE)
        }
        (true, true) => Finding::ok(WHAT, format!("all {count}, with their bindings")),
    }
}

/// What a policy demands, or what a binding does about it.
fn says(policy: &Value) -> Vec<&str> {
    let rules = items(policy, "/spec/validations").iter().map(|rule| text(rule, "/expression").trim());
    rules.chain(items(policy, "/spec/validationActions").iter().filter_map(Value::as_str)).collect()
}

fn controller(facts: &Facts) -> Finding {
    const WHAT: &str = "controller";
    let workloads = match &facts.workloads {
        Ok(workloads) => workloads,
        Err(why) => return unasked(WHAT, why, "deployments.apps"),
    };
    let of = |objects: &'_ [Value]| {
        objects.iter().find(|object| text(object, "/metadata/name") == "egret-controller").cloned()
    };
    let Some(deployment) = of(workloads) else {
        let found = format!("there is no Deployment egret-controller in {}", facts.namespace);
        return Finding::failure(WHAT, found, "install Egret, or name its namespace by --namespace");
    };
    let leases = match &facts.leases {
        Ok(leases) => leases,
        Err(why) => return unasked(WHAT, why, "leases.coordination.k8s.io"),
    };
    let lease = of(leases).unwrap_or_default();
    let holder = text(&lease, "/spec/holderIdentity");
    if holder.is_empty() {
        let cure = format!(
            "kubectl logs -n {} deployment/egret-controller says why none could begin",
            facts.namespace
        );
        return Finding::failure(WHAT, "none leads: the Lease egret-controller has no holder", cure);
    }
    let number = |pointer: &str| deployment.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
    let (wanted, ready) = (number("/spec/replicas"), number("/status/readyReplicas"));
    match ready < wanted {
        true => Finding::warning(
            WHAT,
            format!("{holder} led last, and {ready} of {wanted} are ready"),
            format!("kubectl describe -n {} deployment/egret-controller, and its pods", facts.namespace),
        ),
        false => Finding::ok(WHAT, format!("{holder} leads; {ready} of {wanted} are ready")),
    }
}

/// Versions of Egret's pods, by the label that the chart gives them. Different ones are for the time of an update only.
fn versions(facts: &Facts) -> Finding {
    const WHAT: &str = "versions";
    let pods = match &facts.pods {
        Ok(pods) => pods,
        Err(why) => return unasked(WHAT, why, "pods"),
    };
    let mut found: BTreeMap<&str, usize> = BTreeMap::new();
    for pod in pods.iter().filter(|pod| pod["metadata"]["labels"]["app.kubernetes.io/name"] == "egret") {
        *found
            .entry(pod["metadata"]["labels"]["app.kubernetes.io/version"].as_str().unwrap_or(""))
            .or_default() += 1;
    }
    let told: Vec<String> = found.iter().map(|(version, count)| format!("{version:?} ({count})")).collect();
    let own = facts.own_version.as_str();
    match found.keys().copied().collect::<Vec<_>>().as_slice() {
        [] => Finding::failure(
            WHAT,
            format!("there is no pod of Egret in {}", facts.namespace),
            "install Egret, or name its namespace by --namespace",
        ),
        [one] if *one == own => Finding::ok(WHAT, format!("every pod is of {own}, as this program")),
        [one] => Finding::warning(
            WHAT,
            format!("every pod is of {one:?}, and this program of {own}"),
            format!("check with the program of {one}: this one compares with what {own} brings"),
        ),
        _ => Finding::warning(
            WHAT,
            format!("pods are of different versions: {}", told.join(", ")),
            "while an update goes on, wait for it (kubectl rollout status); else see which pods were not replaced, and why",
        ),
    }
}

/// Objects that are not in force, together where they have one reason.
fn objects(facts: &Facts) -> Vec<Finding> {
    const WHAT: &str = "policies and pools";
    let objects = match &facts.objects {
        Ok(objects) => objects,
        Err(why) => return vec![unasked(WHAT, why, "the kinds of Egret and of the systems it serves")],
    };
    // Other conditions remark on what is in force.
    let decides =
        |kind: &str| matches!(kind, "Ready" | "egret.dev/EgressReady" | "IPAllocated" | "IPAssigned");
    let mut by_reason: BTreeMap<&str, (Vec<String>, &str)> = BTreeMap::new();
    let mut well = 0;
    for (kind, object) in objects {
        let conditions = items(object, "/status/conditions");
        let mut decided = conditions.iter().filter(|condition| decides(text(condition, "/type"))).peekable();
        let bad = decided.clone().find(|condition| condition["status"] == "False");
        well += usize::from(bad.is_none() && decided.peek().is_some());
        let Some(bad) = bad else { continue };
        let namespace = text(object, "/metadata/namespace");
        let slash = if namespace.is_empty() { "" } else { "/" };
        let name = format!("{kind} {namespace}{slash}{}", text(object, "/metadata/name"));
        let (names, _) = by_reason.entry(text(bad, "/reason")).or_insert((Vec::new(), text(bad, "/message")));
        names.push(name);
    }
    let mut findings: Vec<Finding> = by_reason
        .into_iter()
        .map(|(reason, (names, message))| {
            Finding::failure(
                WHAT,
                format!("{reason}: {}: {message}", some(&names)),
                "kubectl describe the object: its conditions tell what to do, docs/reasons.md explains each reason",
            )
        })
        .collect();
    if findings.is_empty() {
        findings.push(Finding::ok(WHAT, format!("{well} have a status, and all are in force")));
    }
    findings
}

/// Records by their nodes' names.
fn by_name(objects: &Answer<Vec<Value>>) -> BTreeMap<&str, &Value> {
    let objects = objects.as_deref().unwrap_or_default();
    objects.iter().map(|object| (text(object, "/metadata/name"), object)).collect()
}

#[cfg(test)]
mod tests;

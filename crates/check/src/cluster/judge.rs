//! What a cluster's facts mean for an installation.

use serde_json::Value;

use super::{Facts, OTHERS, Other};
use crate::ask::{Answer, Permission};
use crate::{Finding, definitions, items, nodes, some, text};

/// The oldest API server that tells which node a token is bound to, without which no agent could write its record.
const OLDEST: (u32, u32) = (1, 32);

/// Judges a cluster.
pub fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![version(&facts.version), permissions(&facts.permissions)];
    findings.extend(definitions::judge(&facts.definitions, &facts.expected, false));
    findings.extend(nodes::judge(&facts.nodes));
    findings.extend(others(facts));
    findings
}

/// Judges the version of an API server.
pub(crate) fn version(version: &Answer<String>) -> Finding {
    const WHAT: &str = "API server";
    let version = match version {
        Ok(version) => version,
        Err(why) => {
            let cure = "see that `kubectl version` with the same kubeconfig is answered";
            return Finding::failure(WHAT, format!("it does not answer: {why}"), cure);
        }
    };
    let mut numbers =
        version.trim_start_matches('v').split(|c: char| !c.is_ascii_digit()).map_while(|n| n.parse().ok());
    match numbers.next().zip(numbers.next()) {
        Some(found) if found >= OLDEST => Finding::ok(WHAT, version),
        Some(_) => Finding::failure(
            WHAT,
            version,
            "upgrade to Kubernetes 1.32 or later, whose tokens tell their pod's node",
        ),
        None => Finding::warning(WHAT, format!("{version:?} is no version"), "see that it is 1.32 or later"),
    }
}

fn permissions(permissions: &[Permission]) -> Finding {
    const WHAT: &str = "permissions to install";
    let told = |is: fn(&&Permission) -> bool| -> Vec<String> {
        permissions.iter().filter(is).map(|permission| permission.right.to_string()).collect()
    };
    let unknown = permissions.iter().find_map(|permission| permission.held.as_ref().err());
    let lacking = told(|permission| permission.held == Ok(false));
    match (lacking.is_empty(), unknown) {
        (false, _) => Finding::failure(
            WHAT,
            format!("who asks may not: {}", some(&lacking)),
            "install as a cluster administrator: the API server lets nobody grant what he does not have himself",
        ),
        (true, Some(why)) => {
            Finding::warning(WHAT, format!("they cannot be told: {why}"), "ask as who will install it")
        }
        (true, None) => Finding::ok(WHAT, format!("all {} are held", permissions.len())),
    }
}

fn others(facts: &Facts) -> Vec<Finding> {
    const WHAT: &str = "other egress systems";
    let daemon_sets = match &facts.daemon_sets {
        Ok(daemon_sets) => daemon_sets.as_slice(),
        Err(why) => {
            let cure = "grant who asks to list daemonsets.apps";
            return vec![Finding::warning(WHAT, format!("they cannot be told: {why}"), cure)];
        }
    };
    let objects = |other: &Other| {
        let count = facts.others.iter().find(|(of, _)| *of == other).map(|(_, count)| count);
        count.and_then(|count| count.as_ref().ok()).copied().unwrap_or(0)
    };
    let findings: Vec<Finding> = OTHERS
        .iter()
        .filter_map(|other| judge_other(WHAT, other, objects(other), running(other, daemon_sets)))
        .collect();
    match findings.is_empty() {
        true => vec![Finding::ok(WHAT, "neither policies nor programs of any that is known")],
        false => findings,
    }
}

/// The DaemonSet, as `namespace/name`, that runs a system's program.
fn running(other: &Other, daemon_sets: &[Value]) -> Option<String> {
    let runs = |set: &&Value| {
        let containers = items(set, "/spec/template/spec/containers");
        containers.iter().any(|container| text(container, "/image").contains(other.image))
    };
    let set = daemon_sets.iter().find(runs)?;
    Some(format!("{}/{}", text(set, "/metadata/namespace"), text(set, "/metadata/name")))
}

fn judge_other(what: &str, other: &Other, objects: usize, running: Option<String>) -> Option<Finding> {
    let system = other.system;
    let policies = format!("{}.{}", other.policies.2, other.policies.0);
    match (other.dialect, objects, running) {
        // A network plugin without egress policies is nobody's rival.
        (None, 0, _) | (Some(_), 0, None) => None,
        (None, objects, _) => Some(Finding::warning(
            what,
            format!("{system}: {objects} {policies}"),
            "a pod that both select would be translated by whoever meets its packets first: take the policy away before \
             one of Egret selects its pods",
        )),
        (Some(dialect), objects, Some(set)) => Some(Finding::warning(
            what,
            format!("{system} runs (DaemonSet {set}), with {objects} policies that Egret serves as well"),
            format!(
                "install with --set dialects.{dialect}.mode=observe, which changes no packet, and switch it to on when \
                 {system} is gone"
            ),
        )),
        (Some(_), objects, None) => Some(Finding::ok(
            what,
            format!("{system}: {objects} {policies}, which Egret serves; {system} itself does not run"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Right, Verdict};
    use serde_json::json;

    fn right(verb: &str) -> Right {
        let [account, namespace, subresource, name] = [(); 4].map(|()| String::new());
        let (group, resource) = ("egret.dev".to_owned(), "egressnodes".to_owned());
        Right { account, namespace, group, resource, subresource, name, verb: verb.to_owned() }
    }

    fn node() -> Value {
        json!({"metadata": {"name": "a"}, "spec": {"podCIDRs": ["10.244.0.0/24"]},
            "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]}})
    }

    fn sound() -> Facts {
        Facts {
            version: Ok("v1.32.0-rc.1".to_owned()),
            expected: Vec::new(),
            definitions: Ok(Vec::new()),
            permissions: vec![Permission { right: right("patch"), held: Ok(true) }],
            nodes: Ok(vec![node()]),
            daemon_sets: Ok(Vec::new()),
            others: Vec::new(),
        }
    }

    fn runs(image: &str) -> Answer<Vec<Value>> {
        let spec = json!({"template": {"spec": {"containers": [{"name": "c", "image": image}]}}});
        Ok(vec![json!({"metadata": {"namespace": "kube-system", "name": "set"}, "spec": spec})])
    }

    #[test]
    fn each_fault_is_found_and_nothing_else() {
        use Verdict::{Failure, Ok as Fine, Warning};
        type Fault = fn(&mut Facts);
        let table: &[(&str, Verdict, &str, Fault)] = &[
            ("API server", Fine, "v1.32.0", |_| {}),
            ("API server", Failure, "1.32 or later", |f| f.version = Ok("v1.31.9+k3s1".to_owned())),
            ("API server", Failure, "refused", |f| f.version = Err("connection refused".to_owned())),
            ("API server", Warning, "no version", |f| f.version = Ok("x".to_owned())),
            ("permissions to install", Failure, "delete egressnodes.egret.dev", |f| {
                f.permissions.push(Permission { right: right("delete"), held: Ok(false) });
            }),
            ("permissions to install", Warning, "forbidden", |f| {
                f.permissions[0].held = Err("forbidden".to_owned())
            }),
            ("nodes", Warning, "inside=", |f| f.nodes.as_mut().unwrap()[0]["spec"] = json!({})),
            ("definitions", Warning, "forbidden", |f| f.definitions = Err("forbidden".to_owned())),
            ("other egress systems", Warning, "forbidden", |f| f.daemon_sets = Err("forbidden".to_owned())),
            ("other egress systems", Warning, "dialects.antrea.mode=observe", |f| {
                f.daemon_sets = runs("antrea/antrea-agent-ubuntu:v2.3.0");
            }),
            ("other egress systems", Warning, "dialects.kube-vip.mode=observe", |f| {
                f.daemon_sets = runs("ghcr.io/kube-vip/kube-vip:v1.0.0");
            }),
            ("other egress systems", Warning, "3 ciliumegressgatewaypolicies", |f| {
                f.others = vec![(&OTHERS[4], Ok(3))]
            }),
            ("other egress systems", Fine, "2 egresses.crd.antrea.io", |f| {
                f.others = vec![(&OTHERS[0], Ok(2))]
            }),
            ("other egress systems", Fine, "neither", |f| {
                f.daemon_sets = runs("quay.io/cilium/cilium:v1.18.0")
            }),
        ];
        for (what, verdict, word, fault) in table {
            let mut facts = sound();
            fault(&mut facts);
            let findings = judge(&facts);
            let of = |finding: &&Finding| finding.looked_at == *what;
            let found = findings.iter().find(of).unwrap_or_else(|| panic!("{what}: {findings:#?}"));
            let cure = found.cure.as_deref().unwrap_or_default();
            assert_eq!(found.verdict, *verdict, "{word}: {findings:#?}");
            assert!(found.found.contains(word) || cure.contains(word), "{word}: {findings:#?}");
            assert_eq!(found.verdict == Fine, cure.is_empty(), "{found:#?}");
            let rest: Vec<_> =
                findings.iter().filter(|f| f.looked_at != *what && f.verdict != Fine).collect();
            assert!(rest.is_empty(), "{word}: {rest:#?}");
        }
    }
}

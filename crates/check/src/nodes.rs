//! Nodes as the cluster knows them.

use serde_json::Value;

use crate::ask::Answer;
use crate::{Finding, items, some, text};

/// What is looked at.
const WHAT: &str = "nodes";

/// Judges what Node objects say of nodes that run Linux.
pub(crate) fn judge(nodes: &Answer<Vec<Value>>) -> Vec<Finding> {
    let nodes = match nodes {
        Ok(nodes) => nodes,
        Err(why) => {
            let cure = "grant who asks to list nodes";
            return vec![Finding::warning(WHAT, format!("they cannot be told: {why}"), cure)];
        }
    };
    let linux: Vec<&Value> = nodes.iter().filter(|node| runs_linux(node)).collect();
    if linux.is_empty() {
        return vec![Finding::failure(
            WHAT,
            "there is none that runs Linux",
            "let nodes join the cluster first",
        )];
    }
    let without = |lacks: fn(&Value) -> bool| -> Vec<String> {
        linux.iter().filter(|node| lacks(node)).map(|node| name(node).to_owned()).collect()
    };
    let mut findings = Vec::new();
    let mut tell = |nodes: Vec<String>, found: &str, finding: fn(String, String) -> Finding, cure: &str| {
        if !nodes.is_empty() {
            findings.push(finding(format!("{}: {found}", some(&nodes)), cure.to_owned()));
        }
    };
    tell(
        without(|node| address(node).is_empty()),
        "no status.addresses of type InternalIP",
        |found, cure| Finding::failure(WHAT, found, cure),
        "give kubelet --node-ip, or have the cloud's controller fill it in: an agent finds its underlay by it",
    );
    tell(
        without(|node| items(node, "/spec/podCIDRs").is_empty()),
        "no spec.podCIDRs",
        |found, cure| Finding::warning(WHAT, found, cure),
        "name the pods' network by --set 'inside={CIDR}', so that what goes there is not taken for egress",
    );
    tell(
        without(|node| old(text(node, "/status/nodeInfo/kernelVersion"))),
        "a kernel before 6.1",
        |found, cure| Finding::failure(WHAT, found, cure),
        "boot a kernel of 6.1 or later, or keep agents away by agent.nodeSelector",
    );
    if findings.is_empty() {
        let count = linux.len();
        findings.push(Finding::ok(WHAT, format!("{count} that run Linux, all with an address and podCIDRs")));
    }
    findings
}

/// A node's name.
pub(crate) fn name(node: &Value) -> &str {
    text(node, "/metadata/name")
}

/// A Node that does not say what it runs is taken for one of Linux.
pub(crate) fn runs_linux(node: &Value) -> bool {
    matches!(text(node, "/status/nodeInfo/operatingSystem"), "" | "linux")
}

fn address(node: &Value) -> &str {
    let internal = items(node, "/status/addresses").iter().find(|address| address["type"] == "InternalIP");
    internal.map(|address| text(address, "/address")).unwrap_or_default()
}

/// One that does not say its kernel is not blamed for it.
fn old(kernel: &str) -> bool {
    crate::node::kernel_version(kernel).is_some_and(|version| version < crate::node::OLDEST_KERNEL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Verdict;
    use serde_json::json;

    fn node(name: &str) -> Value {
        json!({
            "metadata": {"name": name},
            "spec": {"podCIDRs": ["10.244.1.0/24"]},
            "status": {
                "addresses": [{"type": "Hostname", "address": name}, {"type": "InternalIP", "address": "192.0.2.1"}],
                "nodeInfo": {"kernelVersion": "6.1.0-40-amd64", "operatingSystem": "linux"},
            },
        })
    }

    #[test]
    fn each_fault_of_a_node_is_found_and_windows_is_none() {
        type Fault = fn(&mut Value);
        let table: &[(Option<Verdict>, &str, Fault)] = &[
            (None, "2 that run Linux", |_| {}),
            (Some(Verdict::Failure), "b: no status.addresses", |node| {
                node["status"]["addresses"] = json!([])
            }),
            (Some(Verdict::Warning), "b: no spec.podCIDRs", |node| node["spec"] = json!({})),
            (Some(Verdict::Failure), "b: a kernel before", |node| {
                node["status"]["nodeInfo"]["kernelVersion"] = "5.15.0".into();
            }),
            (None, "1 that run Linux", |node| {
                *node = json!({"metadata": {"name": "b"}, "status": {"nodeInfo": {"operatingSystem": "windows"}}});
            }),
        ];
        for (verdict, word, fault) in table {
            let mut nodes = vec![node("a"), node("b")];
            fault(&mut nodes[1]);
            let findings = judge(&Ok(nodes));
            let [finding] = findings.as_slice() else { panic!("{word}: {findings:#?}") };
            assert_eq!(finding.verdict, verdict.unwrap_or(Verdict::Ok), "{finding:#?}");
            assert!(finding.found.contains(word), "{word}: {finding:#?}");
        }
        assert_eq!(judge(&Ok(Vec::new()))[0].verdict, Verdict::Failure);
        assert_eq!(judge(&Err("forbidden".to_owned()))[0].verdict, Verdict::Warning);
    }
}

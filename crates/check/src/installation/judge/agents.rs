//! What each node's agent says, against the node and the pod that it runs in.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Facts, by_name, unasked};
use crate::nodes::{name, runs_linux};
use crate::{Finding, items, some, text};

const WHAT: &str = "agents";

/// Judges the agents.
pub fn judge(facts: &Facts) -> Vec<Finding> {
    let (nodes, pods) = match (&facts.nodes, &facts.pods, &facts.records) {
        (Ok(nodes), Ok(pods), Ok(_)) => (nodes, pods),
        (Err(why), _, _) => return vec![unasked(WHAT, why, "nodes")],
        (_, Err(why), _) => return vec![unasked(WHAT, why, "pods")],
        (_, _, Err(why)) => return vec![unasked(WHAT, why, "egressnodes.egret.dev")],
    };
    let records = by_name(&facts.records);
    let by_node: BTreeMap<&str, &Value> = pods
        .iter()
        .filter(|pod| pod["metadata"]["labels"]["app.kubernetes.io/component"] == "agent")
        .map(|pod| (text(pod, "/spec/nodeName"), pod))
        .collect();
    // Each node is told once: by the first thing that is wrong with it.
    let mut wrong: BTreeMap<Wrong, Vec<String>> = BTreeMap::new();
    let mut well = 0;
    for node in nodes.iter().filter(|node| runs_linux(node)) {
        match fault(node, records.get(name(node)).copied(), by_node.get(name(node)).copied()) {
            Some((what, detail)) => {
                let detail = if detail.is_empty() { String::new() } else { format!(" ({detail})") };
                wrong.entry(what).or_default().push(format!("{}{detail}", name(node)));
            }
            None => well += 1,
        }
    }
    let mut findings: Vec<Finding> =
        wrong.into_iter().map(|(what, nodes)| what.finding(&some(&nodes), &facts.namespace)).collect();
    findings.extend(tainted(nodes, &records));
    if findings.is_empty() {
        findings.push(Finding::ok(WHAT, format!("{well} report that their node's plan is in force")));
    }
    findings
}

/// What can be wrong with an agent, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Wrong {
    Silent,
    EarlierBoot,
    NotReady,
    Waiting,
    NoPod,
}

fn fault(node: &Value, record: Option<&Value>, pod: Option<&Value>) -> Option<(Wrong, String)> {
    let record = match (record, pod) {
        (Some(record), _) => record,
        (None, Some(_)) => return Some((Wrong::Silent, String::new())),
        (None, None) => return Some((Wrong::NoPod, String::new())),
    };
    // An agent that died says nothing any more; kubelet does.
    let conditions = pod.map(|pod| items(pod, "/status/conditions")).unwrap_or_default();
    if let Some(not) = conditions.iter().find(|c| c["type"] == "Ready" && c["status"] == "False") {
        return Some((Wrong::NotReady, format!("kubelet: {}", text(not, "/message"))));
    }
    let (booted, reported) = (text(node, "/status/nodeInfo/bootID"), text(record, "/spec/bootId"));
    let waiting = items(record, "/spec/waiting").first().and_then(Value::as_str).unwrap_or_default();
    if !booted.is_empty() && !reported.is_empty() && booted != reported {
        return Some((Wrong::EarlierBoot, String::new()));
    }
    if record["spec"]["ready"] != true {
        return Some((Wrong::NotReady, waiting.to_owned()));
    }
    match waiting.is_empty() {
        true => None,
        false => Some((Wrong::Waiting, waiting.to_owned())),
    }
}

impl Wrong {
    fn finding(self, nodes: &str, namespace: &str) -> Finding {
        let logs = format!("kubectl logs -n {namespace} of that node's agent says what it waits for");
        match self {
            Wrong::Silent => Finding::failure(WHAT, format!("have never reported: {nodes}"), logs),
            Wrong::EarlierBoot => Finding::failure(
                WHAT,
                format!("have not reported since their node was booted: {nodes}"),
                format!("{logs}; until then its pods leave by the ordinary way"),
            ),
            Wrong::NotReady => Finding::failure(WHAT, format!("are not ready: {nodes}"), logs),
            Wrong::Waiting => Finding::warning(
                WHAT,
                format!("wait with a part of their plan: {nodes}"),
                "mend what it names; what was in force before stays so",
            ),
            Wrong::NoPod => Finding::warning(
                WHAT,
                format!("are not on {nodes}"),
                "where selected pods may run, let the DaemonSet egret-agent run as well (agent.nodeSelector, agent.tolerations): \
                 without an agent they leave by the ordinary way",
            ),
        }
    }
}

/// Nodes that keep the start-up taint although their agent is ready.
fn tainted(nodes: &[Value], records: &BTreeMap<&str, &Value>) -> Option<Finding> {
    let held = |node: &&Value| {
        let taints = items(node, "/spec/taints");
        taints.iter().any(|taint| taint["key"] == "egret.dev/agent-not-ready")
            && records.get(name(node)).is_some_and(|record| record["spec"]["ready"] == true)
    };
    let names: Vec<String> = nodes.iter().filter(held).map(|node| name(node).to_owned()).collect();
    (!names.is_empty()).then(|| {
        Finding::warning(
            "start-up taint",
            format!("kept although the agent is ready: {}", some(&names)),
            "see that the controller has --remove-startup-taint and leads; it takes the taint away within seconds",
        )
    })
}

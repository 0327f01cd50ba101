//! `egret who ADDRESS:PORT [--at TIME]`: whose a port of an egress address is, or was.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use clap::Args;
use egret_api::Object;
use egret_flows::{End, Filter, Flow};
use egret_plan::World;
use jiff::Timestamp;
use serde::Serialize;

use crate::arguments::{Question, ReadArguments};
use crate::flows::answer::{Answer, Asked};
use crate::flows::{PARTLY, ask};
use crate::objects;
use crate::output::{columns, plain};
use crate::ports::records;
use crate::reach::{Agents, Where, on_runtime};
use crate::time::{moment, to_the_second};

/// Arguments of `egret who`.
#[derive(Debug, Args)]
pub struct WhoArguments {
    /// The egress address and port, as 203.0.113.7:40123 or [2001:db8::7]:40123
    #[arg(value_name = "ADDRESS:PORT")]
    end: SocketAddr,
    /// Whose it was then, by what nodes wrote down: 2026-11-22T01:15:00Z, or 10m for ten minutes ago
    #[arg(long, value_name = "TIME", value_parser = moment)]
    at: Option<Timestamp>,
    /// Which nodes can be asked, and how
    #[command(flatten)]
    place: Where,
    /// Which store, and how to print
    #[command(flatten)]
    question: Question,
}

/// What is said of a port.
#[derive(Serialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
struct Told {
    /// When it was asked for; absent: now.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<Timestamp>,
    /// Whose it is by the leases of now, whatever was asked for.
    #[serde(flatten)]
    owner: Option<Owner>,
    /// The flows that had it.
    flows: Vec<Flow>,
    /// Flows that may have had it: when they began or ended was not written down.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    possible: Vec<Flow>,
    /// Why it cannot be told of pods of these nodes; an empty name: of none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    unknown: BTreeMap<String, String>,
}

/// Whose a port is now.
#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
struct Owner {
    address: String,
    port: u16,
    /// As `Kind/name`.
    pool: String,
    /// The node that leases the port, if one does.
    node: Option<String>,
    /// First and last port of its block.
    block: Option<(u16, u16)>,
    /// When the node was told to give it back, if it was.
    released: Option<String>,
    /// The policies that use the address, as `Kind namespace/name`.
    policies: Vec<String>,
    /// Pods of that node that such a policy selects now, as `namespace/name`.
    pods: Vec<String>,
}

/// Prints whose a port is, or was. Fails if it is, or was, nobody's.
///
/// # Errors
/// When the store cannot be read, or nobody can be asked about an earlier time.
pub fn run(arguments: WhoArguments) -> Result<ExitCode> {
    let WhoArguments { end, at, place, question: Question { store, output } } = arguments;
    let (objects, _) = objects::read(store.clone().source()?)?;
    let owner = owner(&objects, end);
    let leased = owner.as_ref().and_then(|owner| owner.node.clone());
    // Now it can be in use on one node only; earlier it may have been another's.
    let (found, unknown) = match (at, leased) {
        (None, None) => Default::default(),
        (Some(_), _) => on_runtime(flows(end, at, &place, &store, &[]))?,
        (None, Some(node)) => match on_runtime(flows(end, at, &place, &store, &[node])) {
            Ok(told) => told,
            // The leases tell what they tell all the same.
            Err(error) => (Vec::new(), BTreeMap::from([(String::new(), format!("{error:#}"))])),
        },
    };
    let then = at.unwrap_or_else(Timestamp::now);
    let lived = |is: Option<bool>| -> Vec<Flow> {
        found.iter().filter(|flow| flow.egress.is_some() && flow.lived_at(then) == is).cloned().collect()
    };
    let told = Told { at, flows: lived(Some(true)), possible: lived(None), unknown, owner };
    output.print(&told, |wide| text(&told, end, wide))?;
    Ok(conclude(&told))
}

/// What the program ends with.
fn conclude(told: &Told) -> ExitCode {
    let leased = told.owner.as_ref().is_some_and(|owner| owner.node.is_some());
    let known = match told.at {
        None => leased,
        Some(_) => !told.flows.is_empty(),
    };
    match known {
        true => ExitCode::SUCCESS,
        false if told.at.is_some() && !(told.unknown.is_empty() && told.possible.is_empty()) => {
            ExitCode::from(PARTLY)
        }
        false => ExitCode::FAILURE,
    }
}

/// The flows of a port that nodes know, and of which nodes that cannot be told for this time.
async fn flows(
    end: SocketAddr,
    at: Option<Timestamp>,
    place: &Where,
    store: &ReadArguments,
    nodes: &[String],
) -> Result<(Vec<Flow>, BTreeMap<String, String>)> {
    let address = End { address: end.ip().to_canonical(), port: Some(end.port()) };
    let filter = Filter { address: Some(address), ..Filter::default() };
    let agents = Agents::find(place, store, nodes).await?;
    // Of those that ended before, none is asked for.
    let asked = Asked { filter, since: Some(at.unwrap_or_else(Timestamp::now)), follow: false };
    let (mut found, mut unknown) = (Vec::new(), BTreeMap::new());
    let silent = ask(agents, &asked, |node, answer| {
        match answer {
            Answer::Flow(flow) => found.push(Flow { node: node.to_owned(), ..*flow }),
            Answer::End(reach) => {
                let begins = match (at, reach.from) {
                    (Some(at), Some(from)) if at < from => {
                        Some(format!("its log begins at {}", to_the_second(from)))
                    }
                    (Some(_), None) => Some("its log is empty".to_owned()),
                    _ => None,
                };
                let words: Vec<String> = begins.into_iter().chain(reach.words()).collect();
                if !words.is_empty() {
                    unknown.insert(node.to_owned(), words.join("; "));
                }
            }
            Answer::Event(_) => (),
        }
        Ok(())
    })
    .await?;
    unknown.extend(silent);
    found.sort_by_key(|flow| flow.opened);
    Ok((found, unknown))
}

/// `None`: the address is no egress address.
fn owner(objects: &[Arc<Object>], end: SocketAddr) -> Option<Owner> {
    let address = end.ip().to_canonical();
    let record = *records(objects).get(&address)?;
    let last = |first: u16| first.saturating_add(record.block_size.saturating_sub(1));
    let lease =
        record.leases.iter().find(|lease| (lease.first_port..=last(lease.first_port)).contains(&end.port()));
    let name = |kind: &str, namespace: &str, name: &str| match namespace {
        "" => format!("{kind} {name}"),
        namespace => format!("{kind} {namespace}/{name}"),
    };
    let policies: Vec<String> =
        record.claims.iter().map(|claim| name(&claim.kind, &claim.namespace, &claim.name)).collect();
    let world = World::from_objects(objects.iter().map(|object| (**object).clone()));
    let pods = lease.into_iter().flat_map(|lease| world.pods_on(&lease.node));
    let selected = pods.filter(|(_, facts)| {
        facts.policies.iter().any(|intent| {
            let key = &intent.rank.key;
            policies.contains(&name(key.kind.as_str(), &key.namespace, &key.name))
        })
    });
    Some(Owner {
        address: address.to_string(),
        port: end.port(),
        pool: record.pool.clone(),
        node: lease.map(|lease| lease.node.clone()),
        block: lease.map(|lease| (lease.first_port, last(lease.first_port))),
        released: lease.and_then(|lease| lease.released.as_ref()).map(|time| time.0.to_string()),
        pods: selected.map(|((namespace, name), _)| format!("{namespace}/{name}")).collect(),
        policies,
    })
}

fn text(told: &Told, end: SocketAddr, wide: bool) -> String {
    let when = told.at.map_or("now".to_owned(), |at| format!("at {}", to_the_second(at)));
    let mut lines = Vec::new();
    match (told.at, &told.owner) {
        (None, owner) => lines.push(leased(owner.as_ref(), end)),
        (Some(_), _) if told.flows.is_empty() => {
            lines.push(format!("{end}: no flow that had it {when} was written down"));
        }
        (Some(_), _) => lines.push(format!("{end} {when}:")),
    }
    if told.at.is_none() && !told.flows.is_empty() {
        lines.push("  flows that have it:".to_owned());
    }
    if !told.flows.is_empty() {
        lines.push(indented(&flows_table(&told.flows, wide)));
    }
    if !told.possible.is_empty() {
        lines.push(format!("  may have had it {when}, their beginning or end was not written down:"));
        lines.push(indented(&flows_table(&told.possible, wide)));
    }
    for (node, why) in &told.unknown {
        lines.push(match node.as_str() {
            "" => format!("  Which of them uses the port is not known: {why}"),
            node => format!("  What pods of {node} had is not known, or not all of it: {why}"),
        });
    }
    if let (Some(_), Some(Owner { node: Some(node), .. })) = (told.at, &told.owner) {
        lines.push(format!("  It is leased to node {node} now."));
    }
    lines.join("\n")
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

fn flows_table(flows: &[Flow], wide: bool) -> String {
    let mut table = columns(["POD", "NODE", "PROTOCOL", "TO", "OPENED", "ENDED"]);
    if wide {
        table.set_header(["POD", "NODE", "PROTOCOL", "TO", "OPENED", "ENDED", "STATE", "FROM", "POLICY"]);
    }
    let time = |time: Option<Timestamp>| time.map_or("-".to_owned(), to_the_second);
    for flow in flows {
        let mut cells = vec![
            flow.pod.clone().unwrap_or_else(|| flow.from.ip().to_string()),
            flow.node.clone(),
            flow.protocol.to_string(),
            flow.to.to_string(),
            time(flow.opened),
            time(flow.ended),
        ];
        if wide {
            let policy = flow.policy.clone().unwrap_or_else(|| "-".to_owned());
            cells.extend([flow.state.as_str().to_owned(), flow.from.to_string(), policy]);
        }
        table.add_row(cells);
    }
    plain(&table)
}

/// Whose the port is by the leases of now.
fn leased(owner: Option<&Owner>, end: SocketAddr) -> String {
    let Some(owner) = owner else {
        return format!("{} is no egress address in use; `egret ports` lists them", end.ip());
    };
    let (Some(node), Some((first, last))) = (&owner.node, owner.block) else {
        return format!(
            "{end} of {} is leased to nobody; `egret ports {}` says who has others",
            owner.pool,
            end.ip()
        );
    };
    let released =
        owner.released.as_ref().map(|at| format!(", to be given back since {at}")).unwrap_or_default();
    let list = |names: &[String]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    format!(
        "{end} of {} is leased to node {node} (ports {first} to {last}{released})\n  policies: {}\n  pods of {node} that \
         they select now: {}",
        owner.pool,
        list(&owner.policies),
        list(&owner.pods),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::tests::world;

    #[test]
    fn a_port_is_the_nodes_that_leases_it_and_of_pods_that_the_policy_selects() {
        let of = |end: &str| owner(&world(), end.parse().unwrap());
        let found = of("192.0.2.11:1535").unwrap();
        assert_eq!((found.node.as_deref(), found.block), (Some("a"), Some((1280, 1535))));
        assert_eq!(
            (found.policies, found.pods),
            (vec!["EgressPolicy prod/web".to_owned()], vec!["prod/web-1".to_owned()])
        );
        let next = of("192.0.2.11:1536").unwrap();
        assert_eq!((next.node.as_deref(), next.pods), (Some("b"), vec![]));
        assert_eq!(of("[::ffff:192.0.2.11]:1792").unwrap().node, None);
        assert_eq!(of("192.0.2.12:1536"), None);
        let end = "192.0.2.11:1024".parse().unwrap();
        let told = leased(owner(&world(), end).as_ref(), end);
        assert!(
            told.contains("leased to node a (ports 1024 to 1279)") && told.contains("prod/web-1"),
            "{told}"
        );
    }
    #[test]
    fn what_is_not_known_is_no_answer_and_no_denial() {
        let flow = |pod: &str| Flow {
            node: "a".to_owned(),
            pod: Some(pod.to_owned()),
            opened: Some(Timestamp::UNIX_EPOCH),
            ..serde_json::from_value(
                serde_json::json!({"state": "open", "protocol": "TCP", "from": "10.244.1.10:1",
                "egress": "192.0.2.11:1024", "to": "198.51.100.9:443"}),
            )
            .unwrap()
        };
        let end = "192.0.2.11:1024".parse().unwrap();
        let none = Told {
            at: Some(Timestamp::UNIX_EPOCH),
            owner: None,
            flows: vec![],
            possible: vec![],
            unknown: BTreeMap::new(),
        };
        let silent = BTreeMap::from([("b".to_owned(), "it does not answer".to_owned())]);
        for (told, code, words) in [
            (none.clone(), ExitCode::FAILURE, "no flow that had it at 1970-01-01T00:00:00Z"),
            (
                Told { unknown: silent.clone(), ..none.clone() },
                ExitCode::from(PARTLY),
                "pods of b had is not known",
            ),
            (
                Told { possible: vec![flow("prod/web")], ..none.clone() },
                ExitCode::from(PARTLY),
                "may have had it",
            ),
            (Told { flows: vec![flow("prod/web")], unknown: silent, ..none }, ExitCode::SUCCESS, "prod/web"),
        ] {
            assert_eq!(conclude(&told), code, "{told:?}");
            let text = text(&told, end, true);
            assert!(text.contains(words), "{text}");
        }
    }
}

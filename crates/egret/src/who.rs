//! `egret who ADDRESS:PORT`: whose a port of an egress address is.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use clap::Args;
use egret_api::Object;
use egret_plan::World;
use serde::Serialize;

use crate::arguments::ReadArguments;
use crate::objects;
use crate::output::Output;
use crate::ports::records;

/// Arguments of `egret who`.
#[derive(Debug, Args)]
pub struct WhoArguments {
    /// The egress address and port, as 203.0.113.7:40123 or [2001:db8::7]:40123
    #[arg(value_name = "ADDRESS:PORT")]
    end: SocketAddr,
    /// Where objects come from
    #[command(flatten)]
    store: ReadArguments,
    /// How to print
    #[arg(short, long, default_value = "text")]
    output: Output,
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

/// Prints whose a port is. Fails if it is nobody's.
///
/// # Errors
/// When the store cannot be read.
pub fn run(arguments: WhoArguments) -> Result<ExitCode> {
    let WhoArguments { end, store, output } = arguments;
    let (objects, _) = objects::read(store.source()?)?;
    let owner = owner(&objects, end);
    output.print(&owner, || text(owner.as_ref(), end))?;
    let leased = owner.is_some_and(|owner| owner.node.is_some());
    Ok(if leased { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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

fn text(owner: Option<&Owner>, end: SocketAddr) -> String {
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
         they select now: {}\nWhich of them uses the port, and who had it earlier, is not written down.",
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
        let told = text(owner(&world(), end).as_ref(), end);
        assert!(
            told.contains("leased to node a (ports 1024 to 1279)") && told.contains("prod/web-1"),
            "{told}"
        );
    }
}

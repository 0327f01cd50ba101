//! Whether every egress address has a gateway that serves it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Facts, by_name, unasked};
use crate::{Finding, items, some, text};

const WHAT: &str = "gateways";

/// Judges the gateways.
pub fn judge(facts: &Facts) -> Finding {
    let (addresses, records) = match (&facts.addresses, &facts.records) {
        (Ok(addresses), Ok(records)) => (addresses, records),
        (Err(why), _) => return unasked(WHAT, why, "egressaddresses.egret.dev"),
        (_, Err(why)) => return unasked(WHAT, why, "egressnodes.egret.dev"),
    };
    let ready = |record: &&Value| record["spec"]["ready"] == true;
    let held: BTreeSet<&str> = records
        .iter()
        .filter(ready)
        .flat_map(|record| items(record, "/spec/holds"))
        .filter_map(Value::as_str)
        .collect();
    let by_name = by_name(&facts.records);
    let served = |address: &Value| match address["spec"]["nodeAddress"] == true {
        // The node's kernel answers for its own address, so nobody holds it.
        true => items(address, "/spec/candidates")
            .iter()
            .filter_map(|node| by_name.get(node.as_str()?).copied())
            .any(|record| ready(&record)),
        false => held.contains(text(address, "/spec/address")),
    };
    let told = |is: &dyn Fn(&Value) -> bool| -> Vec<String> {
        addresses.iter().filter(|a| is(a)).map(|a| text(a, "/spec/address").to_owned()).collect()
    };
    let homeless = told(&|address| items(address, "/spec/candidates").is_empty());
    let unserved = told(&|address| !items(address, "/spec/candidates").is_empty() && !served(address));
    if !homeless.is_empty() {
        return Finding::failure(
            WHAT,
            format!("no node can serve {}", some(&homeless)),
            "let the pool select a ready node that has an interface in the address's network (kubectl get egressnodes)",
        );
    }
    if !unserved.is_empty() {
        return Finding::failure(
            WHAT,
            format!("nobody holds {}", some(&unserved)),
            "see why its candidates (kubectl get egressaddresses) are not ready: their packets are dropped meanwhile",
        );
    }
    Finding::ok(WHAT, format!("{} addresses, each served", addresses.len()))
}

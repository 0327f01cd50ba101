//! What policies would do that are only observed.

use egret_api::Dialect;

use super::{Packet, captures};
use crate::allocate::Claims;
use crate::intent::Intent;
use crate::node::{families, verdict};
use crate::rules::Verdict;
use crate::world::{PodKey, World};

/// A step for each observed policy that selects the pod: what it would do if its system were on.
pub(super) fn steps(world: &World, pod: &PodKey, packet: Option<Packet>) -> Vec<String> {
    let Some(as_if) = world.as_if_on() else { return Vec::new() };
    let mut claims = Claims::default();
    claims.settle(&as_if);
    let policies = as_if.pods().get(pod).map(|pod| pod.policies.as_slice()).unwrap_or_default();
    let observed = |intent: &Intent| {
        let is = !world.policies().contains_key(&intent.rank.key);
        intent.rank.key.kind.dialect().filter(|_| is)
    };
    // What is in force stays as it is; what is not yet has the address that it would be given.
    let verdict = |intent: &Intent| match (observed(intent), claims.outcomes.get(&intent.rank.key)) {
        (Some(_), Some(Ok(address))) => Verdict::Egress(*address),
        (Some(_), _) => Verdict::Drop,
        (None, _) => verdict(&as_if, intent, |_, _| true),
    };
    let matching = |intent: &Intent| captures(intent, families(&as_if, intent, verdict(intent)), packet);
    let mut first: Option<&Intent> = None;
    let mut steps = Vec::new();
    for intent in policies {
        let matches = matching(intent);
        if let Some(dialect) = observed(intent) {
            let how = match claims.outcomes.get(&intent.rank.key) {
                Some(Ok(address)) => format!("by {address}"),
                Some(Err(fault)) => format!("its packets would be dropped: {fault}"),
                None => "its packets would be dropped".to_owned(),
            };
            steps.push(format!("{}: {}; {how}", intent.rank, would(dialect, matches, first, packet)));
        }
        if matches {
            first.get_or_insert(intent);
        }
    }
    steps
}

fn would(dialect: Dialect, matches: bool, first: Option<&Intent>, packet: Option<Packet>) -> String {
    let does = match (matches, first, packet) {
        (true, None, _) => "decide".to_owned(),
        (_, Some(first), _) => format!("come after {}", first.rank),
        (false, None, Some(_)) => "not match the destination".to_owned(),
        (false, None, None) => "decide for some destinations".to_owned(),
    };
    format!("only observed, changes nothing; with {} on it would {does}", dialect.name())
}

//! What became of the connections, in figures.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::flow::{Flow, Kind};

/// LoxiLB's instances tell each other of connections that are older.
const YOUNG: Duration = Duration::from_secs(10);

/// What became of some flows.
#[derive(Serialize, Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Flows that went on after the fault, whole, and ended in good order.
    pub held: usize,
    /// The others.
    pub lost: usize,
    /// Of all: younger than 10 s at the fault, which is too young for systems that copy what they know of connections.
    pub younger_than_10_s: usize,
    /// Of all: pushed by the pod.
    pub pushed_by_pod: usize,
    /// Of all: pushed by the server.
    pub pushed_by_server: usize,
    /// How many flows had each source, as the servers saw it.
    pub sources: BTreeMap<IpAddr, usize>,
    /// Flows of which the server saw more than one source, or another than expected.
    pub wrong_source: usize,
    /// Why flows were lost, and how many for each reason.
    pub reasons: BTreeMap<String, usize>,
}

/// Gaps between what came, in milliseconds.
#[derive(Serialize, Clone, Copy, Debug, PartialEq)]
pub struct Stalls {
    /// Half of the flows had no longer gap.
    pub p50: f64,
    /// 99 of 100 flows had no longer gap.
    pub p99: f64,
    /// No flow had a longer gap.
    pub max: f64,
}

impl Outcome {
    /// Counts flows of some kinds, which should have had one source.
    pub fn of(flows: &[Arc<Flow>], kinds: &[Kind], expected: IpAddr) -> Outcome {
        let own: Vec<&Arc<Flow>> = flows.iter().filter(|f| kinds.contains(&f.kind)).collect();
        let mut outcome = Outcome {
            held: 0,
            lost: 0,
            younger_than_10_s: own.iter().filter(|f| f.age_at_mark().is_some_and(|age| age < YOUNG)).count(),
            pushed_by_pod: own.iter().filter(|f| f.kind == Kind::PushedByClient).count(),
            pushed_by_server: own.iter().filter(|f| f.kind == Kind::PushedByServer).count(),
            sources: BTreeMap::new(),
            wrong_source: 0,
            reasons: BTreeMap::new(),
        };
        for flow in own {
            for source in flow.sources() {
                *outcome.sources.entry(source.ip()).or_default() += 1;
            }
            if flow.sources().len() != 1 || !flow.wrong_sources(expected).is_empty() {
                outcome.wrong_source += 1;
            }
            match lost_because(flow) {
                None => outcome.held += 1,
                Some(reason) => {
                    outcome.lost += 1;
                    *outcome.reasons.entry(reason).or_default() += 1;
                }
            }
        }
        outcome
    }
}

fn lost_because(flow: &Flow) -> Option<String> {
    match (flow.failure(), flow.is_fresh(), flow.is_over()) {
        (Some(failure), _, _) => Some(failure),
        (None, false, _) => Some("nothing fresh came after the fault".to_owned()),
        (None, true, false) => Some("did not close".to_owned()),
        (None, true, true) => None,
    }
}

impl Stalls {
    /// The stalls of some flows; zero if there are none.
    pub fn of(mut stalls: Vec<Duration>) -> Stalls {
        stalls.sort();
        let at = |share: f64| {
            let rank = (share * stalls.len() as f64).ceil() as usize;
            let stall = stalls.get(rank.max(1) - 1).copied().unwrap_or_default();
            (stall.as_secs_f64() * 10_000.0).round() / 10.0
        };
        Stalls { p50: at(0.5), p99: at(0.99), max: at(1.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let ms = |n: u64| Duration::from_millis(n);
        assert_eq!(Stalls::of((1..=1000).map(ms).collect()), Stalls { p50: 500.0, p99: 990.0, max: 1000.0 });
        assert_eq!(Stalls::of(vec![ms(7)]), Stalls { p50: 7.0, p99: 7.0, max: 7.0 });
        assert_eq!(Stalls::of(vec![]), Stalls { p50: 0.0, p99: 0.0, max: 0.0 });
    }

    #[test]
    fn a_flow_is_held_only_if_it_went_on_and_closed() {
        let new =
            |id| Arc::new(Flow::new(id, Kind::PushedByClient, "pod".into(), "192.0.2.1:1".parse().unwrap()));
        let source = "10.10.0.11:1024".parse().unwrap();
        let flows: Vec<Arc<Flow>> = (0..4).map(new).collect();
        flows[3].add_sent();
        flows[3].received_up_to(1);
        for flow in &flows {
            flow.saw_source(source);
            flow.mark();
        }
        for flow in &flows[1..] {
            flow.add_sent();
            flow.received_up_to(flow.sent());
        }
        flows[2].close(Err("reset".into()));
        flows[3].close(Ok(()));
        flows[3].close(Ok(()));
        let outcome = Outcome::of(&flows, &[Kind::PushedByClient], source.ip());
        assert_eq!((outcome.held, outcome.lost, outcome.wrong_source), (1, 3, 0));
        assert_eq!(outcome.younger_than_10_s, 1, "of the others nothing had come");
        assert_eq!(outcome.reasons.len(), 3);
        assert_eq!(
            Outcome::of(&flows, &[Kind::PushedByClient], "10.10.0.12".parse().unwrap()).wrong_source,
            4
        );
    }
}

//! Asks the gateways, round after round, in a task of its own: nothing the agent does otherwise may hold it up.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::time::Duration;

use egret_datapath::Prober;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::liveness::{INTERVAL, Liveness, Verdict};

/// Watches whom `probes` names, and tells each change of the verdict.
pub(crate) async fn probe(
    mut prober: Prober,
    mut probes: watch::Receiver<BTreeMap<String, IpAddr>>,
    verdict: watch::Sender<Verdict>,
) {
    let mut liveness = Liveness::new(RandomState::new().hash_one(std::process::id()));
    let mut rounds = interval(INTERVAL);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut complained = false;
    loop {
        let changed = tokio::select! {
            // Answers first: what has come in is not a miss.
            biased;
            answer = prober.receive() => match answer {
                Ok(answer) => liveness.answer(answer.target, answer.nonce, answer.ready),
                Err(error) => {
                    complain(&mut complained, &error);
                    // The socket stays in error while its device is gone.
                    tokio::time::sleep(INTERVAL).await;
                    liveness.round().1
                }
            },
            changed = probes.changed() => {
                if changed.is_err() {
                    return;
                }
                let probes = probes.borrow_and_update().clone();
                liveness.watch(&probes)
            }
            _ = rounds.tick() => {
                let mut changed = false;
                // The socket may hold answers of which the runtime has not heard yet.
                while let Ok(Ok(answer)) = timeout(Duration::ZERO, prober.receive()).await {
                    changed |= liveness.answer(answer.target, answer.nonce, answer.ready);
                }
                let (questions, judged) = liveness.round();
                for question in questions {
                    match prober.send(question.target, question.nonce) {
                        Ok(()) => complained = false,
                        Err(error) => complain(&mut complained, &error),
                    }
                }
                changed | judged
            }
        };
        if changed {
            verdict.send_replace(liveness.verdict());
        }
    }
}

fn complain(complained: &mut bool, error: &std::io::Error) {
    if !std::mem::replace(complained, true) {
        tracing::warn!(%error, "gateways cannot be probed");
    }
}

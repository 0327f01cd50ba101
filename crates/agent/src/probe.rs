//! Asks the gateways, round after round, in a task of its own: nothing the agent does otherwise may hold it up.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::time::Duration;

use egret_datapath::{Answer, Prober, ask_link};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::links::{LinkProbes, TriedLinks};
use crate::liveness::{INTERVAL, LINK_INTERVAL, Liveness, Patience, Verdict};

/// Whom to ask.
pub(crate) struct Asked {
    /// Gateways, whether they are alive.
    pub gateways: watch::Receiver<BTreeMap<String, IpAddr>>,
    /// Links, whether they carry packets without tunnel.
    pub links: watch::Receiver<LinkProbes>,
}

struct Heard {
    gateways: Liveness,
    links: TriedLinks,
}

impl Heard {
    /// Returns whether the verdict about gateways changed.
    fn answer(&mut self, answer: Answer) -> bool {
        if answer.link {
            self.links.answer(answer.target, answer.nonce);
            return false;
        }
        self.gateways.answer(answer.target, answer.nonce, answer.ready)
    }
}

/// Watches whom `asked` names, and tells each change of the verdict and of the links that work.
pub(crate) async fn probe(
    mut prober: Prober,
    mut asked: Asked,
    verdict: watch::Sender<Verdict>,
    working: watch::Sender<BTreeSet<String>>,
) {
    let random = RandomState::new();
    let base = |of: &str| random.hash_one((std::process::id(), of));
    let mut heard = Heard {
        gateways: Liveness::new(base("gateways"), Patience::GATEWAY),
        links: TriedLinks::new(["link", "link, IPv6"].map(base)),
    };
    let mut rounds = interval(INTERVAL);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut link_rounds = interval(LINK_INTERVAL);
    link_rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut complaints = Complaints::default();
    loop {
        let changed = tokio::select! {
            // Answers first: what has come in is not a miss.
            biased;
            answer = prober.receive() => match answer {
                Ok(answer) => heard.answer(answer),
                Err(error) => {
                    complain(&mut complaints.gateways, "gateways cannot be probed", &error);
                    // The socket stays in error while its device is gone.
                    tokio::time::sleep(INTERVAL).await;
                    heard.gateways.round().1
                }
            },
            changed = asked.gateways.changed() => {
                if changed.is_err() {
                    return;
                }
                let gateways = asked.gateways.borrow_and_update().clone();
                heard.gateways.watch(&gateways)
            }
            changed = asked.links.changed() => {
                if changed.is_err() {
                    return;
                }
                let links = asked.links.borrow_and_update().clone();
                heard.links.watch(links);
                false
            }
            _ = rounds.tick() => {
                let mut changed = drain(&mut prober, &mut heard).await;
                let (questions, judged) = heard.gateways.round();
                changed |= judged;
                for question in questions {
                    match prober.send(question.target, question.nonce) {
                        Ok(()) => complaints.gateways = false,
                        Err(error) => complain(&mut complaints.gateways, "gateways cannot be probed", &error),
                    }
                }
                changed
            }
            _ = link_rounds.tick() => {
                let changed = drain(&mut prober, &mut heard).await;
                for (probe, nonce) in heard.links.round() {
                    match ask_link(&probe, nonce) {
                        Ok(()) => complaints.links = false,
                        Err(error) => complain(&mut complaints.links, "links cannot be tried", &error),
                    }
                }
                changed
            }
        };
        if changed {
            verdict.send_replace(heard.gateways.verdict());
        }
        let now = heard.links.working();
        working.send_if_modified(|before| {
            let news = *before != now;
            *before = now;
            news
        });
    }
}

/// The socket may hold answers of which the runtime has not heard yet.
async fn drain(prober: &mut Prober, heard: &mut Heard) -> bool {
    let mut changed = false;
    while let Ok(Ok(answer)) = timeout(Duration::ZERO, prober.receive()).await {
        changed |= heard.answer(answer);
    }
    changed
}

/// What has been complained about.
#[derive(Default)]
struct Complaints {
    gateways: bool,
    links: bool,
}

fn complain(complained: &mut bool, what: &str, error: &std::io::Error) {
    if !std::mem::replace(complained, true) {
        tracing::warn!(%error, "{what}");
    }
}

//! Which gateways live, told by their answers alone. Time is counted in rounds of questions, so that an agent
//! that did not get to run for a while does not take its own absence for somebody's death.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

/// Time between two rounds of questions.
pub const INTERVAL: Duration = Duration::from_millis(50);
/// Time between two rounds of questions about links: what they decide is only how fast packets are.
pub const LINK_INTERVAL: Duration = Duration::from_millis(500);
/// So many good answers in a row: alive.
const GOOD: u8 = 3;

/// How long a silence is borne.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Patience {
    /// So many questions in a row without an answer: dead.
    misses: u64,
    /// So many questions in a row without an answer: good answers are counted anew.
    gap: u64,
}

impl Patience {
    /// For gateways. The answer to the last question may still be under way on a long path; one gap is not a row.
    pub const GATEWAY: Self = Self { misses: 5, gap: 2 };
    /// For links, which are short.
    pub const LINK: Self = Self { misses: 3, gap: 1 };
}

/// A gateway's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    /// Not judged yet; it counts as dead, but nothing should be changed because of it.
    Unknown,
    Alive,
    Dead,
}

#[derive(Clone, Debug)]
struct Gateway {
    target: IpAddr,
    life: Life,
    /// Rounds in which it was asked, and the last of them that it answered.
    asked: u64,
    answered: u64,
    /// Good answers since the last gap.
    good: u8,
    /// Answers of either kind since the last gap.
    heard: u8,
}

impl Gateway {
    /// One answer longer in coming than being alive: who hears several others again after a silence should know
    /// all that live before it acts on hearing anybody.
    fn answers(&self) -> bool {
        self.heard > GOOD
    }
}

/// A question to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// Underlay address of the gateway.
    pub target: IpAddr,
    /// What the answer must repeat.
    pub nonce: u64,
}

/// The gateways that are watched.
#[derive(Clone, Debug, Default)]
pub struct Liveness {
    gateways: BTreeMap<String, Gateway>,
    by_target: BTreeMap<IpAddr, String>,
    /// Nonces begin here, so that answers to an earlier process mean nothing to this one.
    base: u64,
    patience: Patience,
}

impl Liveness {
    /// Watches nobody yet. `base` should be random.
    pub fn new(base: u64, patience: Patience) -> Self {
        Self { base, patience, ..Self::default() }
    }

    /// Watches these gateways, by name, at these underlay addresses. Returns whether the verdict changed.
    pub fn watch(&mut self, probes: &BTreeMap<String, IpAddr>) -> bool {
        let before = self.verdict();
        self.gateways.retain(|name, gateway| probes.get(name) == Some(&gateway.target));
        for (name, target) in probes {
            self.gateways.entry(name.clone()).or_insert(Gateway {
                target: *target,
                life: Life::Unknown,
                asked: 0,
                answered: 0,
                good: 0,
                heard: 0,
            });
        }
        self.by_target = self.gateways.iter().map(|(name, gateway)| (gateway.target, name.clone())).collect();
        before != self.verdict()
    }

    /// Begins a round: judges by the rounds before, and says whom to ask. All answers that have come in must
    /// have been told before. Returns whether the verdict changed.
    pub fn round(&mut self) -> (Vec<Question>, bool) {
        let before = self.verdict();
        let mut questions = Vec::with_capacity(self.gateways.len());
        for gateway in self.gateways.values_mut() {
            let misses = gateway.asked - gateway.answered;
            if misses >= self.patience.gap {
                (gateway.good, gateway.heard) = (0, 0);
            }
            if misses >= self.patience.misses {
                gateway.life = Life::Dead;
            }
            gateway.asked += 1;
            questions.push(Question { target: gateway.target, nonce: self.base.wrapping_add(gateway.asked) });
        }
        (questions, before != self.verdict())
    }

    /// An answer came in; `ready`: the gateway can carry packets now. Returns whether the verdict changed.
    pub fn answer(&mut self, target: IpAddr, nonce: u64, ready: bool) -> bool {
        let round = nonce.wrapping_sub(self.base);
        let Some(gateway) = self.by_target.get(&target).and_then(|name| self.gateways.get_mut(name)) else {
            return false;
        };
        if round <= gateway.answered || round > gateway.asked {
            return false;
        }
        let before = (gateway.life, gateway.answers());
        gateway.answered = round;
        gateway.heard = gateway.heard.saturating_add(1);
        if ready {
            gateway.good = gateway.good.saturating_add(1);
            if gateway.good >= GOOD {
                gateway.life = Life::Alive;
            }
        } else {
            // It says so itself: no reason to wait for more.
            gateway.good = 0;
            gateway.life = Life::Dead;
        }
        before != (gateway.life, gateway.answers())
    }

    /// Who lives, and whether everybody has been judged.
    pub fn verdict(&self) -> Verdict {
        let of = |life| move |(_, gateway): &(&String, &Gateway)| gateway.life == life;
        Verdict {
            alive: self.gateways.iter().filter(of(Life::Alive)).map(|(name, _)| name.clone()).collect(),
            reachable: self
                .gateways
                .iter()
                .filter(|(_, gateway)| gateway.answers())
                .map(|(name, _)| name.clone())
                .collect(),
            dead: self.gateways.iter().filter(of(Life::Dead)).map(|(name, _)| name.clone()).collect(),
        }
    }
}

/// Who lives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Gateways that answer and are ready.
    pub alive: BTreeSet<String>,
    /// Gateways that do not answer, or are not ready. Who is in neither set has not been judged yet.
    pub dead: BTreeSet<String>,
    /// Who answers at all, ready or not.
    pub reachable: BTreeSet<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gateway(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn watching(names: &[(&str, u8)]) -> Liveness {
        let mut liveness = Liveness::new(u64::MAX - 2, Patience::GATEWAY);
        liveness.watch(&names.iter().map(|(name, last)| ((*name).to_owned(), gateway(*last))).collect());
        liveness
    }

    /// One round that is answered by those listed. Returns whether the verdict changed.
    fn round(liveness: &mut Liveness, answering: &[(u8, bool)]) -> bool {
        let (questions, mut changed) = liveness.round();
        for question in questions {
            for (last, ready) in answering {
                if question.target == gateway(*last) {
                    changed |= liveness.answer(question.target, question.nonce, *ready);
                }
            }
        }
        changed
    }

    fn alive(liveness: &Liveness) -> Vec<String> {
        liveness.verdict().alive.into_iter().collect()
    }

    #[test]
    fn three_good_answers_make_alive_and_five_misses_dead() {
        let mut liveness = watching(&[("a", 1), ("b", 2)]);
        assert_eq!(liveness.verdict(), Verdict::default());
        assert!(!round(&mut liveness, &[(1, true)]));
        assert!(!round(&mut liveness, &[(1, true)]));
        assert!(round(&mut liveness, &[(1, true)]));
        assert_eq!(alive(&liveness), ["a"]);
        assert_eq!(liveness.verdict().dead, BTreeSet::new(), "b has not been judged yet");
        for _ in 0..5 {
            round(&mut liveness, &[]);
        }
        assert_eq!(alive(&liveness), ["a"], "the fifth question may still be answered");
        assert!(liveness.round().1);
        let dead = ["a".to_owned(), "b".to_owned()].into();
        assert_eq!(liveness.verdict(), Verdict { dead, ..Verdict::default() });
    }

    #[test]
    fn a_link_works_after_three_answers_in_a_row_and_no_more_after_three_misses() {
        let mut link = Liveness { patience: Patience::LINK, ..watching(&[("a", 1)]) };
        for _ in 0..4 {
            round(&mut link, &[(1, true)]);
            round(&mut link, &[(1, true)]);
            round(&mut link, &[]);
        }
        assert!(alive(&link).is_empty(), "two of three get through");
        for _ in 0..3 {
            round(&mut link, &[(1, true)]);
        }
        assert_eq!(alive(&link), ["a"]);
        for _ in 0..4 {
            round(&mut link, &[]);
            round(&mut link, &[]);
            round(&mut link, &[(1, true)]);
        }
        assert_eq!(alive(&link), ["a"], "two misses are forgiven");
        for _ in 0..3 {
            round(&mut link, &[]);
        }
        assert!(link.round().1);
        assert!(alive(&link).is_empty());
    }

    #[test]
    fn four_misses_are_forgiven() {
        let mut liveness = watching(&[("a", 1)]);
        for _ in 0..3 {
            round(&mut liveness, &[(1, true)]);
        }
        for _ in 0..10 {
            for _ in 0..4 {
                assert!(!round(&mut liveness, &[]));
            }
            assert!(!round(&mut liveness, &[(1, true)]));
        }
        assert_eq!(alive(&liveness), ["a"]);
    }

    #[test]
    fn who_comes_back_must_be_good_three_times_in_a_row() {
        let mut liveness = watching(&[("a", 1)]);
        for _ in 0..6 {
            round(&mut liveness, &[]);
        }
        for _ in 0..4 {
            round(&mut liveness, &[(1, true)]);
            round(&mut liveness, &[(1, true)]);
            round(&mut liveness, &[]);
            round(&mut liveness, &[]);
            assert!(alive(&liveness).is_empty());
        }
        for _ in 0..3 {
            round(&mut liveness, &[(1, true)]);
        }
        assert_eq!(alive(&liveness), ["a"]);
    }

    #[test]
    fn who_says_that_it_is_not_ready_is_dead_at_once() {
        let mut liveness = watching(&[("a", 1)]);
        for _ in 0..3 {
            round(&mut liveness, &[(1, true)]);
        }
        assert!(round(&mut liveness, &[(1, false)]));
        assert!(alive(&liveness).is_empty());
        round(&mut liveness, &[(1, false)]);
        assert_eq!(liveness.verdict().reachable, ["a".to_owned()].into(), "but it is there");
        for _ in 0..6 {
            round(&mut liveness, &[]);
        }
        assert!(liveness.verdict().reachable.is_empty());
        let news = (0..4).map(|_| round(&mut liveness, &[(1, false)])).collect::<Vec<_>>();
        assert_eq!(news, [false, false, false, true], "to be there again is news");
    }

    #[test]
    fn a_path_longer_than_a_round_is_no_death() {
        let mut liveness = watching(&[("a", 1)]);
        let mut late = Vec::new();
        for _ in 0..8 {
            let (questions, _) = liveness.round();
            if let Some(question) = late.pop() {
                let question: Question = question;
                liveness.answer(question.target, question.nonce, true);
            }
            late = questions;
        }
        assert_eq!(alive(&liveness), ["a"]);
    }

    #[test]
    fn answers_that_nobody_asked_for_mean_nothing() {
        let mut liveness = watching(&[("a", 1)]);
        let (questions, _) = liveness.round();
        for nonce in [0, questions[0].nonce.wrapping_add(1), 77] {
            assert!(!liveness.answer(gateway(1), nonce, true));
        }
        assert!(!liveness.answer(gateway(1), questions[0].nonce, true));
        for _ in 0..5 {
            // The same answer over and over.
            assert!(!liveness.answer(gateway(1), questions[0].nonce, true));
        }
        assert!(alive(&liveness).is_empty());
        assert!(!liveness.answer(gateway(9), questions[0].nonce, true), "from somebody who was not asked");
    }

    #[test]
    fn who_is_watched_anew_is_judged_anew() {
        let mut liveness = watching(&[("a", 1), ("b", 2)]);
        for _ in 0..3 {
            round(&mut liveness, &[(1, true), (2, true)]);
        }
        assert!(liveness.watch(&[("a".to_owned(), gateway(3)), ("b".to_owned(), gateway(2))].into()));
        assert_eq!(alive(&liveness), ["b"], "a has another address now");
        assert!(liveness.watch(&BTreeMap::new()));
        assert_eq!(liveness.verdict(), Verdict::default());
    }
}

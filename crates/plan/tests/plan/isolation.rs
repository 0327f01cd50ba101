//! Long walks of a user of one namespace, who writes whatever the API lets him write: of what others' pods do, nothing
//! may ever depend on it. Each step is decided from what changed, so that very many fit into a test.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use egret_api::{Claim, EgressAddress, EgressAddressSpec, Object, ObjectKey};
use egret_plan::{World, node};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::property::nothing_changed_but_in;
use crate::sim::{Cluster, Write};
use crate::strategy::{self, Event};

/// Sequences of writes, unless `EGRET_SEQUENCES` says otherwise: `make sequences` does 100,000.
const SEQUENCES: usize = 10_000;
/// Sequences in one cluster, before the next is made.
const WALK: usize = 1000;
/// Of so many sequences one is followed to every node's kernel.
const TO_THE_KERNEL: usize = 100;

/// Who writes, by number and by name.
const OWN: (usize, &str) = (1, "b");

/// Marsaglia's xorshift: quick, and the same each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit).unwrap()).unwrap()
    }
}

/// What the plans of others' pods are made of: their policies, and the addresses that these have.
#[derive(Debug, PartialEq)]
struct Others {
    policies: BTreeMap<String, Vec<ObjectKey>>,
    addresses: BTreeMap<ObjectKey, BTreeMap<IpAddr, Served>>,
}

/// An address as those who use it see it.
#[derive(Debug, PartialEq)]
struct Served {
    pool: String,
    candidates: Vec<String>,
    interface: Option<String>,
    block_size: u16,
    pod_share: u8,
    /// Ports of the nodes on which others' pods use it.
    leases: BTreeSet<(String, u16)>,
}

impl Others {
    fn of(world: &World) -> Others {
        let (mut policies, mut users) = (BTreeMap::new(), BTreeMap::<ObjectKey, BTreeSet<String>>::new());
        for (key, pod) in world.pods().iter().filter(|(key, _)| &*key.0 != OWN.1) {
            let own: Vec<ObjectKey> = pod.policies.iter().map(|intent| intent.rank.key.clone()).collect();
            for policy in &own {
                users.entry(policy.clone()).or_default().insert(pod.node.to_string());
            }
            policies.insert(format!("{}/{}", key.0, key.1), own);
        }
        let addresses = users.into_iter().map(|(policy, nodes)| {
            let claim = Claim {
                kind: policy.kind.as_str().to_owned(),
                namespace: policy.namespace.clone(),
                name: policy.name.clone(),
            };
            let served = world.records_claimed_by(&claim).map(|r| (r.address, Served::of(&r.spec, &nodes)));
            let served = served.collect();
            (policy, served)
        });
        let addresses = addresses.collect();
        Others { policies, addresses }
    }

    /// Nothing of it is otherwise; a policy that waited for an address may have got one.
    fn unchanged(&self, after: &Others) -> bool {
        let waited = |policy: &ObjectKey| self.addresses.get(policy).is_none_or(BTreeMap::is_empty);
        self.policies == after.policies
            && self.addresses.iter().filter(|(policy, _)| !waited(policy)).all(|(policy, before)| {
                after.addresses.get(policy).is_some_and(|now| {
                    before.len() == now.len()
                        && before.iter().all(|(a, served)| now.get(a).is_some_and(|now| served.stays(now)))
                })
            })
    }
}

impl Served {
    fn of(spec: &EgressAddressSpec, nodes: &BTreeSet<String>) -> Served {
        let mine = spec.leases.iter().filter(|lease| lease.released.is_none() && nodes.contains(&lease.node));
        Served {
            pool: spec.pool.clone(),
            candidates: spec.candidates.clone(),
            interface: spec.interface.clone(),
            block_size: spec.block_size,
            pod_share: spec.pod_share,
            leases: mine.map(|lease| (lease.node.clone(), lease.first_port)).collect(),
        }
    }

    fn stays(&self, now: &Served) -> bool {
        let same = |served: &Served| {
            let Served { pool, candidates, interface, block_size, pod_share, leases: _ } = served;
            (pool.clone(), candidates.clone(), interface.clone(), *block_size, *pod_share)
        };
        same(self) == same(now) && self.leases.is_subset(&now.leases)
    }
}

/// The controller's turn, from what changed only.
fn decide(cluster: &mut Cluster) {
    for _ in 0..8 {
        cluster.decider.decide(&mut cluster.world, &cluster.settings, cluster.now);
        let decision = cluster.decider.decision();
        let record = |name: String| {
            let new = decision.addresses.get(&name);
            let new =
                new.map(|spec| Object::EgressAddress(Box::new(EgressAddress::new(&name, spec.clone()))));
            Write::Record(name, new.map(Box::new))
        };
        let records = cluster.decider.unwritten().map(record);
        let told = |key: &ObjectKey| Some(Write::Status(key.clone(), decision.statuses.get(key)?.clone()));
        let writes: Vec<Write> = records.chain(cluster.decider.untold().filter_map(told)).collect();
        if writes.is_empty() {
            return;
        }
        writes.iter().for_each(|write| cluster.write(write));
    }
    panic!("the controller does not come to an end: {cluster:?}");
}

/// Plans of every node whose agent is at work, in force at once.
fn to_the_kernel(cluster: &mut Cluster) {
    for name in cluster.nodes().into_iter().filter(|name| !cluster.off.contains(name)).collect::<Vec<_>>() {
        let plan = node::plan(&cluster.world, &cluster.settings, &cluster.local(&name));
        cluster.kernels.insert(name, plan.tables);
    }
}

fn generated<T>(runner: &mut TestRunner, strategy: impl Strategy<Value = T>) -> T {
    strategy.new_tree(runner).unwrap().current()
}

/// So many sequences, in clusters that differ.
fn walk(seed: u64, sequences: usize) {
    let bytes: Vec<u8> = (0..32).map(|n| (seed >> (n % 8)).to_le_bytes()[0] ^ n).collect();
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let mut chance = Chance(seed | 1);
    let possible: Vec<Event> = (0..2000).map(|_| generated(&mut runner, strategy::write_in(OWN.0))).collect();
    let mut cluster = generated(&mut runner, strategy::cluster());
    let mut before = Others::of(&cluster.world);
    for sequence in 0..sequences {
        if sequence % WALK == 0 {
            cluster = generated(&mut runner, strategy::cluster());
            before = Others::of(&cluster.world);
        }
        let follow = sequence % TO_THE_KERNEL == 0;
        if follow {
            to_the_kernel(&mut cluster);
        }
        let kernels = follow.then(|| cluster.clone());
        let writes: Vec<&Event> =
            (0..1 + chance.below(4)).map(|_| &possible[chance.below(possible.len())]).collect();
        for write in &writes {
            write.happen(&mut cluster);
            if chance.below(2) == 0 {
                decide(&mut cluster);
            }
        }
        decide(&mut cluster);
        let after = Others::of(&cluster.world);
        assert!(
            before.unchanged(&after),
            "seed {seed}, sequence {sequence}: {writes:#?}\nchanged for others\n{before:#?}\ninto\n{after:#?}\n{cluster:?}"
        );
        before = after;
        if let Some(kernels) = kernels {
            to_the_kernel(&mut cluster);
            if let Err(error) = nothing_changed_but_in(OWN.1, &kernels, &cluster) {
                panic!("seed {seed}, sequence {sequence}: {writes:#?}\n{error}");
            }
        }
    }
}

#[test]
fn sequences_of_a_namespaces_writes_change_nothing_elsewhere() {
    let sequences =
        std::env::var("EGRET_SEQUENCES").ok().map(|text| text.parse().unwrap()).unwrap_or(SEQUENCES);
    let seed: u64 = std::env::var("EGRET_SEED").ok().map(|text| text.parse().unwrap()).unwrap_or(0x2545_f491);
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..2).map(|n| scope.spawn(move || walk(seed.wrapping_add(n), sequences.div_ceil(2)))).collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

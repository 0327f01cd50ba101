//! Who is told changes knows what who reads everything does.

use std::path::PathBuf;

use egret_api::{Kind, ObjectKey};
use egret_store::{Changes, Directory, Snapshot, Store};
use serde_json::json;

use crate::place::{Place, SOON, names, namespace, node, policy};

/// What somebody who follows a store has made of what he was told.
#[derive(Default)]
struct Follower(Snapshot);

impl Follower {
    fn told(&mut self, changes: Changes) {
        let keys = changes.applied.iter().map(|object| object.key());
        let both: Vec<_> = keys.filter(|key| changes.deleted.contains(key)).collect();
        assert_eq!(both, [], "told as applied and as deleted");
        self.0.update(changes);
    }

    fn has_all_of(&self, snapshot: &Snapshot) -> bool {
        let said = |of: &Snapshot| {
            let digests = (of.objects_digest.clone(), of.addresses_digest.clone());
            (of.objects.clone(), of.problems.clone(), digests, of.stale_statuses.clone())
        };
        said(&self.0) == said(snapshot)
    }
}

/// One of many things that may happen to a directory; `dice` is any number.
fn happen(place: &Place, store: &Directory, dice: u64) {
    let pick = |shift: u64, of: u64| (dice >> shift) % of;
    let file = ["a.yaml", "b.yaml", "team/c.json", "team/d.yml", "other/e.yaml"][pick(8, 5) as usize];
    let name = format!("p{}", pick(16, 4));
    let key = ObjectKey { kind: Kind::EgressPolicy, namespace: "prod".into(), name: name.clone() };
    let gone = |path: PathBuf| drop(std::fs::remove_file(path));
    match pick(0, 16) {
        0..=3 => {
            let second = format!("p{}", pick(24, 4));
            let text = policy(&name, "pool: one") + "---\n" + &policy(&second, "pool: two");
            place.write(file, &text);
        }
        4 => place.write(file, "kind: ["),
        5 => place.write(file, &policy(&name, "pol: one")),
        6 => gone(place.0.join(file)),
        7 => drop(std::fs::rename(place.0.join("team"), place.0.join("band"))),
        8 => drop(std::fs::rename(place.0.join("band"), place.0.join("team"))),
        9 => drop(std::fs::remove_dir_all(place.0.join("other"))),
        10 => store.write_record(&node(&name, pick(24, 2) == 0)).unwrap(),
        11 => store.delete_record(&node(&name, true).key()).unwrap(),
        12 => store.write_status(&key, &json!({"address": "192.0.2.1", "conditions": []})).unwrap(),
        13 => store.write_status(&key, &json!({"address": pick(24, 200)})).unwrap(),
        14 => store.delete_status(&key).unwrap(),
        _ => place.write(&format!(".egret/records/EgressNode/{name}.json"), "{"),
    }
}

#[tokio::test]
async fn who_is_told_changes_has_at_the_end_what_who_reads_everything_has() {
    for seed in 1..=24_u64 {
        let place = Place::new(&format!("changes-{seed}"));
        let (asked, mut watching) = (place.open(), place.open());
        let (mut asks, mut watches) = (Follower::default(), Follower::default());
        let mut dice = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for turn in 0..40 {
            // xorshift64
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            happen(&place, &asked, dice);
            if turn % 3 == 0
                && let Some(changes) = asked.news()
            {
                asks.told(changes);
            }
        }
        // Who did not read a file while it was whole cannot say what is in force of it: all is mended at the end.
        for (file, name) in [("a.yaml", "p0"), ("b.yaml", "p0"), ("team/c.json", "p1")] {
            place.write(file, &policy(name, "pool: one"));
        }
        for file in ["team/d.yml", "band/c.json", "band/d.yml", "other/e.yaml"] {
            drop(std::fs::remove_file(place.0.join(file)));
        }
        for name in ["p0", "p1", "p2", "p3"] {
            asked.write_record(&node(name, false)).unwrap();
        }
        let all = place.open().snapshot();
        let deadline = tokio::time::Instant::now() + SOON;
        while !asks.has_all_of(&all) {
            asked.news().into_iter().for_each(|changes| asks.told(changes));
            assert!(tokio::time::Instant::now() < deadline, "seed {seed}: {:#?}\n{all:#?}", asks.0);
        }
        assert!(asks.has_all_of(&asked.snapshot()), "seed {seed}: {:#?}", asks.0);
        while !watches.has_all_of(&all) {
            let changes = tokio::time::timeout_at(deadline, watching.changes()).await;
            watches.told(changes.unwrap_or_else(|_| panic!("seed {seed}: {:#?}\n{all:#?}", watches.0)));
        }
    }
}

/// What happens, how, and what there is then.
type Step<'a> = (&'a str, &'a dyn Fn(), &'a [&'a str]);

#[tokio::test]
async fn what_others_write_is_told_before_everything_is_looked_at_again() {
    let place = Place::new("told");
    let (writer, mut store) = (place.open(), place.open());
    let mut follower = Follower::default();
    follower.told(store.changes().await);
    let steps: [Step; 8] = [
        ("a manifest", &|| place.write("a.yaml", &namespace("a")), &["Namespace a"]),
        (
            "another in a new directory",
            &|| place.write("new/b.yaml", &namespace("b")),
            &["Namespace a", "Namespace b"],
        ),
        (
            "one of two changes",
            &|| place.write("new/b.yaml", &namespace("c")),
            &["Namespace a", "Namespace c"],
        ),
        (
            "a directory moves out of sight",
            &|| std::fs::rename(place.0.join("new"), place.0.join(".off")).unwrap(),
            &["Namespace a"],
        ),
        (
            "it comes back",
            &|| std::fs::rename(place.0.join(".off"), place.0.join("new")).unwrap(),
            &["Namespace a", "Namespace c"],
        ),
        ("a manifest goes", &|| std::fs::remove_file(place.0.join("a.yaml")).unwrap(), &["Namespace c"]),
        ("a record", &|| writer.write_record(&node("n", true)).unwrap(), &["Namespace c", "EgressNode n"]),
        ("a record goes", &|| writer.delete_record(&node("n", true).key()).unwrap(), &["Namespace c"]),
    ];
    let soon = tokio::time::Instant::now() + SOON;
    for (what, step, expected) in steps {
        step();
        while names(&follower.0) != expected {
            let changes = tokio::time::timeout_at(soon, store.changes()).await;
            follower.told(changes.unwrap_or_else(|_| panic!("{what}: {:?}", names(&follower.0))));
        }
    }
}

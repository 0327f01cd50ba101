//! The file of a copy, whatever happens to it.

use super::*;

fn place(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("egret-journal-{name}-{}", std::process::id()));
    drop(std::fs::remove_dir_all(&path));
    std::fs::create_dir_all(&path).unwrap();
    path.join("copy")
}

fn key(name: &str) -> ObjectKey {
    ObjectKey { kind: Kind::EgressNode, namespace: String::new(), name: name.into() }
}

fn text(name: &str, says: u64) -> Box<str> {
    let object = json!({"apiVersion": "egret.dev/v1alpha1", "kind": "EgressNode", "metadata": {"name": name}, "says": says});
    object.to_string().into()
}

fn said(name: &str, says: u64) -> (ObjectKey, Option<Box<str>>) {
    (key(name), Some(text(name, says)))
}

fn head() -> Value {
    json!({"form": 2, "node": "node-1"})
}

/// What somebody who starts reads, by name; `None` if there is no copy.
fn read(path: &Path) -> Option<BTreeMap<String, u64>> {
    let mut objects = BTreeMap::new();
    let mut reader = Reader::open(path, &head()).unwrap()?;
    while let Some((key, value)) = reader.next().unwrap() {
        match value {
            Some(value) => drop(objects.insert(key.name, value["says"].as_u64().unwrap())),
            None => drop(objects.remove(&key.name)),
        }
    }
    Some(objects)
}

fn restored(path: &Path) -> Journal {
    let mut reader = Reader::open(path, &head()).unwrap().unwrap();
    while reader.next().unwrap().is_some() {}
    reader.done()
}

fn of(objects: &[(&str, u64)]) -> Option<BTreeMap<String, u64>> {
    Some(objects.iter().map(|(name, says)| ((*name).to_owned(), *says)).collect())
}

#[test]
fn it_counts_when_all_is_known_and_not_before() {
    let path = place("whole");
    let mut journal = Journal::new(&path, head());
    journal.write(&[said("a", 1)].into(), 1, false).unwrap();
    assert_eq!(read(&path), None, "half of a cluster is none");
    journal.write(&[said("b", 1)].into(), 2, true).unwrap();
    assert_eq!(read(&path), of(&[("a", 1), ("b", 1)]));
}

#[test]
fn the_last_word_of_each_object_counts_also_after_it_was_written_anew() {
    let path = place("last");
    let mut journal = Journal::new(&path, head());
    journal.write(&[said("a", 1), said("b", 1), said("c", 1)].into(), 3, true).unwrap();
    journal.write(&[said("a", 2), (key("b"), None)].into(), 2, true).unwrap();
    let expected = of(&[("a", 2), ("c", 1)]);
    assert_eq!(read(&path), expected);
    let long = std::fs::metadata(&path).unwrap().len();
    journal.tidy().unwrap();
    assert_eq!(read(&path), expected);
    assert!(std::fs::metadata(&path).unwrap().len() < long && journal.lines == 2);
    journal.write(&[said("b", 3)].into(), 3, true).unwrap();
    assert_eq!(read(&path), of(&[("a", 2), ("b", 3), ("c", 1)]), "and it goes on");
}

#[test]
fn a_file_that_changes_for_ever_does_not_grow_for_ever() {
    let path = place("growth");
    let mut journal = Journal::new(&path, head());
    for round in 0..2500 {
        journal.write(&[said("a", round), said("b", round)].into(), 2, true).unwrap();
    }
    assert!(journal.lines <= 4 + SPARE, "{}", journal.lines);
    assert_eq!(read(&path), of(&[("a", 2499), ("b", 2499)]));
}

#[test]
fn what_a_crash_cut_off_is_left_out_and_written_over() {
    let path = place("cut");
    let mut journal = Journal::new(&path, head());
    journal.write(&[said("a", 1), said("b", 1)].into(), 2, true).unwrap();
    let whole = std::fs::read(&path).unwrap();
    for cut in 1..text("b", 1).len() {
        std::fs::write(&path, &whole[..whole.len() - cut]).unwrap();
        restored(&path).write(&[said("c", 1)].into(), 2, true).unwrap();
        assert_eq!(read(&path), of(&[("a", 1), ("c", 1)]), "{cut} bytes less");
    }
}

#[test]
fn another_nodes_copy_is_none_and_stays_until_there_is_a_new_one() {
    let path = place("other");
    let mut other = Journal::new(&path, json!({"form": 2, "node": "node-2"}));
    other.write(&[said("a", 1)].into(), 1, true).unwrap();
    let error = Reader::open(&path, &head()).err().unwrap();
    assert!(error.to_string().contains("another node"), "{error}");
    Journal::new(&path, head()).write(&[said("b", 1)].into(), 1, true).unwrap();
    assert_eq!(read(&path), of(&[("b", 1)]));
}

#[test]
fn a_file_that_somebody_removes_comes_back_with_everything() {
    let path = place("removed");
    let mut journal = Journal::new(&path, head());
    journal.write(&[said("a", 1), said("b", 1)].into(), 2, true).unwrap();
    std::fs::remove_file(&path).unwrap();
    journal.write(&[said("b", 2)].into(), 2, true).unwrap();
    assert_eq!(read(&path), of(&[("a", 1), ("b", 2)]));
}

#[test]
fn two_processes_that_write_for_a_while_spoil_nothing() {
    let path = place("two");
    let mut old = Journal::new(&path, head());
    old.write(&[said("a", 1), said("b", 1)].into(), 2, true).unwrap();
    let mut new = restored(&path);
    for round in 2..6 {
        old.write(&[said("a", round)].into(), 2, true).unwrap();
        assert_eq!(read(&path).map(|objects| objects["a"]), Some(round));
        new.write(&[said("a", round), said("b", round)].into(), 2, true).unwrap();
        assert_eq!(read(&path), of(&[("a", round), ("b", round)]), "the younger one's");
    }
}

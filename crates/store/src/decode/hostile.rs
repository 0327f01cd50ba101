//! Broken and hostile objects of every kind that people write: nobody panics, nobody else notices, and whoever wrote the
//! object is told the field and the cure, at once or in a condition.
//!
//! A kind has one good manifest, and a table of its fields. What can be wrong with a field follows from what it holds.

mod bystanders;
mod others;
mod own;
mod sample;
mod wrong;

use std::collections::BTreeMap;
use std::net::IpAddr;

use egret_plan::{ClusterSettings, Expected, Packet, World, allocate, expected_source};
use serde_json::Value;

use self::bystanders::bystanders;
use self::sample::{Sample, hostile};
use super::{Decoded, manifest};
use egret_api::{EgressAddress, Object, ObjectKey};

/// At least so many wrong objects of each kind.
const EACH: usize = 50;

/// A sample of every kind that people write.
fn samples() -> impl Iterator<Item = Sample> {
    own::samples().into_iter().chain(others::samples())
}

/// What others have in a world, and what everybody is told.
fn decided(mut world: World) -> (Expected, BTreeMap<ObjectKey, Value>) {
    let now = "2026-03-03T00:00:00Z".parse().unwrap();
    let decision = allocate::decide(&world, &ClusterSettings::default(), now);
    for (name, spec) in &decision.addresses {
        world.apply(Object::EgressAddress(Box::new(EgressAddress::new(name, spec.clone()))));
    }
    let packet = Packet { address: [198, 51, 100, 1].into(), protocol: 6, port: 443 };
    let pod = IpAddr::from([10, 244, 1, 10]);
    (expected_source(&world, &ClusterSettings::default(), pod, packet), decision.statuses)
}

/// Field, message and cure of everything that is told of a manifest; the object, if there is one.
fn told(value: Value, world: &World) -> (Vec<String>, Option<Object>) {
    let line = |field: Option<String>, message: String, cure: String| {
        assert!(!cure.is_empty(), "{message}");
        format!("{}: {message}; {cure}", field.unwrap_or_default())
    };
    match manifest(value) {
        Decoded::Foreign(what) => (vec![format!("not read: {what}")], None),
        Decoded::Broken(fault) => (vec![line(fault.field, fault.message, fault.cure)], None),
        Decoded::Object(object, faults) => {
            let mut lines: Vec<String> =
                faults.into_iter().map(|fault| line(fault.field, fault.message, fault.cure)).collect();
            let mut world = world.clone();
            world.apply(object.clone());
            let (others, statuses) = decided(world);
            assert_eq!(others, theirs(), "{:#}", object.encode().unwrap());
            let conditions = statuses.get(&object.key()).and_then(|s| s["conditions"].as_array().cloned());
            let unmet = conditions.into_iter().flatten().filter(|c| c["status"] == "False");
            lines.extend(unmet.filter_map(|c| c["message"].as_str().map(str::to_owned)));
            (lines, Some(object))
        }
    }
}

fn theirs() -> Expected {
    Expected::Egress(IpAddr::from([10, 20, 0, 0]))
}

/// The names in a pointer that a message may use for the place.
fn names(at: &str) -> Vec<String> {
    let parts: Vec<String> = at.split('/').skip(1).map(|part| part.replace("~1", "/")).collect();
    let named = parts.iter().filter(|part| part.parse::<usize>().is_err());
    named.rev().take(2).cloned().collect()
}

#[test]
fn of_every_kind_fifty_broken_objects_are_told_field_and_cure_and_change_nothing_of_others() {
    let world = World::from_objects(bystanders());
    assert_eq!(decided(world.clone()).0, theirs(), "the bystander has its address");
    let mut silent = Vec::new();
    for sample in samples() {
        let (lines, _) = told(sample.good.clone(), &world);
        // No agent answers here for any address.
        let alone = ["no gateway holds it yet", "Can't announce VirtualIP"];
        let broken: Vec<_> =
            lines.iter().filter(|line| !alone.iter().any(|text| line.contains(text))).collect();
        assert!(broken.is_empty(), "{:?} as it should be: {broken:?}", sample.kind);
        let hostile = hostile(&sample);
        println!("{}: {} broken objects", sample.kind.as_str(), hostile.len());
        assert!(hostile.len() >= EACH, "{:?}: {}", sample.kind, hostile.len());
        for (at, value) in hostile {
            let shown: String =
                value.pointer(&at).map(Value::to_string).unwrap_or_default().chars().take(60).collect();
            let (lines, _) = told(value, &world);
            let names = names(&at);
            let says =
                |line: &String| line.contains("; ") && names.iter().any(|name| line.contains(name.as_str()));
            if !lines.iter().any(says) {
                let lines: Vec<String> = lines.iter().map(|line| line.chars().take(160).collect()).collect();
                silent.push(format!("{:?} {at} = {shown}: {lines:?}", sample.kind));
            }
        }
    }
    assert!(silent.is_empty(), "{} objects are not told what is wrong:\n{}", silent.len(), silent.join("\n"));
}

#[test]
fn ten_thousand_broken_objects_change_nothing_of_others() {
    let mut objects = bystanders();
    let all: Vec<Value> = samples().flat_map(|sample| hostile(&sample)).map(|(_, value)| value).collect();
    let (mut read, mut number) = (0, 0);
    for value in all.iter().cycle() {
        // What is large was looked at before.
        if value.to_string().len() > 20_000 || !value["metadata"]["name"].is_string() {
            continue;
        }
        let mut value = value.clone();
        number += 1;
        value["metadata"]["name"] = format!("hostile-{number}").into();
        match manifest(value) {
            Decoded::Object(object, _) => objects.push(object),
            Decoded::Broken(fault) => assert!(!fault.cure.is_empty(), "{}", fault.message),
            Decoded::Foreign(_) => {}
        }
        read += 1;
        if read == 10_000 {
            break;
        }
    }
    assert!(objects.len() > 4000, "{} of them are objects", objects.len());
    assert_eq!(decided(World::from_objects(objects)).0, theirs());
}

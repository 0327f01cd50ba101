//! Definitions as they are against what this version brings.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::ask::Answer;
use crate::schema::fields;
use crate::{Finding, items, some, text};

/// What is looked at.
const WHAT: &str = "definitions";
/// What brings them all.
const CURE: &str = "egret crds | kubectl apply --server-side -f -";

/// Judges definitions: `installed` if they have to be there.
pub(crate) fn judge(definitions: &Answer<Vec<Value>>, expected: &[Value], installed: bool) -> Vec<Finding> {
    let definitions = match definitions {
        Ok(definitions) => definitions,
        Err(why) => {
            let cure = "grant who asks to list customresourcedefinitions.apiextensions.k8s.io";
            return vec![Finding::warning(WHAT, format!("they cannot be told: {why}"), cure)];
        }
    };
    let by_name: BTreeMap<&str, &Value> =
        definitions.iter().map(|definition| (text(definition, "/metadata/name"), definition)).collect();
    let (mut findings, mut served, mut absent, mut foreign) = (Vec::new(), 0, Vec::new(), Vec::new());
    for definition in expected {
        let name = text(definition, "/metadata/name");
        let ours = text(definition, "/spec/group") == egret_api::GROUP;
        match by_name.get(name) {
            Some(found) => match difference(found, definition, ours) {
                Some(finding) => findings.push(finding),
                None => served += 1,
            },
            None if ours => absent.push(name.to_owned()),
            None => foreign.push(name.to_owned()),
        }
    }
    if !absent.is_empty() {
        let found = format!("not there: {}", some(&absent));
        findings.push(match installed {
            true => Finding::failure(WHAT, found, CURE),
            false => Finding::ok(WHAT, format!("{found}; the installation brings them")),
        });
    }
    if findings.is_empty() {
        findings.push(Finding::ok(WHAT, format!("{served} are there and of this version")));
    }
    if !foreign.is_empty() {
        let found =
            format!("of other systems, not there: {}; objects of these kinds cannot exist", some(&foreign));
        findings.push(Finding::ok("other systems' definitions", found));
    }
    findings
}

/// What is wrong with a definition that is there.
fn difference(found: &Value, expected: &Value, ours: bool) -> Option<Finding> {
    let what = format!("definition {}", text(found, "/metadata/name"));
    for condition in
        items(found, "/status/conditions").iter().filter(|condition| condition["status"] == "False")
    {
        let kind = text(condition, "/type");
        if kind == "Established" || kind == "NamesAccepted" {
            let found = format!("{kind} is false: {}", text(condition, "/message"));
            return Some(Finding::failure(what, found, "take away what has its names, and apply it again"));
        }
    }
    let (is, should) = (fields(found), fields(expected));
    if !ours {
        // Its system's own may know fields that Egret does not, and the other way round; any served version does.
        let version = |fields: &BTreeSet<String>| -> BTreeSet<String> {
            fields.iter().filter(|field| field.ends_with(':')).cloned().collect()
        };
        let (is, should) = (version(&is), version(&should));
        let common = is.intersection(&should).next().is_some();
        let cure = "use a version of that system whose objects Egret reads; docs/dialects names them";
        let found = || format!("serves {}, and Egret reads {}", names(&is), names(&should));
        return (!common).then(|| Finding::warning(what, found(), cure));
    }
    let less: Vec<String> = should.difference(&is).cloned().collect();
    let more: Vec<String> = is.difference(&should).cloned().collect();
    match (less.as_slice(), more.as_slice()) {
        ([], []) => None,
        ([], more) => {
            let found = format!("it is of a newer version: this one does not know {}", some(more));
            Some(Finding::warning(
                what,
                found,
                "use the version of Egret that it is of; a definition may lead its programs",
            ))
        }
        (less, _) => {
            let found = format!(
                "it is of another version: it lacks {}, which the server drops from objects",
                some(less)
            );
            Some(Finding::failure(what, found, CURE))
        }
    }
}

fn names(versions: &BTreeSet<String>) -> String {
    let names: Vec<&str> = versions.iter().map(|version| version.trim_end_matches(':')).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Verdict;

    fn expected() -> Vec<Value> {
        egret_api::crds().iter().map(|crd| serde_json::to_value(crd).unwrap()).collect()
    }

    fn named<'a>(definitions: &'a mut [Value], name: &str) -> &'a mut Value {
        definitions.iter_mut().find(|definition| text(definition, "/metadata/name") == name).unwrap()
    }

    #[test]
    fn definitions_of_this_version_are_well() {
        let findings = judge(&Ok(expected()), &expected(), true);
        assert_eq!(findings.len(), 1, "{findings:#?}");
        assert_eq!(
            (findings[0].verdict, findings[0].found.as_str()),
            (Verdict::Ok, "11 are there and of this version")
        );
    }

    #[test]
    fn each_fault_of_a_definition_is_found() {
        type Fault = fn(&mut Vec<Value>);
        let pools = "egresspools.egret.dev";
        let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
        let table: &[(&str, Verdict, &str, Fault)] = &[
            ("definitions", Verdict::Failure, pools, |all| {
                all.retain(|d| text(d, "/metadata/name") != "egresspools.egret.dev")
            }),
            ("definition egresspools.egret.dev", Verdict::Failure, "spec.ranges", |all| {
                let pool = named(all, "egresspools.egret.dev");
                let fields =
                    pool.pointer_mut("/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties");
                fields.unwrap().as_object_mut().unwrap().remove("ranges");
            }),
            ("definition egresspools.egret.dev", Verdict::Failure, "v1alpha1", |all| {
                named(all, "egresspools.egret.dev")["spec"]["versions"][0]["name"] = "v1".into();
            }),
            ("definition egresspools.egret.dev", Verdict::Warning, "spec.colour", |all| {
                let pool = named(all, "egresspools.egret.dev");
                let fields =
                    pool.pointer_mut("/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties");
                fields.unwrap()["colour"] = serde_json::json!({"type": "string"});
            }),
            ("definition egresspools.egret.dev", Verdict::Failure, "is taken", |all| {
                let condition = serde_json::json!({"type": "NamesAccepted", "status": "False", "message": "epool is taken"});
                named(all, "egresspools.egret.dev")["status"] =
                    serde_json::json!({"conditions": [condition]});
            }),
            ("definition egresses.crd.antrea.io", Verdict::Warning, "serves v1", |all| {
                let egress = named(all, "egresses.crd.antrea.io");
                egress["spec"]["versions"].as_array_mut().unwrap().truncate(1);
                egress["spec"]["versions"][0]["name"] = "v1".into();
            }),
            ("other systems' definitions", Verdict::Ok, "egresses.crd.antrea.io", |all| {
                all.retain(|d| text(d, "/metadata/name") != "egresses.crd.antrea.io");
            }),
        ];
        assert!(expected().iter().any(|definition| definition.pointer(spec).is_some()));
        for (what, verdict, word, fault) in table {
            let mut definitions = expected();
            fault(&mut definitions);
            let findings = judge(&Ok(definitions), &expected(), true);
            let found = findings.iter().find(|finding| finding.looked_at == *what);
            let found = found.unwrap_or_else(|| panic!("{what}: {findings:#?}"));
            assert_eq!(found.verdict, *verdict, "{findings:#?}");
            assert!(found.found.contains(word), "{word}: {findings:#?}");
        }
        let before = judge(&Ok(Vec::new()), &expected(), false);
        assert!(before.iter().all(|finding| finding.verdict == Verdict::Ok), "{before:#?}");
        assert_eq!(judge(&Err("forbidden".to_owned()), &expected(), true)[0].verdict, Verdict::Warning);
    }
}

//! Label selectors, evaluated by hand: total, and with the faults that an API server would refuse.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

use crate::fault::Fault;

/// Labels of an object.
pub type Labels = BTreeMap<String, String>;

/// A selector that has been checked. The default selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Selector {
    equal: Labels,
    also: Vec<Requirement>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Requirement {
    In(String, BTreeSet<String>),
    NotIn(String, BTreeSet<String>),
    Exists(String),
    Absent(String),
}

impl Selector {
    /// Checks a selector; `field` is where it stands in its object.
    ///
    /// # Errors
    /// An operator that does not exist, or values where none (or some) belong.
    pub fn read(selector: &LabelSelector, field: &str) -> Result<Selector, Fault> {
        let mut also = Vec::new();
        for (i, r) in selector.match_expressions.iter().flatten().enumerate() {
            let field = format!("{field}.matchExpressions[{i}]");
            let values: BTreeSet<String> = r.values.iter().flatten().cloned().collect();
            let (key, some) = (r.key.clone(), !values.is_empty());
            also.push(match (r.operator.as_str(), some) {
                ("In", true) => Requirement::In(key, values),
                ("NotIn", true) => Requirement::NotIn(key, values),
                ("Exists", false) => Requirement::Exists(key),
                ("DoesNotExist", false) => Requirement::Absent(key),
                ("In" | "NotIn", false) => {
                    return Err(Fault::invalid(
                        format!("{field}.values"),
                        format!("operator {} needs values", r.operator),
                        "list at least one value",
                    ));
                }
                ("Exists" | "DoesNotExist", true) => {
                    return Err(Fault::invalid(
                        format!("{field}.values"),
                        format!("operator {} takes no values", r.operator),
                        "remove the values",
                    ));
                }
                (other, _) => {
                    return Err(Fault::invalid(
                        format!("{field}.operator"),
                        format!("`{other}` is no operator"),
                        "write In, NotIn, Exists or DoesNotExist",
                    ));
                }
            });
        }
        Ok(Selector { equal: selector.match_labels.clone().unwrap_or_default(), also })
    }

    /// The labels satisfy every requirement.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.equal.iter().all(|(k, v)| labels.get(k) == Some(v)) && self.also.iter().all(|r| r.holds(labels))
    }

    /// The selector as people write it.
    pub fn to_label_selector(&self) -> LabelSelector {
        let requirement = |r: &Requirement| {
            let (key, operator, values) = match r {
                Requirement::In(key, values) => (key, "In", Some(values)),
                Requirement::NotIn(key, values) => (key, "NotIn", Some(values)),
                Requirement::Exists(key) => (key, "Exists", None),
                Requirement::Absent(key) => (key, "DoesNotExist", None),
            };
            LabelSelectorRequirement {
                key: key.clone(),
                operator: operator.to_owned(),
                values: values.map(|values| values.iter().cloned().collect()),
            }
        };
        let also: Vec<_> = self.also.iter().map(requirement).collect();
        LabelSelector {
            match_labels: (!self.equal.is_empty()).then(|| self.equal.clone()),
            match_expressions: (!also.is_empty()).then_some(also),
        }
    }

    /// The pairs that an object must carry to be selected, apart from other requirements.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.equal.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }
}

impl Requirement {
    fn holds(&self, labels: &Labels) -> bool {
        match self {
            Requirement::In(key, values) => labels.get(key).is_some_and(|v| values.contains(v)),
            Requirement::NotIn(key, values) => labels.get(key).is_none_or(|v| !values.contains(v)),
            Requirement::Exists(key) => labels.contains_key(key),
            Requirement::Absent(key) => !labels.contains_key(key),
        }
    }
}

impl std::fmt::Display for Selector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let list = |values: &BTreeSet<String>| values.iter().cloned().collect::<Vec<_>>().join(", ");
        let parts: Vec<String> = (self.equal.iter().map(|(k, v)| format!("{k}={v}")))
            .chain(self.also.iter().map(|r| match r {
                Requirement::In(key, values) => format!("{key} in ({})", list(values)),
                Requirement::NotIn(key, values) => format!("{key} not in ({})", list(values)),
                Requirement::Exists(key) => key.clone(),
                Requirement::Absent(key) => format!("no {key}"),
            }))
            .collect();
        match parts.is_empty() {
            true => f.write_str("all"),
            false => f.write_str(&parts.join(", ")),
        }
    }
}

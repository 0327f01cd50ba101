//! Tells people once what is wrong with what they wrote, and once that it is cured.

use std::collections::{BTreeMap, BTreeSet};

use egret_api::ObjectKey;
use egret_store::Problem;
use serde_json::Value;

/// What was told already.
#[derive(Default)]
pub(crate) struct Complaints {
    problems: BTreeSet<Problem>,
    conditions: BTreeMap<ObjectKey, String>,
}

impl Complaints {
    /// Tells of manifests that cannot be read.
    pub(crate) fn of_manifests(&mut self, problems: &[Problem]) {
        let new: BTreeSet<_> = problems.iter().cloned().collect();
        for problem in new.difference(&self.problems) {
            tracing::warn!(
                file = %problem.file.display(),
                document = problem.document,
                object = problem.object,
                field = problem.field,
                cure = problem.cure,
                "manifest not in force: {}",
                problem.message
            );
        }
        for problem in self.problems.difference(&new) {
            tracing::info!(file = %problem.file.display(), object = problem.object, "cured: {}", problem.message);
        }
        self.problems = new;
    }

    /// Tells of objects that a decision found at fault. `looked_at`: whose status may be another; absent: any.
    pub(crate) fn of_statuses(
        &mut self,
        statuses: &BTreeMap<ObjectKey, Value>,
        looked_at: Option<&BTreeSet<ObjectKey>>,
        origin: impl Fn(&ObjectKey) -> Option<String>,
    ) {
        if looked_at.is_none() {
            self.conditions.retain(|key, _| statuses.contains_key(key));
        }
        let all = looked_at.is_none().then(|| statuses.keys());
        for key in looked_at.into_iter().flatten().chain(all.into_iter().flatten()) {
            let Some(status) = statuses.get(key) else {
                self.conditions.remove(key);
                continue;
            };
            let Some(fault) = fault(status) else {
                if self.conditions.remove(key).is_some() {
                    tracing::info!(object = %key, "cured");
                }
                continue;
            };
            if self.conditions.get(key) != Some(&fault) {
                let name = key.to_string();
                let told = self.problems.iter().any(|problem| problem.object.as_ref() == Some(&name));
                self.conditions.insert(key.clone(), fault.clone());
                if told {
                    continue;
                }
                tracing::warn!(object = %key, file = origin(key), "{fault}");
            }
        }
    }

    /// How many objects and manifests are at fault now.
    pub(crate) fn count(&self) -> usize {
        self.problems.len() + self.conditions.len()
    }
}

/// Reason and message of the first condition that is not met.
fn fault(status: &Value) -> Option<String> {
    let text = |condition: &Value, field: &str| condition[field].as_str().unwrap_or_default().to_owned();
    let conditions = status.get("conditions")?.as_array()?;
    let unmet = conditions.iter().find(|condition| condition["status"] == "False")?;
    Some(format!("{}: {}", text(unmet, "reason"), text(unmet, "message")))
}

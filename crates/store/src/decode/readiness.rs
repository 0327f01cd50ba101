//! Whether a pod is ready, in as few words as possible: there are many pods, and most are.

use serde_json::{Value, json};

/// Of a pod's conditions only that it is not ready is kept. Of a pod that ends the same is said, as for Services.
pub(super) fn only_that_it_is_not(pod: &mut Value) {
    let ends = pod.pointer("/metadata/deletionTimestamp").is_some_and(|time| !time.is_null());
    let Some(status) = pod.get_mut("status").and_then(Value::as_object_mut) else { return };
    let conditions = status.remove("conditions");
    let conditions = conditions.as_ref().and_then(Value::as_array).into_iter().flatten();
    let mut ready = conditions.filter(|condition| condition["type"] == "Ready");
    if ends || ready.any(|condition| condition["status"] != "True") {
        status.insert("conditions".to_owned(), json!([{"type": "Ready", "status": "False"}]));
    }
}

#[cfg(test)]
mod tests {
    use super::super::forget_unread;
    use super::*;
    use egret_api::Kind;

    fn read(mut pod: Value) -> Value {
        forget_unread(Kind::Pod, &mut pod);
        let once = pod.clone();
        forget_unread(Kind::Pod, &mut pod);
        assert_eq!(pod, once, "what was read once is read the same again");
        pod
    }

    fn pod(conditions: Value) -> Value {
        json!({"metadata": {"name": "p"}, "status": {"phase": "Running", "conditions": conditions}})
    }

    #[test]
    fn of_a_ready_pod_nothing_is_kept_and_of_another_that_it_is_not() {
        let ready = json!([
            {"type": "Initialized", "status": "False", "lastTransitionTime": "2026-01-01T12:00:00Z"},
            {"type": "Ready", "status": "True", "lastProbeTime": null},
        ]);
        let unready = json!([{"type": "Ready", "status": "False"}]);
        assert_eq!(read(pod(ready.clone()))["status"], json!({"phase": "Running"}));
        for status in ["False", "Unknown"] {
            let told = json!([{"type": "Ready", "status": status, "reason": "ContainersNotReady"}]);
            assert_eq!(read(pod(told))["status"]["conditions"], unready);
        }
        let mut ends = pod(ready);
        ends["metadata"]["deletionTimestamp"] = "2026-01-01T12:00:00Z".into();
        assert_eq!(read(ends)["status"]["conditions"], unready);
        for broken in [json!("Ready"), json!([1, {"type": []}]), Value::Null] {
            assert_eq!(read(pod(broken))["status"], json!({"phase": "Running"}));
        }
    }
}

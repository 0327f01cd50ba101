//! From one manifest as a value to one object, or to the reason why not.

use egret_api::service::TOLD;
use egret_api::{Kind, Object, ObjectKey, is_own_condition};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

/// What a manifest turned out to be.
pub(crate) enum Decoded {
    /// An object that Egret reads, and what makes it impossible to put in force, if anything.
    Object(Object, Vec<Fault>),
    /// Something that is none of Egret's business.
    Foreign(String),
    /// Something that a person should correct.
    Broken(Fault),
}

/// Why a manifest is no object.
pub(crate) struct Fault {
    /// The object it would be.
    pub key: Option<ObjectKey>,
    /// The field to blame.
    pub field: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub cure: String,
}

impl Fault {
    fn at(key: Option<ObjectKey>, field: &str, message: String, cure: impl Into<String>) -> Decoded {
        Decoded::Broken(Self { key, field: Some(field.to_owned()), message, cure: cure.into() })
    }
}

/// Kinds that people write and the controller gives a status.
pub(crate) fn has_status(kind: Kind) -> bool {
    !is_record(kind) && !matches!(kind, Kind::Namespace | Kind::Node | Kind::Pod)
}

/// Kinds that only Egret writes.
pub(crate) fn is_record(kind: Kind) -> bool {
    matches!(kind, Kind::EgressAddress | Kind::EgressNode | Kind::EgressDialect)
}

/// Reads one manifest.
pub(crate) fn manifest(mut value: Value) -> Decoded {
    let text = |field: &str| value.get(field).and_then(Value::as_str).map(str::to_owned);
    let (Some(kind_name), Some(version)) = (text("kind"), text("apiVersion")) else {
        let field = if text("kind").is_none() { "kind" } else { "apiVersion" };
        return Fault::at(None, field, "is missing".into(), "Every manifest needs `apiVersion` and `kind`.");
    };
    let Some(kind) = Kind::of(&version, &kind_name) else { return unknown(&version, &kind_name) };
    if is_record(kind) {
        let message = format!("{kind_name} is a record that only Egret writes");
        return Fault::at(None, "kind", message, "Remove it from the manifests.");
    }
    if is_nobodys(kind, &value) {
        return Decoded::Foreign(format!("{version} {kind_name}"));
    }
    if value.pointer("/metadata/name").and_then(Value::as_str).is_none_or(str::is_empty) {
        let cure = "Give the object a name; generated names need an API server.";
        return Fault::at(None, "metadata.name", "is missing".into(), cure);
    }
    let key = key_of(kind, &value);
    forget_unread(kind, &mut value);
    take_status(kind, &mut value);
    object(key, value)
}

/// A cluster is full of Services that are none of our business, whatever may be wrong with them.
pub(crate) fn is_nobodys(kind: Kind, value: &Value) -> bool {
    kind == Kind::Service && value.pointer("/metadata/annotations/kube-vip.io~1egress").is_none()
}

/// Takes out of an object what the controller told of it: its status; of a Service those conditions that are ours, and
/// with them the annotations that tell of it.
pub(crate) fn take_status(kind: Kind, value: &mut Value) -> Option<Value> {
    if kind != Kind::Service {
        return has_status(kind).then(|| value.as_object_mut()?.remove("status")).flatten();
    }
    let annotations = value.pointer("/metadata/annotations").and_then(Value::as_object);
    let told = |name: &&str| Some(((*name).to_owned(), annotations?.get(*name)?.clone()));
    let annotations: Map<String, Value> = TOLD.iter().filter_map(told).collect();
    let mut conditions = value.get_mut("status")?.as_object_mut()?.remove("conditions")?;
    let ours = |condition: &Value| condition["type"].as_str().is_some_and(is_own_condition);
    conditions.as_array_mut()?.retain(ours);
    let ours = conditions.as_array().is_some_and(|left| !left.is_empty());
    ours.then(|| match annotations.is_empty() {
        true => json!({"conditions": conditions}),
        false => json!({"conditions": conditions, "annotations": annotations}),
    })
}

/// Puts back what was taken out.
pub(crate) fn put_status(kind: Kind, value: &mut Value, mut status: Value) {
    if kind == Kind::Service
        && let Some(Value::Object(told)) =
            status.as_object_mut().and_then(|status| status.remove("annotations"))
        && let Some(annotations) = value.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut)
    {
        annotations.extend(told);
    }
    match (kind, value.get_mut("status").and_then(Value::as_object_mut), status) {
        (Kind::Service, Some(theirs), Value::Object(ours)) => theirs.extend(ours),
        (_, _, status) => value["status"] = status,
    }
}

/// Reads what is left of an object when all that is never read is forgotten.
pub(crate) fn object(key: ObjectKey, value: Value) -> Decoded {
    match typed(key.kind, value) {
        Ok(object) => {
            let faults = egret_plan::check(&object).into_iter().map(|fault| Fault {
                key: Some(key.clone()),
                field: Some(fault.field),
                message: fault.message,
                cure: fault.cure,
            });
            let faults = faults.collect();
            Decoded::Object(object, faults)
        }
        Err((field, message)) => {
            let cure = cure(key.kind, &message);
            Decoded::Broken(Fault { key: Some(key), field, message, cure })
        }
    }
}

fn unknown(version: &str, kind_name: &str) -> Decoded {
    let same_kind = Kind::ALL.iter().find(|kind| {
        let group = |version: &str| version.split_once('/').map(|(group, _)| group.to_owned());
        kind.in_manifests() == kind_name && kind.api_versions().iter().any(|v| group(v) == group(version))
    });
    match same_kind {
        Some(kind) => Fault::at(
            None,
            "apiVersion",
            format!("{version} of {kind_name} is not known"),
            format!("Write {}.", kind.api_versions().join(" or ")),
        ),
        None if version.starts_with(&format!("{}/", egret_api::GROUP)) => {
            let ours = Kind::ALL
                .iter()
                .filter(|k| k.api_versions()[0].starts_with(egret_api::GROUP) && !is_record(**k));
            let names: Vec<_> = ours.map(|k| k.as_str()).collect();
            Fault::at(
                None,
                "kind",
                format!("{kind_name} is no kind of {version}"),
                format!("Write one of {}.", names.join(", ")),
            )
        }
        None => Decoded::Foreign(format!("{version} {kind_name}")),
    }
}

/// The key that a manifest gives itself.
pub(crate) fn key_of(kind: Kind, value: &Value) -> ObjectKey {
    let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
    let namespace = if kind.namespaced() { text("/metadata/namespace").unwrap_or("default") } else { "" };
    ObjectKey {
        kind,
        namespace: namespace.to_owned(),
        name: text("/metadata/name").unwrap_or_default().to_owned(),
    }
}

/// What is read of an object's metadata.
const METADATA: [&str; 6] = ["name", "namespace", "labels", "annotations", "creationTimestamp", "generation"];
/// Whose annotations are read.
const ANNOTATIONS: [&str; 4] =
    ["egret.dev/", "k8s.v1.cni.cncf.io/network-status", "kube-vip.io/", "loxilb.io/"];

/// Drops what Egret never reads: the bulk of metadata, nodes and pods, of which fields that Egret has no use for
/// could only be a reason to fail.
pub(crate) fn forget_unread(kind: Kind, value: &mut Value) {
    value["apiVersion"] = kind.api_versions()[0].into();
    value["kind"] = kind.in_manifests().into();
    if kind == Kind::Pod {
        readiness::only_that_it_is_not(value);
    }
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|field, _| METADATA.contains(&field.as_str()));
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            let read = |name: &str| ANNOTATIONS.iter().any(|whose| name.starts_with(whose));
            annotations.retain(|name, _| read(name) && !TOLD.contains(&name.as_str()));
        }
        // The schema of an object without namespace ignores one that is written.
        if !kind.namespaced() {
            metadata.remove("namespace");
        }
    }
    let mut keep = |part: &str, fields: &[&str]| {
        if let Some(part) = value.get_mut(part).and_then(Value::as_object_mut) {
            part.retain(|field, _| fields.contains(&field.as_str()));
        }
    };
    match kind {
        Kind::Pod => {
            keep("spec", &["nodeName", "hostNetwork"]);
            keep("status", &["phase", "podIP", "podIPs", "conditions"]);
        }
        Kind::Node => {
            keep("spec", &["podCIDR", "podCIDRs", "providerID", "unschedulable"]);
            keep("status", &["addresses", "conditions"]);
        }
        Kind::Namespace => keep("status", &["phase"]),
        Kind::Service => {
            keep(
                "spec",
                &[
                    "type",
                    "selector",
                    "ports",
                    "loadBalancerIP",
                    "loadBalancerClass",
                    "externalTrafficPolicy",
                    "publishNotReadyAddresses",
                ],
            );
            keep("status", &["loadBalancer", "conditions"]);
        }
        _ => {}
    }
}

/// Reads a record's text; on failure the field and serde's words.
pub(crate) fn record(kind: Kind, text: &str) -> Result<Object, String> {
    // A record of a large cluster is long, and changes often: most are read without the way over a value.
    let read = match kind {
        Kind::EgressNode => serde_json::from_str(text).map(Object::EgressNode),
        _ => serde_json::from_str(text).map(Object::EgressAddress),
    };
    read.or_else(|_| {
        let value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        typed(kind, value).map_err(|(field, message)| match field {
            Some(field) => format!("{field}: {message}"),
            None => message,
        })
    })
}

/// Reads a value as its kind; on failure the field and serde's words.
pub(crate) fn typed(kind: Kind, value: Value) -> Result<Object, (Option<String>, String)> {
    fn read<T: DeserializeOwned>(value: Value) -> Result<Box<T>, (Option<String>, String)> {
        serde_path_to_error::deserialize(value).map(Box::new).map_err(|error| {
            let path = error.path().to_string();
            ((path != ".").then_some(path), error.into_inner().to_string())
        })
    }
    Ok(match kind {
        Kind::Namespace => Object::Namespace(read(value)?),
        Kind::Node => Object::Node(read(value)?),
        Kind::Pod => Object::Pod(read(value)?),
        Kind::EgressPool => Object::EgressPool(read(value)?),
        Kind::EgressPolicy => Object::EgressPolicy(read(value)?),
        Kind::ClusterEgressPolicy => Object::ClusterEgressPolicy(read(value)?),
        Kind::EgressAddress => Object::EgressAddress(read(value)?),
        Kind::EgressNode => Object::EgressNode(read(value)?),
        Kind::EgressDialect => Object::EgressDialect(read(value)?),
        Kind::Egress => Object::Egress(read(value)?),
        Kind::ExternalIPPool => Object::ExternalIPPool(read(value)?),
        Kind::EgressGateway => Object::EgressGateway(read(value)?),
        Kind::EgressGatewayPolicy => Object::EgressGatewayPolicy(read(value)?),
        Kind::LoxilbEgress => Object::LoxilbEgress(read(value)?),
        Kind::Service => Object::Service(read(value)?),
    })
}

fn cure(kind: Kind, message: &str) -> String {
    let schema = format!("`egret crds` prints the fields of {}.", kind.as_str());
    if message.starts_with("unknown field") {
        format!("Correct or remove the field; {schema}")
    } else if message.starts_with("missing field") {
        format!("Add the field; {schema}")
    } else if message.starts_with("unknown variant") {
        "Write one of the values that are expected.".to_owned()
    } else {
        format!("Write a value of the expected type; {schema}")
    }
}

#[cfg(test)]
mod hostile;
mod readiness;

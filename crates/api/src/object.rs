//! One value for any object that Egret reads, whatever store it comes from.

use std::borrow::Cow;

use k8s_openapi::api::core::v1::{Namespace, Node, Pod, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::{Deserialize, Serialize};

use crate::antrea::{Egress, ExternalIPPool};
use crate::deckhouse::{EgressGateway, EgressGatewayPolicy};
use crate::loxilb;
use crate::{ClusterEgressPolicy, EgressAddress, EgressDialect, EgressNode, EgressPolicy, EgressPool};

/// A kind's name: its own, or the one that tells it from another system's kind of the same name.
macro_rules! name {
    ($kind:ident) => {
        stringify!($kind)
    };
    ($kind:ident $name:literal) => {
        $name
    };
}

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $kind:ident $(as $name:literal)? ($ty:ty), [$($version:literal),+], namespaced: $namespaced:literal;)+) => {
        /// The kinds that Egret reads.
        #[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind { $($(#[doc = $doc])+ $kind,)+ }

        /// An object of one of the kinds that Egret reads.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Object { $($(#[doc = $doc])+ $kind(Box<$ty>),)+ }

        impl Kind {
            /// Every kind.
            pub const ALL: &'static [Kind] = &[$(Kind::$kind,)+];

            /// The kind's name in messages, records and paths. Where two systems have kinds of one name, `.` and the
            /// group follow.
            pub fn as_str(self) -> &'static str {
                match self { $(Kind::$kind => name!($kind $($name)?),)+ }
            }

            /// The `apiVersion`s that are read for this kind; the first is the one written.
            pub fn api_versions(self) -> &'static [&'static str] {
                match self { $(Kind::$kind => &[$($version),+],)+ }
            }

            /// The kind's name in the paths of an API server.
            pub fn plural(self) -> Cow<'static, str> {
                match self { $(Kind::$kind => <$ty as Resource>::plural(&()),)+ }
            }

            /// Objects of this kind live in a namespace.
            pub fn namespaced(self) -> bool {
                match self { $(Kind::$kind => $namespaced,)+ }
            }

            /// Reads an object of this kind.
            ///
            /// # Errors
            /// The field and what is wrong with it, in serde's words.
            pub fn decode(self, value: serde_json::Value) -> Result<Object, serde_json::Error> {
                match self { $(Kind::$kind => serde_json::from_value::<$ty>(value).map(|o| Object::$kind(Box::new(o))),)+ }
            }
        }

        impl Object {
            /// The object's kind.
            pub fn kind(&self) -> Kind {
                match self { $(Object::$kind(_) => Kind::$kind,)+ }
            }

            /// The object's metadata.
            pub fn metadata(&self) -> &ObjectMeta {
                match self { $(Object::$kind(o) => &o.metadata,)+ }
            }

            /// The object's metadata, to be changed.
            pub fn metadata_mut(&mut self) -> &mut ObjectMeta {
                match self { $(Object::$kind(o) => &mut o.metadata,)+ }
            }

            /// The object as a manifest, with `apiVersion` and `kind`.
            ///
            /// # Errors
            /// When the object cannot be written as JSON.
            pub fn encode(&self) -> Result<serde_json::Value, serde_json::Error> {
                match self { $(Object::$kind(o) => {
                    let mut value = serde_json::to_value(o)?;
                    value["apiVersion"] = Kind::$kind.api_versions()[0].into();
                    value["kind"] = Kind::$kind.in_manifests().into();
                    Ok(value)
                })+ }
            }
        }
    };
}

kinds! {
    /// A namespace.
    Namespace(Namespace), ["v1"], namespaced: false;
    /// A node.
    Node(Node), ["v1"], namespaced: false;
    /// A pod.
    Pod(Pod), ["v1"], namespaced: true;
    /// A pool of egress addresses.
    EgressPool(EgressPool), ["egret.dev/v1alpha1"], namespaced: false;
    /// A namespaced policy.
    EgressPolicy(EgressPolicy), ["egret.dev/v1alpha1"], namespaced: true;
    /// A cluster-wide policy.
    ClusterEgressPolicy(ClusterEgressPolicy), ["egret.dev/v1alpha1"], namespaced: false;
    /// The record of an egress address.
    EgressAddress(EgressAddress), ["egret.dev/v1alpha1"], namespaced: false;
    /// The record of a node.
    EgressNode(EgressNode), ["egret.dev/v1alpha1"], namespaced: false;
    /// The record of how far another system's objects count.
    EgressDialect(EgressDialect), ["egret.dev/v1alpha1"], namespaced: false;
    /// Antrea's policy.
    Egress(Egress), ["crd.antrea.io/v1beta1", "crd.antrea.io/v1alpha2"], namespaced: false;
    /// Antrea's pool.
    ExternalIPPool(ExternalIPPool), ["crd.antrea.io/v1beta1", "crd.antrea.io/v1alpha2"], namespaced: false;
    /// Deckhouse's pool of one address.
    EgressGateway(EgressGateway), ["network.deckhouse.io/v1alpha1"], namespaced: false;
    /// Deckhouse's policy.
    EgressGatewayPolicy(EgressGatewayPolicy), ["network.deckhouse.io/v1alpha1"], namespaced: false;
    /// LoxiLB's policy.
    LoxilbEgress as "Egress.egress.loxilb.io" (loxilb::Egress), ["egress.loxilb.io/v1"], namespaced: true;
    /// A Service: a policy if kube-vip's annotation says so.
    Service(Service), ["v1"], namespaced: true;
}

impl Kind {
    /// The kind's name in manifests.
    pub fn in_manifests(self) -> &'static str {
        self.as_str().split('.').next().unwrap_or_default()
    }

    /// The kind that a manifest's `apiVersion` and `kind` name, if Egret reads it.
    pub fn of(api_version: &str, kind: &str) -> Option<Kind> {
        Kind::ALL
            .iter()
            .copied()
            .find(|k| k.in_manifests() == kind && k.api_versions().contains(&api_version))
    }
}

/// What names an object: kind, namespace (empty for cluster-wide kinds) and name.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// The kind.
    pub kind: Kind,
    /// The namespace, or empty.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl Object {
    /// The object's key. A namespaced object without namespace is in `default`, as kubectl reads it.
    pub fn key(&self) -> ObjectKey {
        let (kind, metadata) = (self.kind(), self.metadata());
        let namespace = match (kind.namespaced(), metadata.namespace.as_deref()) {
            (false, _) => String::new(),
            (true, None | Some("")) => "default".to_owned(),
            (true, Some(namespace)) => namespace.to_owned(),
        };
        ObjectKey { kind, namespace, name: metadata.name.clone().unwrap_or_default() }
    }
}

impl std::fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.namespace.as_str() {
            "" => write!(f, "{} {}", self.kind.as_str(), self.name),
            namespace => write!(f, "{} {namespace}/{}", self.kind.as_str(), self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_systems_may_have_kinds_of_one_name() {
        let antrea = Kind::of("crd.antrea.io/v1beta1", "Egress");
        let loxilb = Kind::of("egress.loxilb.io/v1", "Egress");
        assert_eq!((antrea, loxilb), (Some(Kind::Egress), Some(Kind::LoxilbEgress)));
        let names: std::collections::BTreeSet<_> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
        assert_eq!(names.len(), Kind::ALL.len(), "records name kinds by this");
        let value = serde_json::json!({"metadata": {"name": "a"}, "spec": {"vip": "192.0.2.1"}});
        assert_eq!(Kind::LoxilbEgress.decode(value).unwrap().encode().unwrap()["kind"], "Egress");
    }
}

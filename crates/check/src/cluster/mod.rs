//! A cluster before Egret is installed: can it be, and who is there already?

mod judge;
mod look;

use serde_json::Value;

use crate::ask::{Answer, Permission};

pub use judge::judge;
pub(crate) use judge::version as server_version;
pub use look::look;

/// What an API server says.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The server's version, as `v1.33.1`.
    pub version: Answer<String>,
    /// Definitions that this version of Egret brings.
    pub expected: Vec<Value>,
    /// Definitions that the cluster has, of whatever.
    pub definitions: Answer<Vec<Value>>,
    /// What one must be allowed to install Egret, and whether who asks is.
    pub permissions: Vec<Permission>,
    /// The nodes.
    pub nodes: Answer<Vec<Value>>,
    /// Every DaemonSet.
    pub daemon_sets: Answer<Vec<Value>>,
    /// Other egress systems' objects, by the name of their definition, and how many there are.
    pub others: Vec<(&'static Other, Answer<usize>)>,
}

/// Another egress system, by the definition of its policies.
#[derive(Debug, PartialEq, Eq)]
pub struct Other {
    /// Group, version and resource of its policies.
    pub policies: (&'static str, &'static str, &'static str),
    /// Its name.
    pub system: &'static str,
    /// As Egret's `--dialect` names it, if Egret serves its objects.
    pub dialect: Option<&'static str>,
    /// A word that the image of its program on the nodes has in its name.
    pub image: &'static str,
}

/// Every system that is known. kube-vip has no definition of its own: it is known by its program alone.
pub const OTHERS: [Other; 7] = [
    Other {
        policies: ("crd.antrea.io", "v1beta1", "egresses"),
        system: "Antrea",
        dialect: Some("antrea"),
        image: "antrea",
    },
    Other {
        policies: ("network.deckhouse.io", "v1alpha1", "egressgatewaypolicies"),
        system: "Deckhouse",
        dialect: Some("deckhouse"),
        image: "egress-gateway-agent",
    },
    Other {
        policies: ("egress.loxilb.io", "v1", "egresses"),
        system: "LoxiLB",
        dialect: Some("loxilb"),
        image: "loxilb",
    },
    Other { policies: ("", "", ""), system: "kube-vip", dialect: Some("kube-vip"), image: "kube-vip" },
    Other {
        policies: ("cilium.io", "v2", "ciliumegressgatewaypolicies"),
        system: "Cilium",
        dialect: None,
        image: "cilium",
    },
    Other {
        policies: ("isovalent.com", "v1", "isovalentegressgatewaypolicies"),
        system: "Isovalent's Cilium",
        dialect: None,
        image: "cilium",
    },
    Other {
        policies: ("egress.coil.cybozu.com", "v2", "egresses"),
        system: "Coil",
        dialect: None,
        image: "coil",
    },
];

//! The closed list of reasons that conditions, `explain` and the docs share.

use serde::{Deserialize, Serialize};

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// Why an object is or is not in force. The variant's name is the reason in conditions.
        #[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason { $($(#[doc = $doc])+ $name,)+ }

        impl Reason {
            /// Every reason, in the order of this list.
            pub const ALL: &'static [Reason] = &[$(Reason::$name,)+];

            /// The reason as conditions write it.
            pub fn as_str(self) -> &'static str {
                match self { $(Reason::$name => stringify!($name),)+ }
            }

            /// What the reason means, for people.
            pub fn meaning(self) -> &'static str {
                match self { $(Reason::$name => concat!($($doc),+).trim_ascii(),)+ }
            }
        }
    };
}

reasons! {
    /// The object is in force.
    Ready,
    /// An address is allocated; no gateway serves it yet.
    Allocated,
    /// A field has a value that cannot be used.
    InvalidField,
    /// The policy names a pool that does not exist.
    PoolNotFound,
    /// The pool has no free address.
    PoolExhausted,
    /// The address that the policy asks for is not in the pool.
    AddressNotInPool,
    /// The address that the policy asks for is another's: of another namespace, or of an older pool.
    AddressTaken,
    /// The pool does not list the policy's namespace.
    NamespaceNotGranted,
    /// A range of this pool overlaps a range of an older pool, which keeps the addresses.
    PoolOverlap,
    /// No node is selected by the pool and has a wire that reaches the address.
    NoCandidate,
    /// All candidates are dead.
    NoGateway,
    /// Every block of the address is leased to other nodes.
    BlocksExhausted,
    /// More port rules meet at one destination than the datapath can hold.
    TooManyPortRules,
    /// Nobody has given the object an address yet.
    AddressMissing,
    /// The object's own system does this; Egret does not yet.
    NotServed,
    /// No node that may serve the Service's address runs a ready pod of it, as its `externalTrafficPolicy: Local` needs.
    NoLocalPod,
    /// For some packets of some of its pods, another policy comes first.
    Outranked,
    /// The dialect itself does not support the field.
    NotSupportedByDialect,
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

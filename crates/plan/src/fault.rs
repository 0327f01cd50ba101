//! What is wrong with an object, in words that name the field and the cure.

use egret_api::Reason;

/// One thing that is wrong with an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("{field}: {message}; {cure}")]
pub struct Fault {
    /// Why the object is not in force.
    pub reason: Reason,
    /// The field, as a path from the object's root, for example `spec.destinations[0].cidr`.
    pub field: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub cure: String,
}

impl Fault {
    /// A fault of any reason.
    pub fn new(
        reason: Reason,
        field: impl Into<String>,
        message: impl Into<String>,
        cure: impl Into<String>,
    ) -> Fault {
        Fault { reason, field: field.into(), message: message.into(), cure: cure.into() }
    }

    /// A field whose value cannot be used.
    pub fn invalid(field: impl Into<String>, message: impl Into<String>, cure: impl Into<String>) -> Fault {
        Fault::new(Reason::InvalidField, field, message, cure)
    }
}

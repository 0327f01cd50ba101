//! Other systems whose objects Egret reads, and how far each of them counts.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Kind;

/// A system whose objects Egret reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dialect {
    /// `crd.antrea.io`.
    Antrea,
    /// `network.deckhouse.io`.
    Deckhouse,
    /// `egress.loxilb.io`.
    Loxilb,
    /// Services with the annotations of kube-vip.
    KubeVip,
}

/// How far a system's objects count.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, JsonSchema)]
pub enum Mode {
    /// They are in force.
    #[default]
    On,
    /// They are read and explained; they change no packet, have no address and are told nothing.
    Observe,
    /// They are not looked at.
    Off,
}

/// One system, by the name that the object has: how far its objects count. Written by the controller only, and obeyed
/// by every agent.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[kube(
    group = "egret.dev",
    version = "v1alpha1",
    kind = "EgressDialect",
    derive = "PartialEq",
    plural = "egressdialects",
    shortname = "edialect",
    category = "egret",
    doc = "How far the objects of another system count: antrea, deckhouse, loxilb or kube-vip. Written by the controller, as it was started; for people to read.",
    printcolumn = r#"{"name":"Mode","type":"string","jsonPath":".spec.mode"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
pub struct EgressDialectSpec {
    /// How far the system's objects count.
    pub mode: Mode,
}

/// How far each system's objects count; those that are not named are on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Modes(BTreeMap<Dialect, Mode>);

/// What is not the mode of a system.
#[derive(Debug, thiserror::Error)]
#[error("{text:?}: {what}. Write {names} = on, observe or off, as in antrea=observe", names = Dialect::names())]
pub struct ModeError {
    text: String,
    what: &'static str,
}

impl Dialect {
    /// Every system.
    pub const ALL: [Dialect; 4] = [Dialect::Antrea, Dialect::Deckhouse, Dialect::Loxilb, Dialect::KubeVip];

    /// The system's name, in arguments and as the name of its [`EgressDialect`].
    pub fn name(self) -> &'static str {
        match self {
            Dialect::Antrea => "antrea",
            Dialect::Deckhouse => "deckhouse",
            Dialect::Loxilb => "loxilb",
            Dialect::KubeVip => "kube-vip",
        }
    }

    /// The system of this name.
    pub fn named(name: &str) -> Option<Dialect> {
        Dialect::ALL.into_iter().find(|dialect| dialect.name() == name)
    }

    /// The kinds of its objects.
    pub fn kinds(self) -> impl Iterator<Item = Kind> {
        Kind::ALL.iter().copied().filter(move |kind| kind.dialect() == Some(self))
    }

    fn names() -> String {
        Dialect::ALL.map(Dialect::name).join(", ")
    }
}

impl Modes {
    /// How far a system's objects count.
    pub fn of(&self, dialect: Dialect) -> Mode {
        self.0.get(&dialect).copied().unwrap_or_default()
    }

    /// How far objects of a kind count; those of Egret's own kinds always do.
    pub fn of_kind(&self, kind: Kind) -> Mode {
        kind.dialect().map_or(Mode::On, |dialect| self.of(dialect))
    }

    /// Sets one.
    pub fn set(&mut self, dialect: Dialect, mode: Mode) {
        self.0.insert(dialect, mode);
    }

    /// The kinds that are not looked at.
    pub fn off(&self) -> BTreeSet<Kind> {
        Kind::ALL.iter().copied().filter(|kind| self.of_kind(*kind) == Mode::Off).collect()
    }
}

impl FromIterator<(Dialect, Mode)> for Modes {
    fn from_iter<I: IntoIterator<Item = (Dialect, Mode)>>(modes: I) -> Self {
        Modes(modes.into_iter().collect())
    }
}

impl Mode {
    /// As in arguments.
    pub fn name(self) -> &'static str {
        match self {
            Mode::On => "on",
            Mode::Observe => "observe",
            Mode::Off => "off",
        }
    }
}

/// `antrea=observe`.
impl FromStr for ModeOf {
    type Err = ModeError;

    fn from_str(text: &str) -> Result<Self, ModeError> {
        let wrong = |what| ModeError { text: text.to_owned(), what };
        let (name, mode) = text.split_once('=').ok_or_else(|| wrong("there is no ="))?;
        let dialect = Dialect::named(name).ok_or_else(|| wrong("no such system"))?;
        let modes = [Mode::On, Mode::Observe, Mode::Off];
        let mode = modes.into_iter().find(|m| m.name() == mode).ok_or_else(|| wrong("no such mode"))?;
        Ok(ModeOf(dialect, mode))
    }
}

/// The mode of one system, as a person writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModeOf(pub Dialect, pub Mode);

impl Kind {
    /// The system whose kind this is; `None`: Egret's own, or everybody's.
    pub fn dialect(self) -> Option<Dialect> {
        match self {
            Kind::Egress | Kind::ExternalIPPool => Some(Dialect::Antrea),
            Kind::EgressGateway | Kind::EgressGatewayPolicy => Some(Dialect::Deckhouse),
            Kind::LoxilbEgress => Some(Dialect::Loxilb),
            Kind::Service => Some(Dialect::KubeVip),
            Kind::Namespace
            | Kind::Node
            | Kind::Pod
            | Kind::EgressPool
            | Kind::EgressPolicy
            | Kind::ClusterEgressPolicy
            | Kind::EgressAddress
            | Kind::EgressNode
            | Kind::EgressDialect => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_is_read_and_what_is_none_is_told_with_what_there_is() {
        assert_eq!("kube-vip=off".parse::<ModeOf>().unwrap(), ModeOf(Dialect::KubeVip, Mode::Off));
        for (text, part) in
            [("antrea", "no ="), ("calico=on", "no such system"), ("antrea=maybe", "no such mode")]
        {
            let error = text.parse::<ModeOf>().unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("antrea=observe"), "{error}");
        }
    }

    #[test]
    fn every_kind_of_another_system_belongs_to_it() {
        let kinds: Vec<Kind> = Dialect::ALL.into_iter().flat_map(Dialect::kinds).collect();
        assert_eq!(kinds.len(), 6, "{kinds:?}");
        let modes: Modes = [(Dialect::Antrea, Mode::Off)].into_iter().collect();
        assert_eq!(modes.off(), [Kind::Egress, Kind::ExternalIPPool].into());
        assert_eq!(modes.of_kind(Kind::EgressPolicy), Mode::On);
    }
}

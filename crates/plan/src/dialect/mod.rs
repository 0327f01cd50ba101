//! Other systems' resources, translated into intents. The planner knows nothing else about them.

pub mod antrea;
pub mod deckhouse;
pub mod kube_vip;
pub mod loxilb;

use egret_api::{Reason, WhenUnavailable};
use ipnet::IpNet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::fault::Fault;
use crate::intent::Traffic;
use crate::native::Faults;
use crate::range::{host, read_address, read_net};
use crate::tables::PortMatch;

/// The annotation by which an object of any dialect says what its kind has no field for.
const WHEN_UNAVAILABLE: &str = "egret.dev/when-unavailable";

/// What happens while no gateway can carry the packets: other systems let them leave with the node's source, here
/// they are dropped unless the object says otherwise.
fn when_unavailable(metadata: &ObjectMeta, faults: &mut Faults) -> WhenUnavailable {
    match annotation(metadata, WHEN_UNAVAILABLE) {
        None | Some("Drop") => WhenUnavailable::Drop,
        Some("Bypass") => WhenUnavailable::Bypass,
        Some(other) => {
            let message = format!("`{other}` is not known");
            faults.0.push(Fault::invalid(annotated(WHEN_UNAVAILABLE), message, "write Drop or Bypass"));
            WhenUnavailable::Drop
        }
    }
}

/// An annotation that says something.
fn annotation<'a>(metadata: &'a ObjectMeta, name: &str) -> Option<&'a str> {
    metadata.annotations.as_ref()?.get(name).map(|text| text.trim()).filter(|text| !text.is_empty())
}

/// An annotation as a field.
fn annotated(name: &str) -> String {
    format!("metadata.annotations[{name}]")
}

/// Something that the object's own system does and Egret does not.
fn not_served(field: impl Into<String>, message: &str, cure: &str) -> Fault {
    Fault::new(Reason::NotServed, field, message, cure)
}

/// A network, or an address alone.
fn read_net_or_address(text: &str, field: &str) -> Result<IpNet, Fault> {
    match text.contains('/') {
        true => read_net(text, field),
        false => read_address(text, field).map(host),
    }
}

/// Everything to `nets` but what is in `except`, on these ports.
fn traffic(nets: Vec<IpNet>, except: &[IpNet], ports: &[PortMatch]) -> Vec<Traffic> {
    let meets = |net: &IpNet| {
        let meeting = except.iter().filter(|e| net.contains(*e) || e.contains(net));
        meeting.copied().collect()
    };
    let of = |net: IpNet| Traffic { net, except: meets(&net), ports: ports.to_vec() };
    match ports.is_empty() {
        true => Vec::new(),
        false => nets.into_iter().map(of).collect(),
    }
}

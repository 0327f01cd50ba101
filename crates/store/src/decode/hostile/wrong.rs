//! What can be wrong with a field, by what it holds.

use egret_api::Kind;
use serde_json::{Value, json};

use self::Holds::*;

/// What a field holds.
#[derive(Clone, Copy)]
pub enum Holds {
    Address,
    Network,
    AddressOrNetwork,
    Selector,
    /// Labels without operators.
    Labels,
    /// A list that may have at most so many of what the good manifest has.
    List(usize),
    /// The name of something that must exist.
    Name,
    Port,
    Protocol,
    /// A number, and too large for it.
    Count(i64),
    Choice,
    /// An annotation with a list of ports, networks or addresses.
    TextOfPorts,
    TextOfNetworks,
    TextOfAddresses,
    TextOfChoice,
}

/// Text that is long, of another script, or not what it looks like.
fn odd_text() -> Vec<Value> {
    let long = "a".repeat(100_000);
    vec![json!("ß🦀"), json!("\u{202e}10.99.0.5"), json!("a\nb"), json!("\u{0}"), json!("../.."), json!(long)]
}

fn no_text() -> Vec<Value> {
    vec![json!(7), json!(true), json!([]), json!({}), json!(["10.99.0.5"]), json!({"a": "b"})]
}

fn texts(texts: &[&str]) -> Vec<Value> {
    texts.iter().map(|text| json!(text)).collect()
}

/// Everything that is wrong in a field.
pub fn wrong(holds: Holds, good: &Value) -> Vec<Value> {
    let networks =
        ["10.0.0.0/33", "2001:db8::/129", "10.0.0.0/-1", "10.0.0.0/", "/8", "10.0.0/8", "fe80::%eth0/64"];
    let addresses = ["10.0.0", "10.0.0.256", "fe80::1%eth0", "0x0a000001", "١٠.٠.٠.١", "10.0.0.1:80"];
    let no_list = || vec![json!("x"), json!(7), json!(true), json!({"a": 1}), json!([7.5]), json!([[["x"]]])];
    let ports = [
        "udp",
        "5060:udp",
        "udp:0",
        "udp:65536",
        "udp:-1",
        "icmp:8",
        "udp:5060-5070",
        "udp:５０６０",
        "sctp:80",
        "udp:5060;tcp:80",
        "x",
        "udp::5060",
    ];
    match holds {
        Address => [no_text(), odd_text(), texts(&addresses), texts(&["10.0.0.1/32"])].concat(),
        Network => [no_text(), odd_text(), texts(&networks), texts(&["10.0.0.1"])].concat(),
        AddressOrNetwork => [no_text(), odd_text(), texts(&networks), texts(&addresses)].concat(),
        Selector => {
            let expression = |e: Value| json!({"matchExpressions": [e]});
            let many: Vec<Value> = (0..10_000).map(|_| json!({"key": "a", "operator": "Maybe"})).collect();
            vec![
                json!("app=web"),
                json!(7),
                json!({"matchLabels": {"a": 7}}),
                json!({"matchLabels": "a=b"}),
                json!({"matchExpressions": {"key": "a"}}),
                expression(json!({"key": "a", "operator": "Near", "values": ["b"]})),
                expression(json!({"key": "a", "operator": "In"})),
                expression(json!({"key": "a", "operator": "NotIn", "values": []})),
                expression(json!({"key": "a", "operator": "Exists", "values": ["b"]})),
                expression(json!({"key": "a", "operator": "In\u{200b}", "values": ["b"]})),
                expression(json!({"key": 7, "operator": "Exists"})),
                expression(json!({"key": "a", "operator": "In", "values": "b"})),
                json!({"matchExpressions": many}),
            ]
        }
        Labels => {
            let values = [json!(7), json!(true), json!([]), json!({}), json!(["b"])].map(|v| json!({"a": v}));
            [vec![json!("a=b"), json!(7), json!([1])], values.to_vec()].concat()
        }
        List(most) => {
            let many = |count: usize| json!(vec![good[0].clone(); count]);
            [no_list(), vec![many(most + 1), many(10_000)]].concat()
        }
        Name => [vec![json!(7), json!([]), json!({}), json!(true)], texts(&["nobody's", "hostile", "ß🦀"])]
            .concat(),
        Port => vec![json!(0), json!(-1), json!(65_536), json!("http"), json!(1.5), json!([]), json!({})],
        Protocol => [texts(&["tcp", "SCTP", "ICMP", "ß"]), vec![json!(6), json!([])]].concat(),
        Count(large) => vec![json!(-1), json!(large), json!("1024"), json!(1.5), json!([]), json!(u64::MAX)],
        Choice => [texts(&["drop", "Bypass ", "ß", "DROP"]), vec![json!(7), json!([]), json!({})]].concat(),
        TextOfPorts => [vec![json!(7), json!([]), json!({})], texts(&ports)].concat(),
        TextOfNetworks => {
            let many = vec!["198.51.100.0/24"; 10_000].join(",");
            [vec![json!(7), json!([]), json!({}), json!(many)], texts(&networks), texts(&["10.0.0.1", "ß/8"])]
                .concat()
        }
        TextOfAddresses => {
            [vec![json!(7), json!([])], texts(&addresses), texts(&["sip.example.org", "ß"])].concat()
        }
        TextOfChoice => [vec![json!(7), json!([])], texts(&["drop", "Open", "ß", "Drop,Bypass"])].concat(),
    }
}

/// What is wrong with the metadata of any object.
pub fn wrong_metadata(kind: Kind) -> Vec<(&'static str, Value)> {
    let times = [json!("yesterday"), json!(7), json!([]), json!({}), json!("2026-13-45T99:99:99Z")];
    let mut all: Vec<_> = times.map(|time| ("/metadata/creationTimestamp", time)).to_vec();
    all.extend([json!(7), json!("x"), json!([1])].map(|labels| ("/metadata/labels", labels)));
    all.extend([json!(7), json!("x"), json!(true)].map(|spec| ("/spec", spec)));
    if kind != Kind::Service {
        all.extend([json!(7), json!(["x"])].map(|annotations| ("/metadata/annotations", annotations)));
        all.extend([json!(""), json!(null), json!(7)].map(|name| ("/metadata/name", name)));
    }
    all
}

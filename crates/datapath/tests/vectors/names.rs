//! Names for link-layer addresses, so that frames read as sentences.

pub const POD: [u8; 6] = [2, 0, 0, 0, 1, 10];
pub const HOST: [u8; 6] = [2, 0, 0, 0, 1, 1];

const NAMES: [(&str, [u8; 6]); 14] = [
    ("pod", POD),
    ("host", HOST),
    ("overlay", [0x02, 0xe6, 0x72, 0x65, 0x74, 0x01]),
    ("prober", [0x02, 0xe6, 0x72, 0x65, 0x74, 0x02]),
    ("underlay", [2, 0, 0, 0, 0, 1]),
    ("node5", [2, 0, 0, 0, 0, 5]),
    ("wire", [2, 0, 0, 0, 2, 1]),
    ("router", [2, 0, 0, 0, 2, 2]),
    ("asker", [2, 0, 0, 0, 2, 3]),
    ("stranger", [2, 0, 0, 0, 2, 4]),
    ("everyone", [0xff; 6]),
    ("nobody", [0; 6]),
    ("group", [0x33, 0x33, 0xff, 0, 0, 0x11]),
    ("other", [2, 0, 0, 0, 9, 9]),
];

/// The address of a name.
pub fn mac(name: &str) -> [u8; 6] {
    NAMES.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("no name {name}")).1
}

/// The address as text, for `ip`.
pub fn mac_text(name: &str) -> String {
    mac(name).map(|byte| format!("{byte:02x}")).join(":")
}

/// The name of an address.
pub fn name(mac: &[u8]) -> String {
    let known = NAMES.iter().find(|(_, known)| known == mac).map(|(name, _)| (*name).to_owned());
    known.unwrap_or_else(|| format!("{mac:02x?}"))
}

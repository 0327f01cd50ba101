//! Ports of a gateway's own address that its kernel must not take for connections of its own (`ip_local_reserved_ports`,
//! Documentation/networking/ip-sysctl). What was reserved before is kept as names in the BPF file system: it lasts as long
//! as the setting does, until the machine starts anew.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use egret_plan::allocate::OWN_PORTS;

use crate::error::DatapathError;

const SETTING: &str = "/proc/sys/net/ipv4/ip_local_reserved_ports";

fn ours() -> RangeInclusive<u16> {
    OWN_PORTS..=u16::MAX
}

fn kept_dir(pin_dir: &Path) -> PathBuf {
    pin_dir.join("reserved_ports")
}

/// Reserves them. Doing it again does no harm.
pub fn reserve(pin_dir: &Path) -> Result<(), DatapathError> {
    let mut ports = read()?;
    let kept = kept_dir(pin_dir);
    if !kept.exists() {
        fs::create_dir(&kept).map_err(at(&kept))?;
        for range in ranges(&ports.iter().copied().filter(|port| ours().contains(port)).collect()) {
            let name = kept.join(range);
            fs::create_dir(&name).map_err(at(&name))?;
        }
    }
    let before = ports.len();
    ports.extend(ours());
    if ports.len() == before { Ok(()) } else { write(&ports) }
}

/// Gives back what [`reserve`] took, if it did.
pub fn release(pin_dir: &Path) -> Result<(), DatapathError> {
    let kept = kept_dir(pin_dir);
    let names = match fs::read_dir(&kept) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        names => names.map_err(at(&kept))?,
    };
    let mut ports: BTreeSet<u16> = read()?.into_iter().filter(|port| !ours().contains(port)).collect();
    for name in names {
        let name = name.map_err(at(&kept))?;
        ports.extend(parse(&name.file_name().to_string_lossy()));
    }
    write(&ports)?;
    fs::remove_dir_all(&kept).map_err(at(&kept))
}

fn read() -> Result<BTreeSet<u16>, DatapathError> {
    Ok(parse(&fs::read_to_string(SETTING).map_err(at(Path::new(SETTING)))?))
}

fn write(ports: &BTreeSet<u16>) -> Result<(), DatapathError> {
    fs::write(SETTING, format!("{}\n", ranges(ports).join(","))).map_err(at(Path::new(SETTING)))
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> DatapathError + use<> {
    DatapathError::io(path.display().to_string())
}

/// `8080,50000-50010`, as the kernel prints it.
fn parse(text: &str) -> BTreeSet<u16> {
    let range = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.parse::<u16>().ok()?..=last.parse::<u16>().ok()?)
    };
    text.trim().split(',').filter_map(range).flatten().collect()
}

fn ranges(ports: &BTreeSet<u16>) -> Vec<String> {
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for port in ports {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*port) => *last = *port,
            _ => ranges.push((*port, *port)),
        }
    }
    let text = |(first, last)| if first == last { format!("{first}") } else { format!("{first}-{last}") };
    ranges.into_iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_comes_back_as_it_went() {
        for text in ["", "8080", "8080,50000-50010", "1-3,5,65534-65535", "40960-65535"] {
            assert_eq!(ranges(&parse(text)).join(","), text);
        }
        assert_eq!(ranges(&parse("5,1-2,3\n")).join(","), "1-3,5");
    }
}

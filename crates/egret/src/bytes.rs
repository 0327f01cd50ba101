//! Sizes as people write them.

use std::str::FromStr;

/// A number of bytes, as `67108864`, `64Mi` or `64MiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes(pub u64);

/// What is none.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no size. Write bytes, or a number with Ki, Mi or Gi, as 64Mi")]
pub struct BytesError(String);

impl FromStr for Bytes {
    type Err = BytesError;

    fn from_str(text: &str) -> Result<Self, BytesError> {
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let unit: u64 = match text.get(digits.len()..).unwrap_or_default() {
            "" => 1,
            "Ki" | "KiB" => 1 << 10,
            "Mi" | "MiB" => 1 << 20,
            "Gi" | "GiB" => 1 << 30,
            _ => return Err(BytesError(text.to_owned())),
        };
        let number: u64 = digits.parse().map_err(|_| BytesError(text.to_owned()))?;
        number.checked_mul(unit).map(Self).ok_or_else(|| BytesError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_kubernetes_writes_them() {
        for (text, bytes) in [("0", 0), ("17", 17), ("64Ki", 65_536), ("64MiB", 64 << 20), ("2Gi", 2 << 30)] {
            assert_eq!(text.parse::<Bytes>().unwrap(), Bytes(bytes), "{text}");
        }
        for text in ["", "Mi", "1.5Gi", "64M", "-1", "99999999999999999999", "18446744073709551615Ki"] {
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
    }
}

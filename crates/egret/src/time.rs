//! Times as people write them, and as they are printed.

use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// A duration, as `90s`, `10m`, `12h` or `7d`.
///
/// # Errors
/// When it is none.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration. Write it as 90s, 10m, 12h or 7d");
    let seconds = match text.strip_suffix('d') {
        Some(days) => days.trim().parse::<u64>().ok().and_then(|days| days.checked_mul(86_400)),
        None => {
            text.parse::<SignedDuration>().ok().and_then(|duration| u64::try_from(duration.as_secs()).ok())
        }
    };
    seconds.map(Duration::from_secs).ok_or_else(wrong)
}

/// A time: with its zone, in the zone of this machine, or as that long ago.
///
/// # Errors
/// When it is none.
pub fn moment(text: &str) -> Result<Timestamp, String> {
    let here = |time: DateTime| time.to_zoned(TimeZone::system()).ok().map(|time| time.timestamp());
    let ago = || duration(text.strip_suffix(" ago").unwrap_or(text)).ok().and_then(before);
    let found = text.parse::<Timestamp>().ok().or_else(|| text.parse().ok().and_then(here)).or_else(ago);
    found.ok_or_else(|| {
        format!("{text:?} is no time. Write 2026-11-22T01:15:00Z, 2026-11-22T01:15:00 by this machine's clock, or 10m for ten minutes ago")
    })
}

/// That long ago.
pub fn before(ago: Duration) -> Option<Timestamp> {
    Timestamp::now().checked_sub(ago).ok()
}

/// A time to the second, in UTC.
pub fn to_the_second(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second()).unwrap_or(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_durations_are_read_in_every_form() {
        for (text, seconds) in [("90s", 90), ("10m", 600), ("1h 30m", 5400), ("7d", 604_800)] {
            assert_eq!(duration(text).unwrap().as_secs(), seconds, "{text}");
        }
        for text in ["", "7", "-5m", "d", "soon"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert_eq!(moment("2026-11-22T01:15:00Z").unwrap(), moment("2026-11-22T02:15:00+01:00").unwrap());
        assert!(moment("2026-11-22T01:15:00").is_ok());
        let ago = Timestamp::now().as_second() - moment("10m ago").unwrap().as_second();
        assert!((599..=602).contains(&ago), "{ago}");
        assert!(moment("yesterday").is_err());
    }
}

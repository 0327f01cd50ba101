//! How long to wait before something is tried again.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Twice as long each time, up to a limit, less a random part: many processes lose one server at the same moment, and
/// must not all come back at the same moment.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    last: Duration,
    next: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration, last: Duration) -> Self {
        Self { first, last, next: first }
    }

    /// For a server that does not answer: soon enough that nobody waits long for one that is back.
    pub(crate) fn interrupted() -> Self {
        Self::new(Duration::from_millis(200), Duration::from_secs(4))
    }

    pub(crate) fn next(&mut self) -> Duration {
        let now = self.next;
        self.next = (now * 2).min(self.last);
        // A quarter of randomness is enough to spread, and the clock's last digits are random enough.
        let dice =
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_nanos() % 1024);
        now - now * dice / 4096
    }

    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_up_to_a_limit_and_begins_anew() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(5));
        for most in [1, 2, 4, 5, 5] {
            let (wait, most) = (backoff.next(), Duration::from_secs(most));
            assert!(wait <= most && wait >= most * 3 / 4, "{wait:?} for {most:?}");
        }
        backoff.reset();
        assert!(backoff.next() <= Duration::from_secs(1));
    }
}

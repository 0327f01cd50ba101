//! When to try again what failed: soon at first, then less and less often.

use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_millis(200);
const LATE: Duration = Duration::from_secs(10);

/// The next try, if there is one to come.
#[derive(Debug, Default)]
pub(crate) struct Retry {
    at: Option<Instant>,
    pause: Duration,
}

impl Retry {
    /// It failed now.
    pub(crate) fn failed(&mut self, now: Instant) {
        // Events of all kinds lead to tries; only one that was due makes the pause longer.
        if self.at.is_none_or(|at| at <= now) {
            self.pause = (self.pause * 2).clamp(SOON, LATE);
            self.at = Some(now + self.pause);
        }
    }

    /// Nothing is left to be tried again.
    pub(crate) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// When to try again.
    pub(crate) fn at(&self) -> Option<Instant> {
        self.at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_only_with_tries_that_were_due() {
        let start = Instant::now();
        let mut retry = Retry::default();
        retry.failed(start);
        assert_eq!(retry.at(), Some(start + SOON));
        retry.failed(start + SOON / 2);
        assert_eq!(retry.at(), Some(start + SOON));
        retry.failed(start + SOON);
        assert_eq!(retry.at(), Some(start + SOON * 3));
        for _ in 0..20 {
            retry.failed(retry.at().unwrap());
        }
        let at = retry.at().unwrap();
        retry.failed(at);
        assert_eq!(retry.at(), Some(at + LATE));
        retry.succeeded();
        assert_eq!(retry.at(), None);
    }
}

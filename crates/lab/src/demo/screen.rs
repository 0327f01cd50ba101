//! What a person sees while the demo works.

use std::io::Write;
use std::time::Instant;

/// Progress on the terminal, with the time since the start.
pub struct Screen {
    start: Instant,
}

impl Screen {
    /// Starts the clock.
    pub fn new() -> Screen {
        Screen { start: Instant::now() }
    }

    /// Says what happens now.
    pub fn say(&self, words: &str) {
        println!("[{:5.1} s] {words}", self.seconds());
        // Whoever reads a pipe sees it at once too.
        let _ = std::io::stdout().flush();
    }

    /// Seconds since the start.
    pub fn seconds(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }
}

//! Waiting for the kernel.

use std::time::{Duration, Instant};

/// How long processes may take to end, freeze or thaw.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pauses between two looks grow from the first to the second.
const PAUSES: (Duration, Duration) = (Duration::from_micros(200), Duration::from_millis(50));

/// Waiting with growing pauses up to a bound.
pub struct Pause {
    start: Instant,
    next: Duration,
}

impl Pause {
    /// Begins to wait.
    pub fn new() -> Self {
        Self { start: Instant::now(), next: PAUSES.0 }
    }

    /// How long it has been.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Whether the time is over.
    pub fn is_over(&self) -> bool {
        self.elapsed() > PATIENCE
    }

    /// Sleeps; false when the time is over.
    pub fn wait(&mut self) -> bool {
        if self.is_over() {
            return false;
        }
        std::thread::sleep(self.next);
        self.next = (self.next * 2).min(PAUSES.1);
        true
    }
}

//! How long to wait before the next attempt: longer after each failure, never exactly the same for
//! two programs, and as long as the server asks for.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
/// A server may ask for more than `LONGEST`, and not for more than this.
const LONGEST_ASKED: Duration = Duration::from_secs(600);

/// The failures in a row.
#[derive(Default)]
pub(super) struct Backoff(u32);

impl Backoff {
    pub(super) fn succeeded(&mut self) {
        self.0 = 0;
    }

    /// An attempt has failed; `asked`: what the server has asked for. Returns the pause.
    pub(super) fn failed(&mut self, asked: Option<Duration>) -> Duration {
        let pause = pause(self.0, random_part());
        self.0 = self.0.saturating_add(1);
        asked.map_or(pause, |asked| pause.max(asked.min(LONGEST_ASKED)))
    }
}

/// From half of the full pause to all of it, as `part` from 0 to 1 says.
fn pause(failures: u32, part: f64) -> Duration {
    let full = FIRST.saturating_mul(1 << failures.min(16)).min(LONGEST);
    full.mul_f64(0.5 + part / 2.0)
}

/// A random number from 0 to 1.
pub(super) fn random_part() -> f64 {
    RandomState::new().hash_one(0) as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_minute() {
        let seconds = |failures, part| pause(failures, part).as_secs_f64();
        assert_eq!(
            [0, 1, 2, 5, 6, 7, 1000].map(|failures| seconds(failures, 1.0)),
            [1.0, 2.0, 4.0, 32.0, 60.0, 60.0, 60.0]
        );
        assert_eq!((seconds(0, 0.0), seconds(7, 0.0), seconds(2, 0.5)), (0.5, 30.0, 3.0));
    }

    #[test]
    fn the_pause_that_the_server_asks_for_is_kept() {
        let (mut backoff, asked) = (Backoff::default(), |seconds| Some(Duration::from_secs(seconds)));
        assert_eq!(backoff.failed(asked(30)), Duration::from_secs(30));
        assert_eq!(backoff.failed(asked(100_000)), LONGEST_ASKED);
        assert!(backoff.failed(asked(0)) >= Duration::from_secs(2), "its own is longer");
        backoff.succeeded();
        assert!(backoff.failed(None) <= FIRST);
    }

    #[test]
    fn two_programs_do_not_wait_alike() {
        let parts: Vec<f64> = (0..8).map(|_| random_part()).collect();
        assert!(parts.iter().all(|part| (0.0..=1.0).contains(part)));
        assert!(parts.iter().any(|part| *part != parts[0]), "{parts:?}");
    }
}

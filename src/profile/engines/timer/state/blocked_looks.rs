//! Tells a thread that blocks SIGPROF from a thread that blocks all signals for a moment, by several
//! looks. Reads no clock and no thread.

use crate::os::task::Doing;
use std::time::Duration;

/// The number of looks in a row that must have seen a thread block SIGPROF. A thread that spawns,
/// forks or ends blocks all signals for a moment, and a thread that does so all the time is often
/// seen in it.
const LOOKS: u32 = 5;

/// The least time between two of these looks.
pub(in super::super) const APART: Duration = Duration::from_millis(10);

/// What a look has seen of a thread that blocks SIGPROF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    /// The wall clock, in nanoseconds since the recording began.
    pub(super) at: u64,
    /// Its CPU clock, in nanoseconds.
    pub(super) cpu: u64,
    /// Its CPU clock at its last sample; 0 by the wall clock.
    pub(super) last_sample: u64,
    pub(super) doing: Doing,
}

/// The looks in a row that have seen a thread block SIGPROF.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BlockedLooks {
    count: u32,
    /// The last look that counts.
    last: Option<Look>,
    /// The thread is among the obstacles.
    pub(super) is_noted: bool,
}

impl BlockedLooks {
    /// One more look has seen it. Returns `true` if these were enough.
    pub(super) fn add(&mut self, look: Look) -> bool {
        match self.last {
            // It was sampled meanwhile, so it did not block all the time.
            Some(last) if last.last_sample != look.last_sample => self.count = 1,
            // A thread without a processor may be kept from it in such a moment.
            Some(last) if look.doing == Doing::Runs && look.cpu == last.cpu => return self.is_enough(),
            Some(last) if look.at < last.at + APART.as_nanos() as u64 => return self.is_enough(),
            _ => self.count += 1,
        }
        self.last = Some(look);
        self.is_enough()
    }

    fn is_enough(&self) -> bool {
        self.count >= LOOKS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: u64 = 1_000_000;

    fn look(at: u64, cpu: u64, last_sample: u64, doing: Doing) -> Look {
        Look { at: at * MILLISECOND, cpu, last_sample, doing }
    }

    #[test]
    fn a_moment_is_no_lasting_block() {
        let mut looks = BlockedLooks::default();
        assert!(!looks.add(look(0, 1, 0, Doing::Runs)));
        assert!(!looks.add(look(20, 1, 0, Doing::Runs)), "it had no processor meanwhile");
        assert!(!looks.add(look(9, 2, 0, Doing::Runs)), "it is too early for another look");
        assert!(!looks.add(look(30, 3, 0, Doing::Runs)));
        assert!(!looks.add(look(60, 5, 4, Doing::Runs)), "it was sampled meanwhile");
        assert!(!looks.add(look(70, 6, 4, Doing::Runs)));
        assert!(!looks.add(look(80, 7, 4, Doing::Runs)));
        assert!(!looks.add(look(90, 8, 4, Doing::Runs)));
        assert!(looks.add(look(100, 9, 4, Doing::Runs)));
        assert!(looks.add(look(101, 7, 4, Doing::Runs)), "it stays so");
        let mut asleep = BlockedLooks::default();
        let seen = [0, 10, 20, 30, 40].map(|at| asleep.add(look(at, 1, 0, Doing::Sleeps)));
        assert_eq!(seen, [false, false, false, false, true]);
    }
}

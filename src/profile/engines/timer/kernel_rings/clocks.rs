//! At which CPU clock of its thread a sample was taken. The kernel tells the time of each sample,
//! and takes one after each period of the thread's CPU time; the sampler reads the CPU clock when
//! it reads the samples. Computes only.
//!
//! Invariants
//! 1. The clocks of a thread's samples rise, and are at most the clock that the sampler has read.
//!    So the weights of a thread are never more than its CPU time.
//! 2. A thread uses no more CPU time than passes. So a sample's clock is at least the sampler's,
//!    less the time since the sample. For a thread that runs all the time, that is the exact clock.

/// Puts into `clocks` the CPU clocks of a thread's samples, which were taken at `times`, in order.
/// `before`: the clock of the sample before them. `now`: the time at which, or after which, the CPU
/// clock was read as `clock`. `period`: the CPU time between two samples. All in nanoseconds.
pub(in super::super) fn clocks_of_samples(
    times: impl ExactSizeIterator<Item = u64>,
    (before, clock): (u64, u64),
    now: u64,
    period: u64,
    clocks: &mut Vec<u64>,
) {
    clocks.clear();
    let count = times.len() as u64;
    let used = clock.saturating_sub(before);
    // A period and its part of the time for which no samples came, if that is more than can be on
    // its way: they found no room, the kernel merged them, or it does not sample its own part.
    let is_behind = used > (count + 2) * period;
    let step = if is_behind { (used - period) / count.max(1) } else { period };
    let mut last = before;
    for at in times {
        let least = clock.saturating_sub(now.saturating_sub(at));
        last = (last + step).max(least).min(clock).max(last);
        clocks.push(last);
    }
}

#[cfg(all(test, not(selvedge_model)))]
mod tests {
    use super::*;

    fn clocks(times: &[u64], before: u64, clock: u64, now: u64) -> Vec<u64> {
        let mut clocks = Vec::new();
        clocks_of_samples(times.iter().copied(), (before, clock), now, 100, &mut clocks);
        clocks
    }

    #[test]
    fn a_running_thread_has_exact_clocks() {
        // It ran from the time 1000 on, and its samples came late by up to 30.
        assert_eq!(clocks(&[1_110, 1_230, 1_340], 0, 350, 1_350), [110, 230, 340]);
    }

    #[test]
    fn a_thread_that_sleeps_has_a_sample_each_period() {
        assert_eq!(clocks(&[5_000, 9_000], 40, 250, 20_000), [140, 240]);
        // The read clock is behind: the kernel counts time that the thread did not get.
        assert_eq!(clocks(&[5_000, 9_000, 9_500], 40, 190, 20_000), [140, 190, 190]);
        assert_eq!(clocks(&[], 40, 190, 20_000), [0; 0]);
    }

    #[test]
    fn time_without_samples_is_shared_by_those_that_came() {
        // Ten were due, and two came.
        assert_eq!(clocks(&[50_000, 90_000], 0, 1_000, 200_000), [450, 900]);
    }

    #[test]
    fn clocks_never_go_back() {
        assert_eq!(clocks(&[100, 200], 500, 450, 300), [500, 500]);
        assert_eq!(clocks(&[900, 200], 0, 150, 1_000), [100, 150]);
    }
}

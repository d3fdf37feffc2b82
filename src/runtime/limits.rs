//! What the program has used of the CPU and memory that its control group permits: one line of the
//! log at the end. A service that is throttled is slow although its threads wait for nothing and
//! use little CPU; nothing else tells why.

use crate::os::cgroup::{self, Usage};
use crate::os::counted::counted;
use std::fmt;
use std::time::{Duration, Instant};

/// Where nothing is limited there is nothing to tell.
pub(super) struct Limits {
    began: Instant,
    before: Option<Usage>,
}

impl Limits {
    pub(super) fn start() -> Limits {
        let is_limited = |usage: &Usage| usage.cpus.is_some() || usage.memory_limit.is_some();
        Limits { began: Instant::now(), before: cgroup::read().filter(is_limited) }
    }

    pub(super) fn report(&self) {
        let Some((before, now)) = self.before.as_ref().zip(cgroup::read()) else { return };
        let since = Since { before, now: &now, elapsed: self.began.elapsed() };
        if since.is_in_want() {
            log::warn!("{since}");
        } else {
            log::info!("{since}");
        }
    }
}

struct Since<'a> {
    before: &'a Usage,
    now: &'a Usage,
    elapsed: Duration,
}

impl Since<'_> {
    fn of(&self, count: fn(&Usage) -> u64) -> u64 {
        count(self.now).saturating_sub(count(self.before))
    }

    /// Throttled in more than a tenth of the periods, or killed for memory.
    fn is_in_want(&self) -> bool {
        self.of(|usage| usage.throttled) * 10 > self.of(|usage| usage.periods) || self.of(|usage| usage.killed) > 0
    }
}

impl fmt::Display for Since<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let used = self.now.cpu.saturating_sub(self.before.cpu);
        write!(f, "the control group used {used:.2?} CPU in {:.2?}", self.elapsed)?;
        if let Some(cpus) = self.now.cpus {
            let throttled = self.now.throttled_time.saturating_sub(self.before.throttled_time);
            let (times, periods) = (self.of(|usage| usage.throttled), self.of(|usage| usage.periods));
            write!(
                f,
                ", of at most {cpus:.2} processors; throttled in {times} of {periods} periods, for {throttled:.2?}"
            )?;
        }
        if let Some(limit) = self.now.memory_limit {
            let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
            let peak = self
                .now
                .memory_peak
                .map_or_else(|| "an unknown part".to_owned(), |peak| format!("{:.1}", mebibytes(peak)));
            write!(f, "; memory: at most {peak} of {:.1} MiB", mebibytes(limit))?;
            let (times, killed) = (self.of(|usage| usage.at_limit), self.of(|usage| usage.killed));
            let (times, processes) = (counted(times, "time"), if killed == 1 { "process" } else { "processes" });
            write!(f, ", {times} at the limit, {killed} {processes} killed for it")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_tells_changes_since_the_start() {
        let before = Usage { cpus: Some(0.5), throttled: 5, periods: 100, killed: 1, ..Usage::default() };
        let now = Usage {
            cpus: Some(0.5),
            cpu: Duration::from_millis(2500),
            periods: 140,
            throttled: 9,
            throttled_time: Duration::from_millis(320),
            memory_limit: Some(256 << 20),
            memory_peak: Some(210 << 20),
            at_limit: 3,
            killed: 1,
        };
        let mut since = Since { before: &before, now: &now, elapsed: Duration::from_secs(6) };
        let text = "the control group used 2.50s CPU in 6.00s, of at most 0.50 processors; \
                    throttled in 4 of 40 periods, for 320.00ms; \
                    memory: at most 210.0 of 256.0 MiB, 3 times at the limit, 0 processes killed for it";
        assert_eq!((since.to_string(), since.is_in_want()), (text.to_owned(), false));
        let now = Usage { throttled: 10, ..now.clone() };
        since.now = &now;
        assert!(since.is_in_want(), "5 of 40");
    }
}

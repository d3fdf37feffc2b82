//! How many intervals were pushed and how many were lost, and what is told of that: the first
//! failure at once, then at most once a minute, and all of it at the end.

use crate::model::locks::Mutex;
use crate::os::tell::tell;
use log::Level;
use std::time::{Duration, Instant};

/// Between two reports of the same kind.
const PAUSE: Duration = Duration::from_secs(60);

/// Why an interval is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// Later ones took its place in the memory.
    Full,
    Refused,
    /// No request could be made of it.
    Unmade,
}

const LOSSES: [(Loss, &str); 3] = [
    (Loss::Full, "gave way to later ones while the server took none"),
    (Loss::Refused, "refused by the server"),
    (Loss::Unmade, "could not be encoded"),
];
/// The end of the program came first.
const UNSENT: &str = "not sent when the program ended";

/// Of one run. The thread that pushes counts, and the end of the program may have to tell. No lock is
/// held while something is told, since a log may hang.
pub(super) struct Counts {
    url: String,
    sums: Mutex<Sums>,
}

#[derive(Default)]
struct Sums {
    /// Intervals that have ended, without empty ones.
    taken: u64,
    pushed: u64,
    /// By the order of `LOSSES`.
    lost: [u64; LOSSES.len()],
    /// It was told that the server takes none, and not yet that it takes them again.
    is_failing: bool,
    told_failure: Option<Instant>,
    told_loss: Option<Instant>,
    /// Lost intervals that were not told.
    untold: u64,
    /// The last words are told, or are being told.
    is_over: bool,
}

impl Counts {
    pub(super) fn new(url: String) -> Counts {
        Counts { url, sums: Mutex::default() }
    }

    /// An interval has ended. Its names are looked for next.
    pub(super) fn taken(&self) {
        self.sums.lock().taken += 1;
    }

    /// There was nothing in the interval.
    pub(super) fn was_empty(&self) {
        self.sums.lock().taken -= 1;
    }

    pub(super) fn pushed(&self) {
        let mut sums = self.sums.lock();
        sums.pushed += 1;
        let was_failing = std::mem::take(&mut sums.is_failing);
        drop(sums);
        if was_failing {
            log::info!("push: {} takes profiles again", self.url);
        }
    }

    /// An attempt has failed; the next comes after `pause`.
    pub(super) fn failed(&self, why: &str, pause: Duration, waiting: u64) {
        let mut sums = self.sums.lock();
        if is_due(&mut sums.told_failure) {
            sums.is_failing = true;
            drop(sums);
            let text = format!(
                "push: no profile to {}: {why}; the next attempt is in {pause:.1?}, and {waiting} {} kept",
                self.url,
                if waiting == 1 { "interval is" } else { "intervals are" }
            );
            tell(Level::Warn, module_path!(), &text);
        }
    }

    /// So many intervals are lost.
    pub(super) fn lost(&self, count: u64, loss: Loss, why: &str) {
        let Some(at) = LOSSES.iter().position(|(known, _)| *known == loss).filter(|_| count > 0) else { return };
        let mut sums = self.sums.lock();
        sums.lost[at] += count;
        sums.untold += count;
        if is_due(&mut sums.told_loss) {
            let count = intervals(std::mem::take(&mut sums.untold));
            drop(sums);
            tell(Level::Warn, module_path!(), &format!("push: the profile of {count} is lost: {why}"));
        }
    }

    /// What was neither pushed nor lost is lost now. Tells once how the run went, if there was anything
    /// to push: the first call does.
    pub(super) fn end(&self) {
        let mut sums = self.sums.lock();
        if std::mem::replace(&mut sums.is_over, true) {
            return;
        }
        let (all, text) = sums.summary(&self.url);
        let is_complete = sums.pushed == all;
        drop(sums);
        match all {
            0 => {}
            _ if is_complete => log::info!("{text}"),
            _ => tell(Level::Warn, module_path!(), &text),
        }
    }
}

#[cfg(test)]
impl Counts {
    pub(super) fn is_over(&self) -> bool {
        self.sums.lock().is_over
    }
}

impl Sums {
    /// The number of intervals, and what became of them.
    fn summary(&self, url: &str) -> (u64, String) {
        let lost = LOSSES.iter().zip(self.lost).map(|((_, text), count)| (count, *text));
        let unsent = self.taken - self.pushed - self.lost.iter().sum::<u64>();
        let lost = lost.chain([(unsent, UNSENT)]).filter(|(count, _)| *count > 0);
        let lost: Vec<String> = lost.map(|(count, text)| format!("{count} {text}")).collect();
        let all = intervals(self.taken);
        let text = match lost.is_empty() {
            true => format!("push: {all} pushed to {url}"),
            false => format!("push: {} of {all} pushed to {url}; lost: {}", self.pushed, lost.join(", ")),
        };
        (self.taken, text)
    }
}

fn intervals(count: u64) -> String {
    format!("{count} interval{}", if count == 1 { "" } else { "s" })
}

/// Returns `true` if nothing was told within the pause, and notes that something is told now.
fn is_due(told: &mut Option<Instant>) -> bool {
    let now = Instant::now();
    let due = told.is_none_or(|told| now.saturating_duration_since(told) >= PAUSE);
    if due {
        *told = Some(now);
    }
    due
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_tells_all_losses_by_reason() {
        let mut sums = Sums::default();
        let url = "http://host:80";
        assert_eq!(sums.summary(url).0, 0);
        (sums.taken, sums.pushed) = (1, 1);
        assert_eq!(sums.summary(url), (1, "push: 1 interval pushed to http://host:80".to_owned()));
        let counts = Counts { url: url.to_owned(), sums: Mutex::new(sums) };
        (0..6).for_each(|_| counts.taken());
        counts.lost(0, Loss::Full, "");
        counts.lost(3, Loss::Full, "");
        counts.lost(1, Loss::Refused, "the server answers 400");
        let text = "push: 1 of 7 intervals pushed to http://host:80; lost: 3 gave way to later ones while the server \
                    took none, 1 refused by the server, 2 not sent when the program ended";
        assert_eq!(counts.sums.lock().summary(url), (7, text.to_owned()));
    }
}

//! How many intervals were pushed and how many were lost, and what is told of that: the first
//! failure at once, then at most once a minute, and all of it at the end.

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
    /// The program has ended before it could be sent.
    Ended,
}

const LOSSES: [(Loss, &str); 4] = [
    (Loss::Full, "gave way to later ones while the server took none"),
    (Loss::Refused, "refused by the server"),
    (Loss::Unmade, "could not be encoded"),
    (Loss::Ended, "not sent when the program ended"),
];

/// Of one run.
pub(super) struct Counts {
    url: String,
    pushed: u64,
    /// By the order of `LOSSES`.
    lost: [u64; LOSSES.len()],
    /// It was told that the server takes none, and not yet that it takes them again.
    is_failing: bool,
    told_failure: Option<Instant>,
    told_loss: Option<Instant>,
    /// Lost intervals that were not told.
    untold: u64,
}

impl Counts {
    pub(super) fn new(url: String) -> Counts {
        Counts {
            url,
            pushed: 0,
            lost: [0; LOSSES.len()],
            is_failing: false,
            told_failure: None,
            told_loss: None,
            untold: 0,
        }
    }

    pub(super) fn pushed(&mut self) {
        self.pushed += 1;
        if std::mem::take(&mut self.is_failing) {
            log::info!("push: {} takes profiles again", self.url);
        }
    }

    /// An attempt has failed; the next comes after `pause`.
    pub(super) fn failed(&mut self, why: &str, pause: Duration, waiting: u64) {
        if is_due(&mut self.told_failure) {
            self.is_failing = true;
            let Counts { url, .. } = self;
            let text = format!(
                "push: no profile to {url}: {why}; the next attempt is in {pause:.1?}, and {waiting} {} kept",
                if waiting == 1 { "interval is" } else { "intervals are" }
            );
            tell(Level::Warn, module_path!(), &text);
        }
    }

    /// So many intervals are lost.
    pub(super) fn lost(&mut self, count: u64, loss: Loss, why: &str) {
        let Some(at) = LOSSES.iter().position(|(known, _)| *known == loss).filter(|_| count > 0) else { return };
        self.lost[at] += count;
        self.untold += count;
        // The end tells all of it.
        if loss != Loss::Ended && is_due(&mut self.told_loss) {
            let count = intervals(std::mem::take(&mut self.untold));
            tell(Level::Warn, module_path!(), &format!("push: the profile of {count} is lost: {why}"));
        }
    }

    /// Tells how the run went, if there was anything to push.
    pub(super) fn tell(&self) {
        match self.summary() {
            (0, _) => {}
            (_, text) if self.lost == [0; LOSSES.len()] => log::info!("{text}"),
            (_, text) => tell(Level::Warn, module_path!(), &text),
        }
    }

    /// The number of intervals, and what became of them.
    fn summary(&self) -> (u64, String) {
        let all = self.pushed + self.lost.iter().sum::<u64>();
        let lost = LOSSES.iter().zip(self.lost).filter(|(_, count)| *count > 0);
        let lost: Vec<String> = lost.map(|((_, text), count)| format!("{count} {text}")).collect();
        let text = match lost.is_empty() {
            true => format!("push: {} pushed to {}", intervals(all), self.url),
            false => {
                format!("push: {} of {} pushed to {}; lost: {}", self.pushed, intervals(all), self.url, lost.join(", "))
            }
        };
        (all, text)
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
        let mut counts = Counts::new("http://host:80".to_owned());
        assert_eq!(counts.summary().0, 0);
        counts.pushed();
        assert_eq!(counts.summary(), (1, "push: 1 interval pushed to http://host:80".to_owned()));
        counts.lost(0, Loss::Full, "");
        counts.lost(3, Loss::Full, "");
        counts.lost(1, Loss::Refused, "the server answers 400");
        counts.lost(2, Loss::Ended, "");
        let text = "push: 1 of 7 intervals pushed to http://host:80; lost: 3 gave way to later ones while the server \
                    took none, 1 refused by the server, 2 not sent when the program ended";
        assert_eq!(counts.summary(), (7, text.to_owned()));
    }
}

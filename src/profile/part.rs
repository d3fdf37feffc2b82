//! A part of a recording that another part of the program has started: what was found between two
//! moments. The recording goes on. For `inspect`, which must not take the recording away.

use super::accounts::Account;
use super::assemble::profile;
use super::build;
use super::difference;
use super::model::{Profile, Session};
use super::options::Clock;
use super::raw::RawProfile;
use super::running::{Running, running};
use super::symbols::OfThisProcess;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// A part that has begun.
pub(crate) struct Part {
    running: Arc<Running>,
    before: RawProfile,
    began: Instant,
    epoch: SystemTime,
}

/// What the recording that runs does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunningNow {
    pub(crate) clock: Clock,
    pub(crate) period: Duration,
    pub(crate) since: Duration,
    pub(crate) counts_waits: bool,
}

/// `None`: nothing is recorded now.
pub(crate) fn running_now() -> Option<RunningNow> {
    let running = running()?;
    let effective = running.effective;
    let counts_waits = running.waits().is_some();
    Some(RunningNow { clock: effective.clock, period: effective.period, since: running.began.elapsed(), counts_waits })
}

/// All that was found and counted up to now. `None` if no recording counts waits.
pub(crate) fn waits_now() -> Option<Profile> {
    let running = running()?;
    let waits = running.waits()?.counted();
    let found = running.snapshot()?;
    Some(profile(found, Some(waits), None, running.effective, running.epoch, running.began.elapsed()))
}

/// The accounts up to now, and since when they count; `None` if no recording counts waits.
pub(crate) fn accounts_now() -> Option<(Vec<Account>, Duration)> {
    let running = running()?;
    Some((running.waits()?.accounts(), running.began.elapsed()))
}

impl Part {
    /// Begins a part of the recording that runs. `None`: none runs.
    pub(crate) fn begin() -> Option<Part> {
        let running = running()?;
        let before = running.snapshot()?;
        Some(Part { running, before, began: Instant::now(), epoch: SystemTime::now() })
    }

    /// Ends the part. `None`: the recording has ended meanwhile.
    pub(crate) fn end(self) -> Option<EndedPart> {
        let after = self.running.snapshot()?;
        let (whole, length) = (self.running.began.elapsed(), self.began.elapsed());
        Some(EndedPart { part: self, after, whole, length })
    }
}

/// A part that has ended, without names of functions.
pub(crate) struct EndedPart {
    part: Part,
    after: RawProfile,
    whole: Duration,
    length: Duration,
}

impl EndedPart {
    /// What was found in it. Blocks for as long as it takes to find the functions' names.
    pub(crate) fn profile(self) -> Profile {
        let EndedPart { part: Part { running, before, epoch, .. }, after, whole, length } = self;
        // The later history has what the earlier one has. So the names are found once.
        let mut names = OfThisProcess::new(after.history);
        let mut named = |samples: Vec<_>, lifetimes: &[_], trouble, duration| {
            let (effective, started) = (running.effective, running.epoch);
            let session = Session { effective, started, duration, trouble, unread: Vec::new() };
            build::prepare(&samples, &[], &mut names);
            build::profile(samples, lifetimes, session, &mut names)
        };
        let earlier = named(before.samples, &before.lifetimes, before.trouble, whole.saturating_sub(length));
        let later = named(after.samples, &after.lifetimes, after.trouble, whole);
        let mut part = difference::since(later, &earlier);
        (part.session.started, part.session.duration) = (epoch, length);
        part
    }
}

//! A part of a recording that another part of the program has started: what was found between two
//! moments. The recording goes on. For `inspect`, which must not take the recording away.

use super::accounts::{self, Account, WaitCounter, former_wait_counters};
use super::assemble::profile;
use super::build;
use super::counted_waits::CountedWaits;
use super::difference;
use super::model::{Profile, Session};
use super::options::Clock;
use super::raw::{Effective, RawProfile};
use super::running::{Running, running};
use super::symbols::{OfThisProcess, Resolve};
use super::trace::Traced;
use super::traced_stacks::TracedStacks;
use super::wait_stacks::Contention;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// A part that has begun.
pub(crate) struct Part {
    running: Arc<Running>,
    before: RawProfile,
    /// `None`: waits do not matter.
    waits_before: Option<CountedWaits>,
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

/// How long threads have waited in all recordings up to now. Empty if none has counted waits.
pub(crate) fn wait_counters() -> Vec<WaitCounter> {
    match running().and_then(|running| running.waits()) {
        Some(waits) => waits.wait_counters(),
        None => former_wait_counters(),
    }
}

/// The accounts up to now, and since when they count; `None` if no recording counts waits.
pub(crate) fn accounts_now() -> Option<(Vec<Account>, Duration)> {
    let running = running()?;
    Some((running.waits()?.accounts(), running.began.elapsed()))
}

impl Part {
    /// Begins a part of the recording that runs, with waits if `with_waits`. `None`: no recording runs,
    /// or it does not count them.
    pub(crate) fn begin(with_waits: bool) -> Option<Part> {
        let running = running()?;
        // Its stacks are asked for first, and may take a while; what is counted is of its end.
        let waits_before = if with_waits { Some(running.waits()?.counted().uncut()) } else { None };
        let (began, epoch) = (Instant::now(), SystemTime::now());
        let before = running.snapshot()?;
        Some(Part { running, before, waits_before, began, epoch })
    }

    /// Ends the part. `None`: the recording has ended meanwhile.
    pub(crate) fn end(self) -> Option<EndedPart> {
        let Part { running, before, waits_before, began, epoch } = self;
        // In the order of `Recording::snapshot`.
        let counting = if waits_before.is_some() { Some(running.waits()?) } else { None };
        let waits_after = counting.as_ref().map(|waits| waits.counted().uncut());
        let (whole, length) = (running.began.elapsed(), began.elapsed());
        let after = running.snapshot()?;
        let collected = counting.and_then(|waits| waits.collect()).map(|collected| collected.since(began));
        let traced = collected.map(|collected| Traced::new(collected, running.effective.clock));
        let waits = waits_before.zip(waits_after).map(|(before, after)| PartOfWaits { before, after, traced });
        let (effective, started) = (running.effective, running.epoch);
        Some(EndedPart { before, after, waits, effective, started, epoch, whole, length })
    }
}

/// A part that has ended, without names of functions.
pub(crate) struct EndedPart {
    before: RawProfile,
    after: RawProfile,
    waits: Option<PartOfWaits>,
    effective: Effective,
    /// When the whole recording began, and the part.
    started: SystemTime,
    epoch: SystemTime,
    whole: Duration,
    length: Duration,
}

struct PartOfWaits {
    before: CountedWaits,
    after: CountedWaits,
    traced: Option<Traced>,
}

impl EndedPart {
    /// What was found in it. Blocks for as long as it takes to find the functions' names.
    pub(crate) fn profile(self) -> Profile {
        let EndedPart { before, after, waits, effective, started, epoch, whole, length } = self;
        let RawProfile { samples, lifetimes, stacks, history, trouble, own_stacks, .. } = after;
        // The later history has what the earlier one has. So the names are found once.
        let mut names = OfThisProcess::new(history);
        let mut named = |samples: Vec<_>, lifetimes: &[_], own_stacks: &[_], trouble, duration| {
            let session = Session { effective, started, duration, trouble, unread: Vec::new(), process_cpu: None };
            build::profile(samples, lifetimes, own_stacks, session, &mut names)
        };
        let earlier = named(before.samples, &before.lifetimes, &[], before.trouble, whole.saturating_sub(length));
        let later = named(samples, &lifetimes, &own_stacks.stacks, trouble, whole);
        let mut part = difference::since(later, &earlier);
        (part.session.started, part.session.duration) = (epoch, length);
        let Some(PartOfWaits { before, after, traced }) = waits else { return part };
        if let Some(traced) = traced {
            let named = TracedStacks::new(&traced.trace, &stacks, &own_stacks.stacks, &mut names);
            (part.traced, part.names.change().traced) = (Some(Arc::new(traced)), Arc::new(named));
        }
        // A number of a stack stays that stack's, so the later table has those of the earlier reading.
        let mut contention = |accounts: &[Account], let_go, can_take| {
            Contention::new(accounts, let_go, &own_stacks, can_take, &mut names)
        };
        let earlier = contention(&before.accounts, before.let_go, before.can_take);
        part.names.change().contention = contention(&after.accounts, after.let_go, after.can_take).since(&earlier);
        part.accounts = accounts::since(after.accounts, &before.accounts, length).into();
        part.names.change().unread.extend(names.unread());
        part
    }

    /// Where the time of each thread went in it, and how long it was. Empty without waits.
    pub(crate) fn accounts(self) -> (Vec<Account>, Duration) {
        let waits = self.waits.map(|waits| accounts::since(waits.after.accounts, &waits.before.accounts, self.length));
        (waits.unwrap_or_default(), self.length)
    }
}

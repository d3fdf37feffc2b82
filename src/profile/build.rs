//! Makes a profile from an engine's samples: finds the thread of each sample, and adds up samples
//! of the same thread with equal frames. `shown_stacks.rs` finds the frames. Knows no engine.

use super::model::{Profile, Session};
use super::named::{Named, Names};
use super::owners::Owners;
use super::raw::{self, Ending, Lifetime, Nanos, OwnStack, RawSample, SAMPLER};
use super::shown_stacks::{OTHERS, RUNTIME, ShownStacks, UNSAMPLED};
use super::spans::Counted;
use super::symbols::{Resolve, Wanted};
use super::thread_profile::ThreadProfile;
use crate::flame::{Stack, Stacks};
use crate::wait::{Context, is_path_outside, path_outside};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

/// The thread, the frames, and what the thread worked on.
type StackKey = (Arc<str>, Vec<usize>, Option<Context>);

/// A sample that is counted for its thread.
pub(super) struct Owned {
    path: Arc<str>,
    sample: RawSample,
}

/// Makes a profile, and finds its names. `lifetimes`: of the threads of the tree. `own_stacks`: other
/// stacks that the caller names next. `session`: what was recorded, and how.
pub(super) fn profile(
    samples: Vec<RawSample>,
    lifetimes: &[Lifetime],
    own_stacks: &[OwnStack],
    session: Session,
    names: &mut dyn Resolve,
) -> Profile {
    let (mut profile, samples) = counted(samples, lifetimes, session);
    let stacks = stacks(samples, own_stacks, names);
    profile.names = Names::found(Named { stacks, unread: names.unread(), ..Named::default() });
    profile
}

/// Makes a profile without names, and gives the samples that are to be named. Adds them up by their
/// threads.
pub(super) fn counted(samples: Vec<RawSample>, lifetimes: &[Lifetime], session: Session) -> (Profile, Vec<Owned>) {
    let mut threads = Threads::new(lifetimes, session.duration);
    let counted = samples.into_iter().filter(|sample| sample.samples > 0 || sample.weight > 0);
    let counted = counted.map(|sample| {
        let owner = threads.owner(&sample);
        count(&sample, owner);
        Owned { path: owner.path.clone(), sample }
    });
    let counted: Vec<Owned> = counted.collect();
    let others = |owned: &&Owned| matches!(owned.sample.stack, raw::Stack::Others { .. });
    let others = counted.iter().filter(others).map(|owned| owned.sample.samples).sum();
    let (threads, ambiguous) = threads.finish(lifetimes, session.effective.period);
    let unregistered = threads.iter().filter(|thread| is_path_outside(&thread.path));
    let unregistered = unregistered.map(|thread| thread.samples).sum();
    let profile = Profile {
        threads,
        accounts: Arc::default(),
        spans: Counted::default(),
        traced: None,
        names: Names::found(Named::default()),
        unregistered,
        ambiguous,
        others,
        session,
    };
    (profile, counted)
}

/// The named stacks of the samples: samples of the same thread with equal frames are one.
pub(super) fn stacks(samples: Vec<Owned>, own_stacks: &[OwnStack], names: &mut dyn Resolve) -> Stacks {
    prepare(&samples, own_stacks, names);
    let mut shown = ShownStacks::new(names);
    let mut sums: HashMap<StackKey, (u64, u64)> = HashMap::new();
    for Owned { path, sample } in samples {
        let frames = frames(&path, &sample, &mut shown);
        let sum = sums.entry((path, frames, sample.context)).or_default();
        sum.0 += sample.samples;
        sum.1 += sample.weight;
    }
    let mut stacks: Vec<Stack> = sums
        .into_iter()
        .map(|((label, frames, context), (samples, weight))| {
            let labels = context.map_or_else(Vec::new, |context| context.pairs.to_vec());
            Stack { label, frames, labels, samples, weight }
        })
        .collect();
    stacks.sort_unstable_by(|a, b| (&a.label, &a.frames, &a.labels).cmp(&(&b.label, &b.frames, &b.labels)));
    shown.finish(stacks)
}

/// The threads of the profile while samples are added.
struct Threads {
    owners: Owners,
    /// By the indexes of their lifetimes.
    of_tree: Vec<ThreadProfile>,
    unregistered: BTreeMap<String, ThreadProfile>,
    /// Samples that may belong to a later thread with the same handle.
    ambiguous: u64,
}

impl Threads {
    fn new(lifetimes: &[Lifetime], duration: Duration) -> Threads {
        let of_tree = lifetimes.iter().map(|lifetime| thread(lifetime, duration)).collect();
        Threads { owners: Owners::new(lifetimes), of_tree, unregistered: BTreeMap::new(), ambiguous: 0 }
    }

    /// The thread of the sample, made if need be.
    fn owner(&mut self, sample: &RawSample) -> &mut ThreadProfile {
        match &sample.owner {
            raw::Owner::Lifetime(index) => &mut self.of_tree[*index],
            raw::Owner::Handle { os_thread, os_name, at } => {
                // The time is that of the first sample; the others may be a later thread's.
                if sample.samples > 1 && self.owners.has_successor(*os_thread, *at) {
                    self.ambiguous += sample.samples - 1;
                }
                match self.owners.owner(*os_thread, *at) {
                    Some(index) => &mut self.of_tree[index],
                    None => self
                        .unregistered
                        .entry(path_outside(os_name))
                        .or_insert_with_key(|path| ThreadProfile::new(path.as_str().into())),
                }
            }
        }
    }

    /// All threads, unregistered threads last, and the number of ambiguous samples.
    fn finish(self, lifetimes: &[Lifetime], period: Duration) -> (Vec<ThreadProfile>, u64) {
        let mut threads = self.of_tree;
        for (thread, lifetime) in threads.iter_mut().zip(lifetimes) {
            thread.lost = lifetime.lost.unwrap_or_else(|| lost(thread, period));
            thread.merged = lifetime.merged;
        }
        threads.extend(self.unregistered.into_values());
        // Stable: threads of the tree keep their order.
        threads.sort_by_key(|thread| is_path_outside(&thread.path));
        (threads, self.ambiguous)
    }
}

/// Counts the sample for its thread.
fn count(sample: &RawSample, owner: &mut ThreadProfile) {
    owner.samples += sample.samples;
    let weight = Duration::from_nanos(sample.weight);
    let (raw::Stack::Sampled { ending, .. } | raw::Stack::Others { ending, .. }) = &sample.stack else {
        owner.unsampled += weight;
        return;
    };
    owner.sampled += weight;
    owner.truncated += if *ending == Ending::Deep { sample.samples } else { 0 };
    owner.broken += if matches!(ending, Ending::Broken | Ending::Leaf) { sample.samples } else { 0 };
}

/// The frames of the sample as they are shown, the leaf first.
fn frames(path: &str, sample: &RawSample, shown: &mut ShownStacks<'_>) -> Vec<usize> {
    let (mut frames, waiting, is_empty) = match &sample.stack {
        raw::Stack::Unsampled => return vec![shown.remark(UNSAMPLED)],
        raw::Stack::Sampled { waiting, .. } | raw::Stack::Others { waiting, .. } if path == SAMPLER => {
            (vec![shown.remark(RUNTIME)], waiting, false)
        }
        raw::Stack::Others { waiting, .. } => (vec![shown.remark(OTHERS)], waiting, false),
        raw::Stack::Sampled { addresses, ending, generation, waiting } => {
            let frames = shown.stack(addresses, *ending, *generation, waiting.is_some());
            (frames, waiting, addresses.is_empty())
        }
    };
    if let Some(waiting) = waiting {
        // A thread that only waits for its children, for example, has no other frames left. A
        // thread that has ended before a sample of its wait was taken has no known frames.
        if frames.len() == 1 && (is_empty || shown.is_remark(frames[0], RUNTIME)) {
            frames.clear();
        }
        for frame in waiting.lines() {
            frames.insert(0, shown.remark(frame));
        }
    }
    frames
}

/// Names all addresses of the samples, and of the stacks that threads have taken, at once. The
/// sampler's own samples are one frame: its code is all over this crate, and it calls many other functions.
fn prepare(samples: &[Owned], own_stacks: &[OwnStack], names: &mut dyn Resolve) {
    let samples = samples.iter().filter(|owned| *owned.path != *SAMPLER);
    let stacks = samples.filter_map(|owned| match &owned.sample.stack {
        raw::Stack::Sampled { addresses, generation, .. } => Some((addresses, *generation)),
        raw::Stack::Others { .. } | raw::Stack::Unsampled => None,
    });
    let stacks = stacks.chain(own_stacks.iter().map(|own| (&own.addresses, own.generation)));
    let wanted = stacks.flat_map(|(addresses, generation)| {
        let each = addresses.iter().enumerate();
        each.map(move |(index, &address)| Wanted { address, exact: index == 0, generation })
    });
    // An address occurs in many stacks.
    let wanted: HashSet<Wanted> = wanted.collect();
    names.prepare(&mut wanted.into_iter());
}

/// The thread, with its times but without samples.
fn thread(lifetime: &Lifetime, duration: Duration) -> ThreadProfile {
    let duration = Nanos::try_from(duration.as_nanos()).unwrap_or(Nanos::MAX);
    let (from, till) = (lifetime.started.max(0), lifetime.ended.unwrap_or(duration).min(duration));
    let wall = lifetime.pool.map_or(till - from, |pool| pool.wall);
    let wall = Duration::from_nanos(u64::try_from(wall).unwrap_or(0));
    let members = lifetime.pool.map_or(1, |pool| pool.threads);
    ThreadProfile { cpu: lifetime.cpu, wall, members, ..ThreadProfile::new(lifetime.path.clone()) }
}

/// The number of samples that were due by the thread's CPU time and did not come.
fn lost(thread: &ThreadProfile, period: Duration) -> u64 {
    let due = thread.cpu.as_nanos().checked_div(period.as_nanos()).unwrap_or(0) as u64;
    due.saturating_sub(thread.samples)
}

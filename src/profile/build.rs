//! Makes a profile from an engine's samples: finds the thread of each sample, and adds up samples
//! of the same thread with equal frames. `shown_stacks.rs` finds the frames. Knows no engine.

use super::model::{Profile, Session, ThreadProfile};
use super::owners::Owners;
use super::raw::{self, Ending, Lifetime, Nanos, OwnStack, RawSample};
use super::shown_stacks::{RUNTIME, ShownStacks, UNSAMPLED};
use super::spans::Counted;
use super::symbols::{Resolve, Wanted};
use super::wait_stacks::Contention;
use crate::flame::Stack;
use crate::wait::{Context, is_path_outside, path_outside};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

/// The thread, the frames, and what the thread worked on.
type StackKey = (Arc<str>, Vec<usize>, Option<Context>);

/// Makes a profile. `lifetimes`: of the threads of the tree. `session`: what was recorded, and how.
pub(super) fn profile(
    samples: Vec<RawSample>,
    lifetimes: &[Lifetime],
    session: Session,
    names: &mut dyn Resolve,
) -> Profile {
    prepare(&samples, &[], names);
    let mut threads = Threads::new(lifetimes, session.duration);
    let mut shown = ShownStacks::new(names);
    let mut sums: HashMap<StackKey, (u64, u64)> = HashMap::new();
    for sample in samples.into_iter().filter(|sample| sample.samples > 0 || sample.weight > 0) {
        let owner = threads.owner(&sample);
        let frames = frames(&sample, owner, &mut shown);
        let sum = sums.entry((owner.path.clone(), frames, sample.context.clone())).or_default();
        sum.0 += sample.samples;
        sum.1 += sample.weight;
    }
    let (threads, ambiguous) = threads.finish(lifetimes, session.effective.period);
    let unregistered = threads.iter().filter(|thread| is_path_outside(&thread.path));
    let unregistered = unregistered.map(|thread| thread.samples).sum();
    let mut stacks: Vec<Stack> = sums
        .into_iter()
        .map(|((label, frames, context), (samples, weight))| {
            let labels = context.map_or_else(Vec::new, |context| context.pairs.to_vec());
            Stack { label, frames, labels, samples, weight }
        })
        .collect();
    stacks.sort_unstable_by(|a, b| (&a.label, &a.frames, &a.labels).cmp(&(&b.label, &b.frames, &b.labels)));
    let session = Session { unread: shown.unread(), ..session };
    Profile {
        stacks: shown.finish(stacks),
        threads,
        accounts: Vec::new(),
        spans: Counted::default(),
        contention: Contention::default(),
        traced: None,
        traced_stacks: Arc::default(),
        unregistered,
        ambiguous,
        session,
    }
}

/// The threads of the profile while samples are added.
struct Threads<'a> {
    owners: Owners<'a>,
    /// By the indexes of their lifetimes.
    of_tree: Vec<ThreadProfile>,
    unregistered: BTreeMap<String, ThreadProfile>,
    /// Samples that may belong to a later thread with the same handle.
    ambiguous: u64,
}

impl<'a> Threads<'a> {
    fn new(lifetimes: &'a [Lifetime], duration: Duration) -> Threads<'a> {
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

/// The frames of the sample as they are shown, the leaf first. Counts the sample for its thread.
fn frames(sample: &RawSample, owner: &mut ThreadProfile, shown: &mut ShownStacks<'_>) -> Vec<usize> {
    owner.samples += sample.samples;
    let weight = Duration::from_nanos(sample.weight);
    let raw::Stack::Sampled { addresses, ending, generation, waiting } = &sample.stack else {
        owner.unsampled += weight;
        return vec![shown.remark(UNSAMPLED)];
    };
    owner.sampled += weight;
    owner.truncated += if *ending == Ending::Deep { sample.samples } else { 0 };
    owner.broken += if matches!(ending, Ending::Broken | Ending::Leaf) { sample.samples } else { 0 };
    let mut frames = shown.stack(addresses, *ending, *generation, waiting.is_some());
    if let Some(waiting) = waiting {
        // A thread that only waits for its children, for example, has no other frames left. A
        // thread that has ended before a sample of its wait was taken has no known frames.
        if frames.len() == 1 && (addresses.is_empty() || shown.is_remark(frames[0], RUNTIME)) {
            frames.clear();
        }
        for frame in waiting.lines() {
            frames.insert(0, shown.remark(frame));
        }
    }
    frames
}

/// Names all addresses of the samples, and of the stacks that threads have taken, at once.
pub(super) fn prepare(samples: &[RawSample], own_stacks: &[OwnStack], names: &mut dyn Resolve) {
    let stacks = samples.iter().filter_map(|sample| match &sample.stack {
        raw::Stack::Sampled { addresses, generation, .. } => Some((addresses, *generation)),
        raw::Stack::Unsampled => None,
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

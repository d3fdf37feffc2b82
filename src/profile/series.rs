//! A recording cut into intervals, one after the other: what each of them has added. The recording
//! goes on. For `push`.
//!
//! All intervals together have the sums of the recording. An interval is the difference of two
//! snapshots, as in `part`; here the names that were found, and the snapshot before, are kept.
//!
//! The time of a thread of the runtime's own is one frame. Otherwise the search for names would
//! itself be sampled, each time in other places of its code, whose names the next interval would
//! search for.

use super::accounts::is_runtimes_own;
use super::build;
use super::counted_waits::CountedWaits;
use super::difference::subtract;
use super::model::{Profile, Session};
use super::options::Clock;
use super::raw::{self, Effective, Ending, Lifetime, Owner, RawProfile, RawSample};
use super::running::{Running, running};
use super::shown_stacks::RUNTIME;
use super::symbols::OfThisProcess;
use super::wait_stacks::Contention;
use crate::error::Error;
use crate::flame::{self, Facts, Location, Stack, Stacks};
use crate::thread::pool_names::without_numbers;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// A server makes a series of each different thread, and has to keep it: threads with more
/// different names are one.
const MOST_THREADS: usize = 200;
const OTHER_THREADS: &str = "(other threads)";

/// A recording and how far it was read.
pub(crate) struct Series {
    running: Arc<Running>,
    names: OfThisProcess,
    /// What was found up to the end of the last interval.
    earlier: Found,
    /// When the last interval ended.
    last: Instant,
    /// The threads that were named up to now.
    threads: BTreeSet<Arc<str>>,
}

/// Sums since the recording began.
struct Found {
    time: Stacks,
    block: Stacks,
    mutex: Stacks,
}

/// What an interval has added.
pub(crate) struct Interval {
    pub(crate) started: SystemTime,
    pub(crate) duration: Duration,
    /// Only profiles with a sample.
    pub(crate) deltas: Vec<Delta>,
}

/// One profile of an interval.
pub(crate) struct Delta {
    pub(crate) kind: Kind,
    /// Their labels are threads, those of a pool as one.
    pub(crate) stacks: Stacks,
    /// Nanoseconds of the clock, or one wait.
    pub(crate) period: u64,
}

/// What a profile counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Cpu,
    Wall,
    /// What threads waited for, and where.
    Block,
    /// Where threads let go what other threads waited for.
    Mutex,
}

impl Kind {
    /// The names under which servers know these profiles.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Cpu => "process_cpu",
            Kind::Wall => "wall",
            Kind::Block => "block",
            Kind::Mutex => "mutex",
        }
    }

    /// What a period is of, as Go's profiles have it.
    fn period_type(self) -> [&'static str; 2] {
        let [number, time] = self.values();
        if matches!(self, Kind::Block | Kind::Mutex) { number } else { time }
    }

    /// The number and the time of a stack, each with its unit.
    pub(crate) fn values(self) -> [[&'static str; 2]; 2] {
        match self {
            Kind::Cpu => [["samples", "count"], ["cpu", "nanoseconds"]],
            Kind::Wall => [["samples", "count"], ["wall", "nanoseconds"]],
            Kind::Block | Kind::Mutex => [["contentions", "count"], ["delay", "nanoseconds"]],
        }
    }
}

impl Delta {
    /// A gzipped `profile.proto`.
    ///
    /// # Errors
    /// It cannot be made on this system.
    pub(crate) fn pprof(&self, started: SystemTime, duration: Duration) -> Result<Vec<u8>, Error> {
        let facts = Facts {
            values: self.kind.values(),
            started,
            duration,
            period_type: self.kind.period_type(),
            period: self.period,
            label_key: "thread",
            comments: &[],
        };
        let mut bytes = Vec::new();
        flame::write_pprof(&self.stacks, &facts, &mut bytes)?;
        Ok(bytes)
    }
}

impl Series {
    /// The first interval begins where the recording that runs began. `None`: none runs.
    pub(crate) fn begin() -> Option<Series> {
        let running = running()?;
        let last = running.began;
        Some(Series {
            running,
            names: OfThisProcess::new(Default::default()),
            earlier: Found { time: Stacks::default(), block: Stacks::default(), mutex: Stacks::default() },
            last,
            threads: BTreeSet::new(),
        })
    }

    /// Ends an interval, and begins the next one. `None`: the recording has ended. Blocks for as
    /// long as it takes to find the names of functions that were not met before.
    pub(crate) fn next(&mut self) -> Option<Interval> {
        let waits = self.running.waits().map(|waits| waits.counted().uncut());
        let RawProfile { mut samples, lifetimes, history, trouble, own_stacks, .. } = self.running.snapshot()?;
        let now = Instant::now();
        strip_own_threads(&mut samples, &lifetimes);
        self.names.renew(history);
        let duration = now.saturating_duration_since(self.running.began);
        let (effective, started) = (self.running.effective, self.running.epoch);
        let session = Session { effective, started, duration, trouble, unread: Vec::new(), process_cpu: None };
        let time = build::profile(samples, &lifetimes, &own_stacks.stacks, session, &mut self.names);
        let time = time.names.stacks().clone();
        let contention = waits.map_or_else(Contention::default, |CountedWaits { accounts, let_go, can_take }| {
            Contention::new(&accounts, let_go, &own_stacks, can_take, &mut self.names)
        });
        self.names.rest();
        Some(self.advance(Found::new(time, &contention), now))
    }

    /// The last interval of a recording that has ended with this profile.
    pub(crate) fn last(&mut self, profile: &Profile) -> Interval {
        let ended = self.running.began + profile.duration();
        self.advance(Found::new(profile.names.stacks().clone(), &profile.names.get().contention), ended)
    }

    fn advance(&mut self, later: Found, now: Instant) -> Interval {
        let duration = now.saturating_duration_since(self.last);
        // By the clock of today: in a machine that has slept, the clock of durations has stood still.
        let ago = now.elapsed() + duration;
        let started = SystemTime::now().checked_sub(ago).unwrap_or(SystemTime::UNIX_EPOCH);
        let Effective { clock, period, .. } = self.running.effective;
        let kind = if clock == Clock::Wall { Kind::Wall } else { Kind::Cpu };
        // As Go's: each wait counts for itself.
        let one = 1;
        let period = period.as_nanos() as u64;
        let deltas = [
            (kind, period, &later.time, &self.earlier.time),
            (Kind::Block, one, &later.block, &self.earlier.block),
            (Kind::Mutex, one, &later.mutex, &self.earlier.mutex),
        ]
        .into_iter()
        .map(|(kind, period, later, earlier)| {
            let mut stacks = later.clone();
            subtract(&mut stacks, earlier);
            Delta { kind, period, stacks: in_pools(stacks, &mut self.threads) }
        })
        .filter(|delta| !delta.stacks.stacks.is_empty())
        .collect();
        (self.earlier, self.last) = (later, now);
        Interval { started, duration, deltas }
    }
}

impl Found {
    fn new(mut time: Stacks, contention: &Contention) -> Found {
        fold_own_threads(&mut time);
        Found { time, block: contention.waits_of_the_program(), mutex: contention.mutex() }
    }
}

/// Removes the code of the runtime's own threads, so that no names are searched for it.
fn strip_own_threads(samples: &mut [RawSample], lifetimes: &[Lifetime]) {
    for sample in samples {
        let is_own = matches!(sample.owner, Owner::Lifetime(index) if is_runtimes_own(&lifetimes[index].path));
        if let raw::Stack::Sampled { addresses, ending, waiting, .. } = &mut sample.stack
            && is_own
        {
            (*addresses, *ending, *waiting) = (Arc::default(), Ending::Root, None);
        }
    }
}

/// The time of each of the runtime's own threads as one stack.
fn fold_own_threads(stacks: &mut Stacks) {
    let mut sums: BTreeMap<Arc<str>, (u64, u64)> = BTreeMap::new();
    stacks.stacks.retain(|stack| {
        let is_own = is_runtimes_own(&stack.label);
        if is_own {
            let sum = sums.entry(stack.label.clone()).or_default();
            *sum = (sum.0 + stack.samples, sum.1 + stack.weight);
        }
        !is_own
    });
    if sums.is_empty() {
        return;
    }
    let remark = Location::remark(RUNTIME);
    let known = stacks.locations.iter().position(|location| *location == remark);
    let place = known.unwrap_or_else(|| {
        stacks.locations.push(remark);
        stacks.locations.len() - 1
    });
    stacks.stacks.extend(sums.into_iter().map(|(label, (samples, weight))| Stack {
        label,
        frames: vec![place],
        labels: Vec::new(),
        samples,
        weight,
    }));
}

/// The stacks with the threads of each pool as one, without what the threads worked on, and without
/// the locations that no stack has.
fn in_pools(stacks: Stacks, known: &mut BTreeSet<Arc<str>>) -> Stacks {
    let Stacks { stacks, locations, modules } = stacks;
    let mut sums: HashMap<(Arc<str>, Vec<usize>), (u64, u64)> = HashMap::new();
    for stack in stacks {
        let sum = sums.entry((thread(&stack.label, known), stack.frames)).or_default();
        *sum = (sum.0 + stack.samples, sum.1 + stack.weight);
    }
    let (mut places, mut kept) = (HashMap::new(), Vec::new());
    let mut place = |frame: usize| {
        *places.entry(frame).or_insert_with(|| {
            kept.push(locations[frame].clone());
            kept.len() - 1
        })
    };
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_unstable();
    let stacks = sums.into_iter().map(|((label, frames), (samples, weight))| {
        let frames = frames.into_iter().map(&mut place).collect();
        Stack { label, frames, labels: Vec::new(), samples, weight }
    });
    let stacks = stacks.collect();
    Stacks { stacks, locations: kept, modules }
}

/// `main/readers/reader-*` of `main/readers/reader-12`.
fn thread(path: &str, known: &mut BTreeSet<Arc<str>>) -> Arc<str> {
    let pool = without_numbers(path);
    if let Some(pool) = known.get(pool.as_str()) {
        return pool.clone();
    }
    if known.len() >= MOST_THREADS {
        return OTHER_THREADS.into();
    }
    let pool: Arc<str> = pool.into();
    known.insert(pool.clone());
    pool
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(label: &str, frames: &[usize], weight: u64) -> Stack {
        let labels = vec![("request".into(), "17".into())];
        Stack { label: label.into(), frames: frames.to_vec(), labels, samples: 1, weight }
    }

    #[test]
    fn pools_are_one_thread_and_unused_locations_are_left_out() {
        let stacks = Stacks {
            stacks: vec![
                stack("main/reader-1", &[2, 0], 5),
                stack("main/reader-22", &[2, 0], 7),
                stack("main", &[2], 1),
            ],
            locations: ["root", "unused", "leaf"].map(Location::remark).into(),
            modules: Vec::new(),
        };
        let pooled = in_pools(stacks, &mut BTreeSet::new());
        let names = |stack: &Stack| -> Vec<String> {
            stack.frames.iter().map(|&frame| pooled.locations[frame].lines[0].function.to_string()).collect()
        };
        let found: Vec<_> = pooled.stacks.iter().map(|stack| (&*stack.label, names(stack), stack.weight)).collect();
        let expected =
            [("main", vec!["leaf".to_owned()], 1), ("main/reader-*", vec!["leaf".to_owned(), "root".to_owned()], 12)];
        assert_eq!(found, expected);
        assert_eq!((pooled.locations.len(), pooled.stacks[1].samples), (2, 2));
        assert!(pooled.stacks.iter().all(|stack| stack.labels.is_empty()));
    }

    #[test]
    fn a_thread_of_the_runtime_is_one_frame() {
        let found = |own: &[(&[usize], u64)], users: u64| {
            let own = own.iter().map(|(frames, weight)| stack("main/selvedge/push", frames, *weight));
            let stacks = own.chain([stack("main", &[0], users), stack("main/selvedges", &[1], 2)]).collect();
            let mut stacks =
                Stacks { stacks, locations: ["a", RUNTIME, "b"].map(Location::remark).into(), modules: Vec::new() };
            fold_own_threads(&mut stacks);
            stacks
        };
        let (earlier, mut later) = (found(&[(&[0], 3), (&[2, 1], 4)], 10), found(&[(&[2], 5), (&[1], 6)], 12));
        assert_eq!((later.locations.len(), later.stacks.len()), (3, 3), "a frame that is there is used");
        let own = later.stacks.last().unwrap();
        assert_eq!((&*own.label, &own.frames, own.samples, own.weight), ("main/selvedge/push", &vec![1], 2, 11));
        // Both have one frame, so the time of different code is subtracted.
        subtract(&mut later, &earlier);
        let left: Vec<_> = later.stacks.iter().map(|stack| (&*stack.label, stack.weight)).collect();
        assert_eq!(left, [("main", 2), ("main/selvedge/push", 4)]);
    }

    #[test]
    fn the_number_of_threads_is_bounded() {
        let mut known = BTreeSet::new();

        assert_eq!(&*thread("main/reader-7", &mut known), "main/reader-*");
        for number in 0..1000_u32 {
            let name: String = number.to_string().chars().map(|digit| (digit as u8 - b'0' + b'a') as char).collect();
            thread(&format!("main/{name}"), &mut known);
        }
        assert_eq!(known.len(), MOST_THREADS);
        assert_eq!(&*thread("main/one more", &mut known), OTHER_THREADS);
        assert_eq!(&*thread("main/reader-9", &mut known), "main/reader-*");
    }
}

//! A short profile by the wall clock beside a recording that may run: threads are asked where they
//! are, now and then.
//!
//! It is for the shutdown, when what is wanted is not where the CPU time goes, but what each thread
//! does instead of ending.

use super::build;
use super::engines;
use super::loader::History;
use super::model::{Profile, Session};
use super::options::{Clock, Engine};
use super::raw::{self, Effective, Ending, Lifetime, Owner, RawSample, Reply, Stack};
use super::symbols::OfThisProcess;
use crate::thread::Thread;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// A thread whose CPU clock has gone on by less since it was asked is still where it was, and is
/// not interrupted again.
const MOVED: Duration = Duration::from_micros(20);

pub(crate) struct Window {
    began: Instant,
    epoch: SystemTime,
    /// When the threads were last looked at.
    last: Instant,
    interval: Duration,
    /// By the thread's id.
    seen: HashMap<u64, Seen>,
    lifetimes: Vec<Lifetime>,
    sums: HashMap<(usize, Place), (u64, u64)>,
    trouble: Option<String>,
}

struct Seen {
    lifetime: usize,
    cpu: Option<Duration>,
    place: Place,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum Place {
    At {
        addresses: Arc<[u64]>,
        ending: Ending,
        waiting: Option<Arc<str>>,
    },
    /// It did not say.
    Unknown,
}

impl Window {
    /// It began at `began`; the threads will be looked at about every `interval`.
    pub(crate) fn open(began: Instant, interval: Duration) -> Window {
        let epoch = SystemTime::now().checked_sub(began.elapsed()).unwrap_or(SystemTime::UNIX_EPOCH);
        Window {
            began,
            epoch,
            last: began,
            interval,
            seen: HashMap::new(),
            lifetimes: Vec::new(),
            sums: HashMap::new(),
            trouble: None,
        }
    }

    /// Looks at these threads; what each does now stands for the time since the last look.
    pub(crate) fn look(&mut self, threads: &[Thread]) {
        let now = Instant::now();
        let weight = now.duration_since(self.last).as_nanos() as u64;
        self.last = now;
        let has_moved = |thread: &&Thread| match self.seen.get(&thread.id()) {
            Some(Seen { cpu: Some(before), place: Place::At { .. }, .. }) => {
                thread.cpu_time().is_none_or(|cpu| cpu.saturating_sub(*before) > MOVED)
            }
            _ => true,
        };
        let moved: Vec<Thread> = threads.iter().filter(has_moved).cloned().collect();
        match engines::request_stacks(&moved, &[]) {
            Ok(replies) => moved.iter().zip(replies).for_each(|(thread, reply)| self.place(thread, reply)),
            Err(why) => {
                self.trouble.get_or_insert(why);
            }
        }
        for thread in threads {
            if let Some(Seen { lifetime, place, .. }) = self.seen.get(&thread.id()) {
                let sum = self.sums.entry((*lifetime, place.clone())).or_default();
                sum.0 += 1;
                sum.1 += weight;
            }
        }
    }

    fn place(&mut self, thread: &Thread, reply: Reply) {
        let place = match reply {
            Reply::Stack { addresses, ending } => {
                let waiting = thread.waiting_for().map(|wait| raw::wait_frame(&wait.label()));
                Place::At { addresses: addresses.into(), ending, waiting }
            }
            Reply::Silent => Place::Unknown,
            Reply::Unavailable(why) => {
                self.trouble.get_or_insert(why);
                Place::Unknown
            }
            // What it did last stands to the end.
            Reply::Ended => return,
        };
        // After it was asked: the answer itself costs some.
        let cpu = thread.cpu_time();
        let lifetime = match self.seen.get(&thread.id()) {
            Some(seen) => seen.lifetime,
            None => {
                self.lifetimes.push(Lifetime {
                    path: thread.path().into(),
                    os_thread: None,
                    started: 0,
                    ended: None,
                    cpu: Duration::ZERO,
                    lost: Some(0),
                    merged: 0,
                    pool: None,
                });
                self.lifetimes.len() - 1
            }
        };
        self.seen.insert(thread.id(), Seen { lifetime, cpu, place });
    }

    /// Names the functions. `None`: no thread has said where it was.
    pub(crate) fn close(self) -> Option<Profile> {
        if !self.sums.keys().any(|(_, place)| matches!(place, Place::At { .. })) {
            return None;
        }
        let history = History::of_now();
        let generation = history.generation();
        let sample = |((lifetime, place), (samples, weight)): ((usize, Place), (u64, u64))| {
            let stack = match place {
                Place::At { addresses, ending, waiting } => Stack::Sampled { addresses, ending, generation, waiting },
                Place::Unknown => Stack::Unsampled,
            };
            RawSample { owner: Owner::Lifetime(lifetime), stack, samples, weight }
        };
        let effective = Effective { engine: Engine::Timer, clock: Clock::Wall, period: self.interval };
        let duration = self.last.duration_since(self.began);
        let session = Session { effective, started: self.epoch, duration, trouble: self.trouble, unread: Vec::new() };
        let samples = self.sums.into_iter().map(sample).collect();
        Some(build::profile(samples, &self.lifetimes, session, &mut OfThisProcess::new(history)))
    }
}

//! The window: a short profile by the wall clock, made of stack requests to some threads, beside a
//! recording that may run. It shows what each thread does during a shutdown instead of ending.

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

/// A thread that has used less CPU time since its last reply has not moved, and is not interrupted
/// again.
const MOVED: Duration = Duration::from_micros(20);

/// A profile in the making.
pub(crate) struct Window {
    began: Instant,
    epoch: SystemTime,
    /// When the last snapshot was taken.
    last: Instant,
    interval: Duration,
    /// The last reply of each thread, by the thread's id.
    last_replies: HashMap<u64, LastReply>,
    lifetimes: Vec<Lifetime>,
    sums: HashMap<(usize, StackNow), (u64, u64)>,
    trouble: Option<String>,
}

struct LastReply {
    lifetime: usize,
    cpu: Option<Duration>,
    stack: StackNow,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum StackNow {
    At {
        addresses: Arc<[u64]>,
        ending: Ending,
        waiting: Option<Arc<str>>,
    },
    /// No reply came.
    Unknown,
}

impl Window {
    /// Opens a window that began at `began`, with a snapshot about every `interval`.
    pub(crate) fn open(began: Instant, interval: Duration) -> Window {
        let epoch = SystemTime::now().checked_sub(began.elapsed()).unwrap_or(SystemTime::UNIX_EPOCH);
        Window {
            began,
            epoch,
            last: began,
            interval,
            last_replies: HashMap::new(),
            lifetimes: Vec::new(),
            sums: HashMap::new(),
            trouble: None,
        }
    }

    /// Takes a snapshot of these threads. Each stack stands for the time since the last snapshot.
    pub(crate) fn snapshot(&mut self, threads: &[Thread]) {
        let now = Instant::now();
        let weight = now.duration_since(self.last).as_nanos() as u64;
        self.last = now;
        let has_moved = |thread: &&Thread| match self.last_replies.get(&thread.id()) {
            Some(LastReply { cpu: Some(before), stack: StackNow::At { .. }, .. }) => {
                thread.cpu_time().is_none_or(|cpu| cpu.saturating_sub(*before) > MOVED)
            }
            _ => true,
        };
        let moved: Vec<Thread> = threads.iter().filter(has_moved).cloned().collect();
        match engines::request_stacks(&moved, &[]) {
            Ok(replies) => moved.iter().zip(replies).for_each(|(thread, reply)| self.add_reply(thread, reply)),
            Err(why) => {
                self.trouble.get_or_insert(why);
            }
        }
        for thread in threads {
            if let Some(LastReply { lifetime, stack, .. }) = self.last_replies.get(&thread.id()) {
                let sum = self.sums.entry((*lifetime, stack.clone())).or_default();
                sum.0 += 1;
                sum.1 += weight;
            }
        }
    }

    /// Keeps the reply as the thread's present stack.
    fn add_reply(&mut self, thread: &Thread, reply: Reply) {
        let stack = match reply {
            Reply::Stack { addresses, ending } => {
                let waiting = thread.waiting_for().map(|wait| raw::wait_frames(&wait.label()));
                StackNow::At { addresses: addresses.into(), ending, waiting }
            }
            Reply::Silent => StackNow::Unknown,
            Reply::Unavailable(why) => {
                self.trouble.get_or_insert(why);
                StackNow::Unknown
            }
            // Its last stack stays the last one.
            Reply::Ended => return,
        };
        // After the reply, which itself uses CPU time.
        let cpu = thread.cpu_time();
        let lifetime = match self.last_replies.get(&thread.id()) {
            Some(last) => last.lifetime,
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
                    held: Vec::new(),
                });
                self.lifetimes.len() - 1
            }
        };
        self.last_replies.insert(thread.id(), LastReply { lifetime, cpu, stack });
    }

    /// Why a thread was not asked, or gave no reply; `None` if each replied.
    #[cfg(feature = "inspect")]
    pub(crate) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Returns `true` if a thread has replied.
    #[cfg(feature = "inspect")]
    pub(crate) fn has_stacks(&self) -> bool {
        self.sums.keys().any(|(_, stack)| matches!(stack, StackNow::At { .. }))
    }

    /// Closes the window, and names the functions. `None`: no thread has replied.
    pub(crate) fn close(self) -> Option<Profile> {
        if !self.sums.keys().any(|(_, stack)| matches!(stack, StackNow::At { .. })) {
            return None;
        }
        let history = History::of_now();
        let generation = history.generation();
        let sample = |((lifetime, stack), (samples, weight)): ((usize, StackNow), (u64, u64))| {
            let stack = match stack {
                StackNow::At { addresses, ending, waiting } => {
                    Stack::Sampled { addresses, ending, generation, waiting }
                }
                StackNow::Unknown => Stack::Unsampled,
            };
            RawSample { owner: Owner::Lifetime(lifetime), stack, context: None, samples, weight }
        };
        let effective = Effective { engine: Engine::Timer, clock: Clock::Wall, period: self.interval };
        let duration = self.last.duration_since(self.began);
        let session = Session {
            effective,
            started: self.epoch,
            duration,
            trouble: self.trouble,
            unread: Vec::new(),
            process_cpu: None,
        };
        let samples = self.sums.into_iter().map(sample).collect();
        Some(build::profile(samples, &self.lifetimes, &[], session, &mut OfThisProcess::new(history)))
    }
}

//! What each thread did at each nanosecond: waited, was ready to run after a wait, or was in its own
//! code. Own time is split by samples into time on a processor and time outside.
//!
//! Invariants
//! 1. The stretches of a thread cover its life without a gap or an overlap.
//! 2. The parts of a stretch of time add up to its length, to the nanosecond, however it is cut.

use crate::profile::trace::{StackNumber, Trace, TracedEnder, TracedThread, WaitName};
use std::collections::HashMap;

/// What a thread did for some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Activity {
    /// It used a processor.
    Ran(StackNumber),
    /// It used none, in its own code: blocked in foreign calls, or runnable.
    Outside(Option<StackNumber>),
    /// A wait had been ended, and it did not run yet.
    Runnable,
    /// It was in its own code, and no sample says where.
    Unsampled,
    /// It waited, and no thread is known that could be asked further: an index into
    /// [`Courses::ends`].
    Waited(u32),
    /// It did not live yet, or not any more.
    Absent,
}

/// A wait that is not followed further: what for, what ended it, and where the thread stood.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct DeadEnd {
    pub(super) what: WaitName,
    pub(super) ender: TracedEnder,
    pub(super) stack: Option<StackNumber>,
}

/// What a thread does in a stretch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    /// An index into the thread's waits.
    Wait(usize),
    Runnable,
    /// In its own code. The number of nanoseconds that it was there before.
    Own(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) begin: u64,
    pub(super) end: u64,
    pub(super) doing: Doing,
}

/// Own time with one stack, in nanoseconds of own time.
#[derive(Clone, Copy, Debug)]
struct Part {
    till: u64,
    stack: Option<StackNumber>,
    clock: ClockStep,
}

/// Own time between two readings of the CPU clock.
#[derive(Clone, Copy, Debug)]
struct ClockStep {
    from: u64,
    till: u64,
    /// By how much the clock went on; at most the length.
    cpu: u64,
}

/// One thread's life.
pub(super) struct Course {
    pub(super) begin: u64,
    pub(super) end: u64,
    pub(super) born_by: Option<usize>,
    stretches: Vec<Stretch>,
    parts: Vec<Part>,
    /// For each wait: an index into [`Courses::ends`].
    end_of_wait: Vec<u32>,
    keeps_outside: bool,
}

/// All threads' lives.
pub(super) struct Courses<'a> {
    pub(super) trace: &'a Trace,
    pub(super) threads: Vec<Course>,
    pub(super) ends: Vec<DeadEnd>,
}

impl<'a> Courses<'a> {
    pub(super) fn new(trace: &'a Trace) -> Courses<'a> {
        let mut numbers: HashMap<DeadEnd, u32> = HashMap::new();
        let mut ends = Vec::new();
        let mut number = |end: DeadEnd| {
            *numbers.entry(end).or_insert_with_key(|end| {
                ends.push(end.clone());
                ends.len() as u32 - 1
            })
        };
        let threads = trace.threads.iter().map(|thread| Course::new(trace, thread, &mut number)).collect();
        Courses { trace, threads, ends }
    }

    /// What ended that wait of that thread.
    pub(super) fn ender(&self, thread: usize, wait: usize) -> &TracedEnder {
        &self.trace.threads[thread].waits[wait].ender
    }

    /// When that wait of that thread was over. A wait with a wake-up in vain has several sleeps.
    pub(super) fn over(&self, thread: usize, wait: usize) -> u64 {
        self.trace.threads[thread].waits[wait].over
    }
}

impl Course {
    fn new(trace: &Trace, thread: &TracedThread, number: &mut impl FnMut(DeadEnd) -> u32) -> Course {
        let begin = thread.begin.clamp(trace.begin, trace.end);
        let end = thread.end.clamp(begin, trace.end);
        let mut course = Course {
            begin,
            end,
            // A thread that is its own spawner, or has a later one, was told wrong.
            born_by: thread.born_by.filter(|spawner| *spawner < trace.threads.len()),
            stretches: Vec::with_capacity(2 * thread.waits.len() + 1),
            parts: Vec::with_capacity(thread.samples.len()),
            end_of_wait: Vec::with_capacity(thread.waits.len()),
            keeps_outside: trace.is_by_wall,
        };
        let mut own = 0;
        let mut at = begin;
        for (index, wait) in thread.waits.iter().enumerate() {
            let dead_end = DeadEnd { what: wait.what.clone(), ender: wait.ender.clone(), stack: wait.stack };
            course.end_of_wait.push(number(dead_end));
            // Of a wait that began before, or overlaps the wait before, the rest counts.
            let from = wait.begin.clamp(at, end);
            let ended = wait.ended.clamp(from, end);
            let next = thread.waits.get(index + 1).map_or(end, |next| next.begin.clamp(ended, end));
            let runs_again = wait.runs_again.clamp(ended, next);
            own += course.push(at, from, Doing::Own(own));
            course.push(from, ended, Doing::Wait(index));
            course.push(ended, runs_again, Doing::Runnable);
            at = runs_again;
        }
        course.push(at, end, Doing::Own(own));
        course.cut(thread);
        course
    }

    /// Adds a stretch, and returns its length.
    fn push(&mut self, begin: u64, end: u64, doing: Doing) -> u64 {
        match self.stretches.last_mut() {
            _ if begin == end => {}
            // Between them was a wait of no length.
            Some(Stretch { end: last, doing: Doing::Own(_), .. }) if matches!(doing, Doing::Own(_)) => *last = end,
            _ => self.stretches.push(Stretch { begin, end, doing }),
        }
        end - begin
    }

    /// Cuts the own time by the samples: into steps of the CPU clock, and these by stacks.
    fn cut(&mut self, thread: &TracedThread) {
        let (mut steps, mut seen) = (Vec::new(), Vec::new());
        let (mut from, mut cpu) = (0, 0);
        for sample in &thread.samples {
            cpu += sample.cpu;
            let Some(till) = self.own_before(sample.at) else { continue };
            // The CPU time of a sample without own time belongs to the next one.
            if till > from {
                steps.push(ClockStep { from, till, cpu: cpu.min(till - from) });
                seen.extend(sample.stack.map(|stack| (till, stack)));
                (from, cpu) = (till, 0);
            }
        }
        let stacks = self.stacks(&seen);
        let mut stacks = stacks.iter().peekable();
        for clock in steps {
            let mut from = clock.from;
            while from < clock.till {
                while stacks.next_if(|(till, _)| *till <= from).is_some() {}
                let (till, stack) = stacks.peek().map_or((clock.till, None), |(till, stack)| (*till, *stack));
                let till = till.min(clock.till);
                self.parts.push(Part { till, stack, clock });
                from = till;
            }
        }
    }

    /// Each stack with the own time where it ends. Within a stretch, the nearest sample decides: what a
    /// thread does before a wait and after it are different things. A stretch without a sample gets the
    /// stack of the next sample, or else of the last one.
    fn stacks(&self, seen: &[(u64, StackNumber)]) -> Vec<(u64, Option<StackNumber>)> {
        let mut stacks = Vec::new();
        let mut rest = seen;
        for stretch in &self.stretches {
            let Doing::Own(before) = stretch.doing else { continue };
            let end = before + (stretch.end - stretch.begin);
            let (within, after) = rest.split_at(rest.partition_point(|(at, _)| *at <= end));
            rest = after;
            for pair in within.windows(2) {
                stacks.push((pair[0].0.midpoint(pair[1].0), Some(pair[0].1)));
            }
            let last = within.last().or(rest.first()).or(seen.last());
            stacks.push((end, last.map(|(_, stack)| *stack)));
        }
        stacks
    }

    /// The own time before `at`. `None` if the thread waits then.
    fn own_before(&self, at: u64) -> Option<u64> {
        let at = at.clamp(self.begin, self.end);
        // A sample at the first nanosecond of a wait is of the time before.
        let stretch = self.stretches.get(self.stretches.partition_point(|stretch| stretch.end < at))?;
        match stretch.doing {
            Doing::Own(before) => Some(before + (at - stretch.begin)),
            Doing::Wait(_) => None,
            // The thread runs again, but has not said so yet: own time begins after it.
            Doing::Runnable => None,
        }
    }

    /// The stretch with the nanosecond before `at`, which lies within the life.
    pub(super) fn stretch_before(&self, at: u64) -> Stretch {
        debug_assert!(self.begin < at && at <= self.end);
        self.stretches[self.stretches.partition_point(|stretch| stretch.end < at)]
    }

    /// The stretches that have a nanosecond from `from` to `till`.
    pub(super) fn between(&self, from: u64, till: u64) -> impl Iterator<Item = Stretch> {
        let first = self.stretches.partition_point(|stretch| stretch.end <= from);
        self.stretches[first..].iter().copied().take_while(move |stretch| stretch.begin < till)
    }

    /// The wait as a dead end.
    pub(super) fn dead_end(&self, wait: usize) -> Activity {
        Activity::Waited(self.end_of_wait[wait])
    }

    /// What the thread did from `from` to `till`, all within a stretch of own time: each with its
    /// nanoseconds and the end of the part of time that it is from.
    pub(super) fn own(&self, stretch: Stretch, from: u64, till: u64, add: &mut impl FnMut(Activity, u64, u64)) {
        let Doing::Own(before) = stretch.doing else { return };
        let own = |at: u64| before + (at - stretch.begin);
        let clock = |own: u64| stretch.begin + (own - before);
        let (mut at, last) = (own(from), own(till));
        let mut index = self.parts.partition_point(|part| part.till <= at);
        while at < last {
            let Some(part) = self.parts.get(index) else {
                add(Activity::Unsampled, last - at, till);
                return;
            };
            let end = part.till.min(last);
            let ran = part.ran(end) - part.ran(at);
            let ran_where = part.stack.map_or(Activity::Unsampled, Activity::Ran);
            let outside = Activity::Outside(part.stack.filter(|_| self.keeps_outside));
            for (activity, nanos) in [(ran_where, ran), (outside, end - at - ran)] {
                if nanos > 0 {
                    add(activity, nanos, clock(end));
                }
            }
            (at, index) = (end, index + 1);
        }
    }
}

impl Part {
    /// The CPU time of the clock's step before the own time `at`. When in the step the thread ran is
    /// not known, so that time is spread evenly.
    fn ran(&self, at: u64) -> u64 {
        let ClockStep { from, till, cpu } = self.clock;
        (u128::from(at - from) * u128::from(cpu) / u128::from(till - from)) as u64
    }
}

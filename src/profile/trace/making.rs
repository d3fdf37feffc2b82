//! Makes the trace from the events: finds the thread that ended each wait, and puts the threads into
//! the order of the tree.
//!
//! Rules
//! 1. A sleep without a known ender belongs to what ended the next sleep of the same wait: the thread
//!    was woken in vain, and slept on. The wait was over when that next sleep was.
//! 2. A stamp names an OS thread. It is the thread of the tree that this OS thread was at that time.
//!    An OS thread outside of the tree has its name only.
//! 3. A thread that has stamped lived until then: the last stamp of an ending thread, which wakes the
//!    thread that joins it, comes after its end was noted.

use super::collector::{Collected, Member, Missing};
use super::events::{
    StackNumber, Trace, TracedEnder, TracedLog, TracedQueue, TracedSample, TracedSpan, TracedThread, TracedWait,
    WaitName,
};
use crate::record::{Contents, Event, SleepEvent};
use crate::wait::{self, Cause, WaitLabel};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::time::Duration;

/// What waits for many things are called, whose names were too many.
const OTHERS: &str = "[others]";

/// More sleeps than this lie between two sleeps with the same serial only if they belong to different
/// waits.
const SERIALS: usize = 1 << (SleepEvent::SERIAL_BITS - 1);

impl Collected {
    /// Makes the trace, with what the store has got since, and says what is missing. Before the count
    /// of waits ends: threads outside of the tree still have names.
    pub(in crate::profile) fn into_trace(self, is_by_wall: bool) -> (Trace, Missing) {
        let contents: Contents = self.store.contents();
        let forgotten_time = contents.forgotten_until.saturating_sub(self.began);
        let missing = Missing {
            lost: self.members.values().map(|member| member.lost).sum::<u64>() + self.lost_by_forgotten,
            forgotten: contents.forgotten,
            forgotten_time: Duration::from_nanos(forgotten_time),
        };
        let mut trace = trace(self.began..self.end, self.members, &contents, is_by_wall);
        trace.queues = self.depths.each().map(|(name, depths)| TracedQueue { name, depths }).collect();
        (trace, missing)
    }
}

/// The events of one thread, as they come.
#[derive(Default)]
struct Events {
    sleeps: Vec<SleepEvent>,
    samples: Vec<TracedSample>,
    /// Begin, end, and the number of the name.
    spans: Vec<(u64, u64, u32)>,
    logs: Vec<TracedLog>,
}

/// Makes the trace. `members`: by id, which is by age.
pub(super) fn trace(
    during: Range<u64>,
    mut members: BTreeMap<u64, Member>,
    contents: &Contents,
    is_by_wall: bool,
) -> Trace {
    let begin = during.start.max(contents.forgotten_until).min(during.end);
    let mut events: HashMap<u64, Events> = HashMap::new();
    contents.each(|thread, event| {
        if event.end() >= begin {
            events.entry(thread).or_default().add(event, contents);
        }
    });
    forget_ended(&mut members, begin);
    let order = tree_order(&members);
    let indexes: HashMap<u64, usize> = order.iter().enumerate().map(|(index, id)| (*id, index)).collect();
    let mut making = Making { window: begin..during.end, threads: Vec::new(), of_number: HashMap::new() };
    let mut sleeps = Vec::new();
    for id in &order {
        let member = &members[id];
        let mut of_thread = events.remove(id).unwrap_or_default();
        of_thread.sleeps.extend(member.sleep);
        sleeps.push((std::mem::take(&mut of_thread.sleeps), &member.labels[..]));
        let known = |id: Option<u64>| id.and_then(|id| indexes.get(&id).copied());
        let spawner = known(member.spawner).or_else(|| known(member.parent));
        making.add(member, spawner, of_thread);
    }
    // Each thread is known by now: it may have ended a wait of any other.
    for (index, (sleeps, labels)) in sleeps.into_iter().enumerate() {
        making.add_waits(index, sleeps, labels);
    }
    let lost = making.threads.iter().map(|thread| thread.lost).sum();
    Trace { begin, end: during.end, threads: making.threads, queues: Vec::new(), is_by_wall, lost }
}

/// Removes threads that have ended before `begin`, unless a thread below them lives later.
fn forget_ended(members: &mut BTreeMap<u64, Member>, begin: u64) {
    let mut needed = HashSet::new();
    // The youngest first: a child is younger than its parent.
    for (id, member) in members.iter().rev() {
        if needed.contains(id) || member.end.is_none_or(|end| end >= begin) {
            needed.insert(*id);
            needed.extend(member.parent);
        }
    }
    members.retain(|id, _| needed.contains(id));
}

impl Events {
    fn add(&mut self, event: Event, contents: &Contents) {
        match event {
            Event::Sleep(sleep) => self.sleeps.push(sleep),
            Event::Span { begin, end, name } => self.spans.push((begin, end, name)),
            Event::Log { at, level, place, text } => {
                let place = contents.places.get(place as usize).cloned().unwrap_or_else(|| OTHERS.into());
                let level = log::Level::iter().nth(usize::from(level).saturating_sub(1)).unwrap_or(log::Level::Trace);
                self.logs.push(TracedLog { at, level, place, text: contents.text(text) });
            }
            Event::Sample { at, cpu, stack, ending } => {
                let number = (ending != Event::NO_STACK).then(|| StackNumber(stack << 2 | u32::from(ending)));
                self.samples.push(TracedSample { at, cpu, stack: number });
            }
        }
    }
}

/// The ids, parents before their children, siblings by age.
fn tree_order(members: &BTreeMap<u64, Member>) -> Vec<u64> {
    let mut children: BTreeMap<Option<u64>, Vec<u64>> = BTreeMap::new();
    for (&id, member) in members {
        // A parent that is not known has ended before the recording.
        children.entry(member.parent.filter(|parent| members.contains_key(parent))).or_default().push(id);
    }
    let mut order = Vec::with_capacity(members.len());
    let mut next: Vec<u64> = children.remove(&None).unwrap_or_default();
    next.reverse();
    while let Some(id) = next.pop() {
        order.push(id);
        next.extend(children.remove(&Some(id)).unwrap_or_default().into_iter().rev());
    }
    order
}

struct Making {
    window: Range<u64>,
    threads: Vec<TracedThread>,
    /// The threads that an OS thread was, by its number.
    of_number: HashMap<u64, Vec<usize>>,
}

impl Making {
    fn add(&mut self, member: &Member, spawner: Option<usize>, events: Events) {
        let index = self.threads.len();
        if member.number != 0 {
            self.of_number.entry(member.number).or_default().push(index);
        }
        let clip = |at: u64| at.clamp(self.window.start, self.window.end);
        let Events { sleeps: _, mut samples, mut spans, mut logs } = events;
        logs.retain(|log| log.at <= self.window.end);
        // A handler and the thread itself take the time at once, and pieces of two rings may come in
        // any order.
        samples.sort_by_key(|sample| sample.at);
        clip_samples(&mut samples, self.window.end);
        spans.sort_by_key(|(begin, ..)| *begin);
        let span = |(begin, end, name): (u64, u64, u32)| {
            let name = member.span_names.get(name as usize).copied().unwrap_or(OTHERS).into();
            TracedSpan { begin: clip(begin), end: clip(end), name }
        };
        logs.sort_by_key(|log| log.at);
        self.threads.push(TracedThread {
            path: member.path.clone(),
            begin: clip(member.begin),
            end: clip(member.end.unwrap_or(u64::MAX)),
            is_alive: member.end.is_none_or(|end| end > self.window.end),
            born_by: spawner.filter(|_| member.begin > self.window.start),
            waits: Vec::new(),
            samples,
            spans: spans.into_iter().filter(|(begin, ..)| *begin <= self.window.end).map(span).collect(),
            logs,
            lost: member.lost,
        });
    }

    fn add_waits(&mut self, index: usize, mut sleeps: Vec<SleepEvent>, labels: &[WaitLabel]) {
        sleeps.sort_by_key(|sleep| sleep.begin);
        // The sleep that went on when the recording was read may be in the ring as well.
        sleeps.dedup_by(|later, earlier| {
            let is_same = later.begin == earlier.begin;
            if is_same && matches!(Cause::of(earlier.by), Cause::Unknown) {
                *earlier = *later;
            }
            is_same
        });
        let over = find_enders(&mut sleeps);
        let mut known_until = self.window.start;
        for (sleep, over) in sleeps.into_iter().zip(over) {
            // Clipped, and after the one before: a stamp may be of a time before its thread ran on.
            let begin = sleep.begin.clamp(known_until, self.window.end);
            let runs_again = sleep.runs_again.clamp(begin, self.window.end);
            let ended = sleep.ended.clamp(begin, runs_again);
            if begin == runs_again {
                continue;
            }
            known_until = runs_again;
            let ender = if over > self.window.end { TracedEnder::Unknown } else { self.ender(sleep.by, over) };
            let over = over.clamp(ended, self.window.end);
            let what = what(labels, sleep.name);
            let stack = sleep.stack.checked_sub(1).map(StackNumber);
            self.threads[index].waits.push(TracedWait { begin, ended, over, runs_again, what, ender, stack });
        }
    }

    /// What the number in a stamp of that time stands for.
    fn ender(&mut self, by: u64, at: u64) -> TracedEnder {
        match Cause::of(by) {
            Cause::Clock => TracedEnder::Clock,
            Cause::Outside => TracedEnder::Outside,
            Cause::Unknown => TracedEnder::Unknown,
            Cause::Thread(number) => self.thread(number, at),
        }
    }

    /// The thread that the OS thread of that number was at that time.
    fn thread(&mut self, number: u64, at: u64) -> TracedEnder {
        let known = self.of_number.get(&number).map_or(&[][..], Vec::as_slice);
        let begun = |index: &&usize| self.threads[**index].begin <= at;
        // The last that has begun: it may stamp once more after its end. Or the first, whose begin was
        // noted late.
        let lives = known.iter().filter(begun).rfind(|index| self.threads[**index].end >= at);
        let found = lives.or_else(|| known.iter().rfind(begun)).or(known.first()).copied();
        let Some(index) = found else { return TracedEnder::Named(wait::name_of_thread(number)) };
        let thread = &mut self.threads[index];
        thread.end = thread.end.max(at.min(self.window.end));
        TracedEnder::Thread(index)
    }
}

/// The first sample after the end stands for the time up to the end as well. The others are of later.
fn clip_samples(samples: &mut Vec<TracedSample>, end: u64) {
    let within = samples.partition_point(|sample| sample.at <= end);
    samples.truncate(within + 1);
    if let Some(last) = samples.get_mut(within) {
        last.at = end;
    }
}

/// Rule 1. `sleeps`: of one thread, ascending. Returns for each when its wait was over.
fn find_enders(sleeps: &mut [SleepEvent]) -> Vec<u64> {
    let mut over: Vec<u64> = sleeps.iter().map(|sleep| sleep.ended).collect();
    let mut next: HashMap<u16, (usize, u64)> = HashMap::new();
    for (index, sleep) in sleeps.iter_mut().enumerate().rev() {
        let serial = sleep.serial & ((1 << SleepEvent::SERIAL_BITS) - 1);
        if matches!(Cause::of(sleep.by), Cause::Unknown)
            && let Some(&(later, by)) = next.get(&serial)
            && later - index < SERIALS
        {
            sleep.by = by;
            over[index] = over[later];
        }
        next.insert(serial, (index, sleep.by));
    }
    over
}

fn what(labels: &[WaitLabel], number: u16) -> WaitName {
    match labels.get(usize::from(number)) {
        Some(WaitLabel { kind, name }) => WaitName { kind, name: name.clone().unwrap_or_else(|| OTHERS.into()) },
        None => WaitName { kind: "wait", name: OTHERS.into() },
    }
}

#[cfg(test)]
mod tests;

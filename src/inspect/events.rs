//! Server-sent events: all threads once, and then each second what has changed. Made once for all
//! clients; without a client nothing is kept.

use super::program::Program;
use super::response::Response;
use super::threads::{self, FORMAT};
use crate::dump::{Clocks, Dump, Facts, OtherNow, ThreadNow, look};
use crate::log::{TailRecord, tail};
use crate::model::locks::Mutex;
use crate::queue::{QueueNow, living};
use log::Level;
use serde::Serialize;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant, SystemTime};

/// Sent when the client's events begin.
pub(super) const FIRST: &[u8] = b"retry: 2000\n\n";
/// Sent when the program ends.
pub(super) const LAST: &[u8] = b"event: end\ndata: {\"format\":1,\"text\":\"the program ends\"}\n\n";

/// So many records are in the first event.
const FIRST_RECORDS: usize = 100;
/// So many are in each further one; a client that wants all of them reads the log.
const MOST_RECORDS: usize = 200;

pub(super) fn head() -> Response {
    Response::new(200, "text/event-stream; charset=utf-8", "")
}

#[derive(Default)]
pub(super) struct Events(Mutex<State>);

#[derive(Default)]
struct State {
    count: u64,
    /// `None` while no client gets events.
    seen: Option<Seen>,
}

/// What the clients know.
struct Seen {
    at: Instant,
    clocks: Clocks,
    threads: HashMap<u64, (Facts, Option<Duration>)>,
    queues: HashMap<u64, QueueNow>,
    deadlocks: Vec<String>,
    /// How many records of the log had come.
    records: u64,
    lost: u64,
}

#[derive(Serialize)]
struct Change<'a> {
    format: u32,
    seq: u64,
    at: String,
    uptime_s: f64,
    state: &'static str,
    interval_s: f64,
    threads: Vec<ThreadNow<'a>>,
    cpu: Vec<(u64, Option<f64>, Option<f64>)>,
    gone: Vec<u64>,
    others: Vec<OtherNow<'a>>,
    queues: Vec<&'a QueueNow>,
    gone_queues: Vec<u64>,
    deadlocks: Option<&'a [crate::dump::Deadlock]>,
    log: Vec<Value>,
    lost_log: u64,
    process_cpu_s: f64,
    recording: Value,
}

#[derive(Serialize)]
struct Snapshot<W: Serialize> {
    seq: u64,
    log: Vec<Value>,
    lost_log: u64,
    process_cpu_s: f64,
    recording: Value,
    #[serde(flatten)]
    whole: W,
}

impl Events {
    /// The next event: for clients that have had none (if there are such), and for the others.
    pub(super) fn tick(&self, program: &Program, with_snapshot: bool) -> (Vec<u8>, Vec<u8>) {
        let mut state = self.0.lock();
        state.count += 1;
        let (seq, mut before) = (state.count, state.seen.take());
        let clocks = before.as_mut().map(|before| std::mem::take(&mut before.clocks));
        let (dump, clocks) = look(clocks);
        let (queues, now) = (living(), Instant::now());
        let first = with_snapshot.then(|| snapshot(program, &dump, seq));
        let seen = before.as_ref().map_or(0, |before| before.records);
        let (records, count) = tail(seen, Level::Trace, MOST_RECORDS);
        let change = before.map(|before| change(program, &dump, &queues, &before, (seq, &records)));
        state.seen = Some(Seen {
            at: now,
            clocks,
            threads: dump.threads().map(|thread| (thread.id(), (thread.facts(), thread.cpu()))).collect(),
            queues: queues.into_iter().map(|queue| (queue.id, queue)).collect(),
            deadlocks: dump.deadlocks().iter().map(|deadlock| deadlock.text.clone()).collect(),
            records: count,
            lost: threads::lost(),
        });
        (first.unwrap_or_default(), change.unwrap_or_default())
    }

    /// No client gets events any more.
    pub(super) fn rest(&self) {
        let seen = self.0.lock().seen.take();
        drop(seen);
    }
}

fn event(name: &str, seq: u64, data: &impl Serialize) -> Vec<u8> {
    // JSON has no line break in it.
    let data = serde_json::to_string(data).unwrap_or_default();
    format!("event: {name}\nid: {seq}\ndata: {data}\n\n").into_bytes()
}

fn snapshot(program: &Program, dump: &Dump, seq: u64) -> Vec<u8> {
    let (records, _) = tail(0, Level::Trace, FIRST_RECORDS);
    let snapshot = Snapshot {
        seq,
        log: records.iter().map(threads::record).collect(),
        lost_log: threads::lost(),
        process_cpu_s: process_cpu(),
        recording: super::record::now(program),
        whole: threads::whole(program, dump),
    };
    event("snapshot", seq, &snapshot)
}

fn change(
    program: &Program,
    dump: &Dump,
    queues: &[QueueNow],
    before: &Seen,
    (seq, records): (u64, &[TailRecord]),
) -> Vec<u8> {
    let has_changed = |thread: &ThreadNow<'_>| {
        before.threads.get(&thread.id()).is_none_or(|(facts, _)| facts.differ(&thread.facts()))
    };
    let has_run = |thread: &ThreadNow<'_>| {
        before.threads.get(&thread.id()).is_none_or(|(_, cpu)| *cpu != thread.cpu()) && thread.cpu().is_some()
    };
    let times = |thread: ThreadNow<'_>| (thread.id(), thread.cpu().map(|cpu| cpu.as_secs_f64()), thread.share());
    let threads: HashSet<u64> = dump.threads().map(ThreadNow::id).collect();
    let living: HashSet<u64> = queues.iter().map(|queue| queue.id).collect();
    let deadlocks = dump.deadlocks();
    let are_same = deadlocks.len() == before.deadlocks.len()
        && deadlocks.iter().zip(&before.deadlocks).all(|(now, before)| now.text == *before);
    let change = Change {
        format: FORMAT,
        seq,
        at: threads::time(SystemTime::now()),
        uptime_s: program.began.elapsed().as_secs_f64(),
        state: program.state(),
        interval_s: before.at.elapsed().as_secs_f64(),
        threads: dump.threads().filter(has_changed).collect(),
        cpu: dump.threads().filter(has_run).map(times).collect(),
        gone: before.threads.keys().filter(|id| !threads.contains(id)).copied().collect(),
        others: dump.others().collect(),
        queues: queues.iter().filter(|queue| before.queues.get(&queue.id) != Some(*queue)).collect(),
        gone_queues: before.queues.keys().filter(|id| !living.contains(id)).copied().collect(),
        deadlocks: (!are_same).then_some(deadlocks),
        log: records.iter().map(threads::record).collect(),
        lost_log: threads::lost().saturating_sub(before.lost),
        process_cpu_s: process_cpu(),
        recording: super::record::now(program),
    };
    event("change", seq, &change)
}

fn process_cpu() -> f64 {
    crate::os::process::cpu_time().as_secs_f64()
}

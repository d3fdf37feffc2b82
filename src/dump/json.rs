//! Writes a dump as JSON, for programs. Reads `contents` and nothing else.

use super::contents::{Deadlock, Doing, Dump, Entry, Frame, Stack, Unregistered};
use super::frames::{Here, shown};
use crate::signal::Reason;
use crate::thread::foreign_locals::local_time;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The whole dump.
#[derive(Serialize)]
pub(super) struct Whole<'a> {
    process: u32,
    at: String,
    took_s: f64,
    no_stacks: Option<&'a str>,
    unread: &'a [String],
    threads: Vec<One<'a>>,
    #[serde(rename = "others")]
    unregistered: Vec<OneUnregistered<'a>>,
    deadlocks: &'a [Deadlock],
}

/// One thread.
#[derive(Serialize)]
pub(super) struct One<'a> {
    path: &'a str,
    id: u64,
    parent: Option<u64>,
    os_thread: Option<i32>,
    is_runtimes_own: bool,
    age_s: f64,
    state: &'static str,
    own_code_has_ended: bool,
    ended_s_ago: Option<f64>,
    cpu_s: Option<f64>,
    cpu_share: Option<f64>,
    waiting_for: Option<Waiting<'a>>,
    spawned_at: Option<String>,
    stop: Option<Stop<'a>>,
    restarts: u64,
    context: BTreeMap<&'a str, &'a str>,
    failures: &'a [String],
    busy: Option<&'static str>,
    no_stack: Option<&'a str>,
    stack: Option<Vec<Place<'a>>>,
    stack_lines: Option<Vec<String>>,
    stack_cut: Option<&'static str>,
}

/// One thread that is not in the tree.
#[derive(Serialize)]
pub(super) struct OneUnregistered<'a> {
    path: &'a str,
    os_thread: i32,
    age_s: Option<f64>,
    state: &'static str,
    cpu_s: Option<f64>,
    cpu_share: Option<f64>,
    no_stack: Option<&'a str>,
    stack: Option<Vec<Place<'a>>>,
    stack_lines: Option<Vec<String>>,
    stack_cut: Option<&'static str>,
}

#[derive(Serialize)]
struct Waiting<'a> {
    kind: &'static str,
    name: &'a str,
    for_s: f64,
    held_by: Option<&'a str>,
    acquired_at: Option<String>,
}

#[derive(Serialize)]
struct Stop<'a> {
    text: &'a str,
    by: &'a str,
    place: Option<String>,
    s_ago: f64,
    cause: Option<Box<Stop<'a>>>,
}

#[derive(Serialize)]
struct Place<'a> {
    function: &'a str,
    file: Option<&'a str>,
    line: Option<u32>,
}

pub(super) fn write(dump: &Dump) -> String {
    // Strings, numbers and lists: nothing that could not be written.
    serde_json::to_string(&whole(dump)).unwrap_or_default()
}

pub(super) fn whole(dump: &Dump) -> Whole<'_> {
    let at = local_time(dump.at);
    Whole {
        process: dump.process,
        at: at.to_rfc3339_opts(chrono::SecondsFormat::Millis, false),
        took_s: dump.took.as_secs_f64(),
        no_stacks: dump.no_stacks.as_deref(),
        unread: &dump.unread,
        threads: dump.threads.iter().map(one).collect(),
        unregistered: dump.unregistered.iter().map(one_unregistered).collect(),
        deadlocks: &dump.deadlocks,
    }
}

pub(super) fn one(entry: &Entry) -> One<'_> {
    let seconds = |span: Duration| span.as_secs_f64();
    let (waiting_for, ended) = match &entry.doing {
        Doing::Waiting { kind, name, elapsed, holder, acquired_at } => {
            let acquired_at = acquired_at.map(ToString::to_string);
            let waiting = Waiting { kind, name, for_s: seconds(*elapsed), held_by: holder.as_deref(), acquired_at };
            (Some(waiting), None)
        }
        Doing::Ended { ago } => (None, Some(seconds(*ago))),
        _ => (None, None),
    };
    let (stack, stack_cut, no_stack) = parts(&entry.stack);
    let is_ours = entry.is_maker || waiting_for.is_some();
    One {
        path: &entry.path,
        id: entry.id,
        parent: entry.parent,
        os_thread: entry.os_thread,
        is_runtimes_own: entry.is_own,
        age_s: seconds(entry.age),
        state: state(&entry.doing),
        own_code_has_ended: entry.is_ending || ended.is_some(),
        ended_s_ago: ended,
        cpu_s: entry.cpu.map(seconds),
        cpu_share: entry.share,
        waiting_for,
        spawned_at: entry.spawned_at.map(ToString::to_string),
        stop: entry.stop.as_ref().map(|reason| stop(reason, entry.seen)),
        restarts: entry.restarts,
        context: entry.context.iter().map(|(key, value)| (&**key, &**value)).collect(),
        failures: &entry.failures,
        busy: entry.busy,
        no_stack,
        stack,
        stack_lines: lines(&entry.stack, is_ours),
        stack_cut,
    }
}

pub(super) fn one_unregistered(other: &Unregistered) -> OneUnregistered<'_> {
    let (stack, stack_cut, no_stack) = parts(&other.stack);
    OneUnregistered {
        path: &other.path,
        os_thread: other.id,
        age_s: other.age.map(|age| age.as_secs_f64()),
        state: state(&other.doing),
        cpu_s: other.cpu.map(|cpu| cpu.as_secs_f64()),
        cpu_share: other.share,
        no_stack,
        stack,
        stack_lines: lines(&other.stack, false),
        stack_cut,
    }
}

pub(super) fn state(doing: &Doing) -> &'static str {
    match doing {
        Doing::NotBegun => "not running yet",
        Doing::Waiting { .. } => "waiting",
        Doing::Running => "running",
        Doing::Asleep => "asleep",
        Doing::AsleepDeeply => "asleep uninterruptibly",
        Doing::Halted => "halted",
        Doing::Alive => "alive",
        Doing::Ended { .. } => "ended",
    }
}

/// The frames, why there are no further ones, and why there are none.
fn parts(stack: &Stack) -> (Option<Vec<Place<'_>>>, Option<&'static str>, Option<&str>) {
    match stack {
        Stack::Of { frames, cut } => (Some(frames.iter().map(place).collect()), *cut, None),
        Stack::None(why) => (None, None, Some(&**why).filter(|why| !why.is_empty())),
    }
}

/// What the dump's text shows of a stack. `is_ours`: the thread waits in this crate.
fn lines(stack: &Stack, is_ours: bool) -> Option<Vec<String>> {
    match stack {
        Stack::Of { frames, .. } => Some(shown(frames, is_ours, &Here::new())),
        Stack::None(_) => None,
    }
}

fn stop(reason: &Reason, now: Instant) -> Stop<'_> {
    Stop {
        text: reason.text(),
        by: reason.by(),
        place: reason.location().map(ToString::to_string),
        s_ago: now.saturating_duration_since(reason.when()).as_secs_f64(),
        cause: reason.cause().map(|cause| Box::new(stop(cause, now))),
    }
}

fn place(frame: &Frame) -> Place<'_> {
    let file = (!frame.file.is_empty()).then_some(&*frame.file);
    Place { function: &frame.function, file, line: Some(frame.line).filter(|&line| line > 0) }
}

//! What threads did, as frames for pictures and as words for tables.

use super::course::{Activity, DeadEnd};
use crate::flame::{Location, Names, Stack, Stacks};
use crate::profile::shown_stacks::UNSAMPLED;
use crate::profile::trace::{StackNumber, Trace, TracedEnder};
use crate::profile::traced_stacks::TracedStacks;
use std::collections::HashMap;
use std::sync::Arc;

/// Without a processor, in code that is not of this crate.
const OUTSIDE: &str = "[outside]";
/// A wait was over, and the thread had no processor yet.
const RUNNABLE: &str = "[runnable]";
/// Before the thread's life, after it, or outside of the tree.
const ABSENT: &str = "[not recorded]";
/// There were too many waits.
const NOT_FOLLOWED: &str = "[not followed]";

/// Times that are to be shown, as weighed stacks.
pub(super) struct Shown {
    pub(super) stacks: Stacks,
    /// For each of the stacks: what the thread did, in words.
    pub(super) words: Vec<Arc<str>>,
}

/// Finds frames and words.
struct Showing<'a> {
    named: &'a TracedStacks,
    ends: &'a [DeadEnd],
    trace: &'a Trace,
    locations: Vec<Location>,
    remarks: HashMap<Arc<str>, usize>,
}

/// The times that threads have spent with something: an index of the thread, what it did (`None`:
/// not followed), and nanoseconds. Each becomes one stack, in this order.
pub(super) fn show(
    trace: &Trace,
    ends: &[DeadEnd],
    named: &TracedStacks,
    times: &[(usize, Option<Activity>, u64)],
) -> Shown {
    let mut showing = Showing { named, ends, trace, locations: named.locations.clone(), remarks: HashMap::new() };
    let stacks = times.iter().map(|(thread, activity, nanos)| Stack {
        label: trace.threads[*thread].path.clone(),
        frames: showing.frames(*activity),
        labels: Vec::new(),
        samples: 1,
        weight: *nanos,
    });
    let stacks = stacks.collect();
    let stacks = Stacks { stacks, locations: showing.locations, modules: named.modules.clone() };
    let mut words: HashMap<(Option<Activity>, &[usize]), Arc<str>> = HashMap::new();
    let names = Names::abridged(&stacks);
    let words = times.iter().zip(&stacks.stacks).map(|((_, activity, _), stack)| {
        let key = (*activity, &stack.frames[..]);
        words.entry(key).or_insert_with(|| in_words(*activity, &names.of(stack), ends, trace).into()).clone()
    });
    let words = words.collect();
    Shown { stacks, words }
}

impl Showing<'_> {
    /// The leaf first.
    fn frames(&mut self, activity: Option<Activity>) -> Vec<usize> {
        match activity {
            None => vec![self.remark(NOT_FOLLOWED)],
            Some(Activity::Ran(stack)) => self.of_sample(stack),
            Some(Activity::Outside(stack)) => {
                let mut frames = vec![self.remark(OUTSIDE)];
                frames.extend(stack.map(|stack| self.of_sample(stack)).unwrap_or_default());
                frames
            }
            Some(Activity::Runnable) => vec![self.remark(RUNNABLE)],
            Some(Activity::Unsampled) => vec![self.remark(UNSAMPLED)],
            Some(Activity::Absent) => vec![self.remark(ABSENT)],
            Some(Activity::Waited(end)) => {
                let end = &self.ends[end as usize];
                let ender = match &end.ender {
                    TracedEnder::Clock => "[ended by the clock]".into(),
                    TracedEnder::Outside => "[ended by the system]".into(),
                    TracedEnder::Unknown => "[goes on, or not known what ended it]".into(),
                    thread => format!("[ended by {}]", ender_name(thread, self.trace)),
                };
                let what = format!("[waiting for {}]", wait_words(end));
                let mut frames = vec![self.remark(&ender), self.remark(&what)];
                frames.extend(end.stack.map(|stack| self.named.of_wait(stack)).unwrap_or_default());
                frames
            }
        }
    }

    fn of_sample(&mut self, stack: StackNumber) -> Vec<usize> {
        match self.named.of_sample(stack) {
            [] => vec![self.remark(UNSAMPLED)],
            frames => frames.to_vec(),
        }
    }

    fn remark(&mut self, text: &str) -> usize {
        if let Some(&known) = self.remarks.get(text) {
            return known;
        }
        self.locations.push(Location::remark(text));
        self.remarks.insert(text.into(), self.locations.len() - 1);
        self.locations.len() - 1
    }
}

/// The path of a thread.
fn ender_name<'a>(ender: &'a TracedEnder, trace: &'a Trace) -> &'a str {
    match ender {
        TracedEnder::Thread(index) => trace.threads.get(*index).map_or("unknown", |thread| &thread.path),
        TracedEnder::Named(path) => path,
        TracedEnder::Clock | TracedEnder::Outside | TracedEnder::Unknown => "unknown",
    }
}

/// `names`: the stack's, root first.
fn in_words(activity: Option<Activity>, names: &[&Arc<str>], ends: &[DeadEnd], trace: &Trace) -> String {
    let leaf = |names: &[&Arc<str>]| names.last().map_or_else(|| UNSAMPLED.to_owned(), |name| name.to_string());
    match activity {
        None => "not followed: too many waits".into(),
        Some(Activity::Ran(_)) => match function(names) {
            Some(function) => format!("in `{function}`"),
            None => leaf(names),
        },
        Some(Activity::Outside(None)) => "outside".into(),
        Some(Activity::Outside(Some(_))) => {
            // The last frame says that it is outside.
            let names = &names[..names.len().saturating_sub(1)];
            match (names.last(), function(names)) {
                // It is in no call of the system's: another thread may have its processor.
                (Some(leaf), Some(function)) if leaf.contains("::") => format!("off the processor in `{function}`"),
                (Some(leaf), Some(function)) if ***leaf != *function => {
                    format!("outside in `{leaf}` of `{function}`")
                }
                (Some(leaf), _) => format!("outside in `{leaf}`"),
                (None, _) => "outside".into(),
            }
        }
        Some(Activity::Runnable) => "runnable".into(),
        Some(Activity::Unsampled) => "unsampled".into(),
        Some(Activity::Absent) => "not recorded".into(),
        Some(Activity::Waited(end)) => {
            let end = &ends[end as usize];
            let ender = match &end.ender {
                TracedEnder::Clock => "ended by the clock",
                TracedEnder::Outside => "ended from outside",
                TracedEnder::Unknown => "not ended, or by something unknown",
                TracedEnder::Thread(_) | TracedEnder::Named(_) => {
                    let name = ender_name(&end.ender, trace);
                    return format!("in a wait for {}, ended by {name}", wait_words(end));
                }
            };
            format!("in a wait for {}, {ender}", wait_words(end))
        }
    }
}

fn wait_words(end: &DeadEnd) -> String {
    format!("{} \"{}\"", end.what.kind, end.what.name)
}

/// The innermost function that is of the program or its libraries, and not of the standard library.
/// If there is none, the innermost.
fn function<'a>(names: &[&'a Arc<str>]) -> Option<&'a str> {
    let shown = || names.iter().rev().map(|name| &***name).filter(|name| !name.starts_with('['));
    shown().find(|name| name.contains("::") && !is_standard(name)).or_else(|| shown().next())
}

/// Returns `true` for a function of the standard library, of this crate or of the channels that it
/// sleeps in, also of a trait that a type of the language has there: `i32::forward_unchecked`.
fn is_standard(name: &str) -> bool {
    const STANDARD: [&str; 23] = [
        "std",
        "core",
        "alloc",
        "selvedge",
        "crossbeam_channel",
        "bool",
        "char",
        "str",
        "f32",
        "f64",
        "i8",
        "i16",
        "i32",
        "i64",
        "i128",
        "isize",
        "u8",
        "u16",
        "u32",
        "u64",
        "u128",
        "usize",
        "hashbrown",
    ];
    name.split("::").next().is_some_and(|first| STANDARD.contains(&first.trim_start_matches('<')))
}

//! The waits of a recording with named stacks, and the calls that let go. Makes the stacks of the
//! pictures and files of them.

use super::taking::LetGo;
use crate::flame::{Location, Module, Stack, Stacks};
use crate::os::counted::counted;
use crate::profile::accounts::{Account, is_runtimes_own};
use crate::profile::raw::{OwnStack, OwnStacksTaken};
use crate::profile::shown_stacks::{NO_STACK, ShownStacks};
use crate::profile::symbols::Resolve;
use crate::wait::StackNumber;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// All waits of a recording.
#[derive(Clone, Debug, Default)]
pub(in crate::profile) struct Contention {
    pub(super) waits: Vec<WaitRow>,
    pub(super) let_go: Vec<LetGoRow>,
    pub(super) locations: Vec<Location>,
    modules: Vec<Module>,
    /// Why stacks are missing, as parts of a sentence.
    missing: Vec<String>,
}

/// Waits of one thread with the same stack, for the same thing, ended by the same thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WaitRow {
    pub(super) path: Arc<str>,
    /// Indexes of locations, the leaf first.
    pub(super) frames: Arc<[usize]>,
    /// `queue "jobs"`.
    pub(super) what: Arc<str>,
    pub(super) ender: Arc<str>,
    pub(super) count: u64,
    pub(super) nanos: u64,
}

/// What threads of one path let go at the same place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LetGoRow {
    pub(super) path: Arc<str>,
    pub(super) frames: Arc<[usize]>,
    pub(super) count: u64,
    pub(super) nanos: u64,
}

impl Contention {
    /// `can_take`: the engine takes stacks.
    pub(in crate::profile) fn new(
        accounts: &[Account],
        let_go: LetGo,
        taken: &OwnStacksTaken,
        can_take: bool,
        names: &mut dyn Resolve,
    ) -> Contention {
        let mut shown = Shown { stacks: ShownStacks::new(names), taken: &taken.stacks, known: HashMap::new() };
        let mut waits = Vec::new();
        for account in accounts {
            for wait in account.waits() {
                let what: Arc<str> = format!("{} \"{}\"", wait.kind(), wait.name()).into();
                for ender in wait.enders() {
                    for (stack, nanos, count) in ender.by_stack() {
                        let (path, what, ender) = (account.path().into(), what.clone(), ender.name().clone());
                        waits.push(WaitRow { path, frames: shown.frames(stack), what, ender, count, nanos });
                    }
                }
            }
        }
        let row = |((path, stack), weight): ((Arc<str>, _), crate::wait::Weight)| LetGoRow {
            path,
            frames: shown.frames(stack),
            count: weight.thousandths.div_ceil(1_000),
            nanos: weight.nanos,
        };
        let mut let_go: Vec<LetGoRow> = let_go.into_iter().map(row).collect();
        let_go.sort_unstable_by(|a, b| (&a.path, &a.frames).cmp(&(&b.path, &b.frames)));
        let missing = missing(taken, can_take);
        let Stacks { locations, modules, .. } = shown.stacks.finish(Vec::new());
        Contention { waits, let_go, locations, modules, missing }
    }

    /// The stacks of the waits, with what was waited for and what ended that as frames above.
    pub(in crate::profile) fn waits(&self) -> Stacks {
        self.with_remarks(self.waits.iter())
    }

    /// The same without the runtime's own threads, which mostly wait.
    #[cfg(any(feature = "inspect", feature = "push"))]
    pub(in crate::profile) fn waits_of_the_program(&self) -> Stacks {
        self.with_remarks(self.waits_of_program())
    }

    fn with_remarks<'a>(&'a self, rows: impl Iterator<Item = &'a WaitRow>) -> Stacks {
        let mut locations = self.locations.clone();
        let mut remarks: HashMap<String, usize> = HashMap::new();
        let mut remark = |text: String| {
            *remarks.entry(text).or_insert_with_key(|text| {
                locations.push(Location::remark(text));
                locations.len() - 1
            })
        };
        let stacks = sums(rows.map(|row| {
            let above = [remark(ended_by(&row.ender)), remark(format!("[waiting for {}]", row.what))];
            let frames = above.into_iter().chain(row.frames.iter().copied()).collect();
            Stack { frames, ..row.stack() }
        }));
        Stacks { stacks, locations, modules: self.modules.clone() }
    }

    /// The stacks that waited, without the runtime's own threads, which mostly wait. Labels say for
    /// what, and what ended it.
    pub(in crate::profile) fn block(&self) -> Stacks {
        let rows = self.waits_of_program().map(|row| {
            let labels = vec![("waiting_for".into(), row.what.clone()), ("ended_by".into(), row.ender.clone())];
            Stack { labels, ..row.stack() }
        });
        Stacks { stacks: sums(rows), locations: self.locations.clone(), modules: self.modules.clone() }
    }

    /// The stacks that let go.
    pub(in crate::profile) fn mutex(&self) -> Stacks {
        let rows = self.let_go.iter().map(|row| {
            let (label, frames) = (row.path.clone(), row.frames.to_vec());
            Stack { label, frames, labels: Vec::new(), samples: row.count, weight: row.nanos }
        });
        Stacks { stacks: sums(rows), locations: self.locations.clone(), modules: self.modules.clone() }
    }

    /// `12 waits, 4.50 s in all`, without the runtime's own threads; and what is missing.
    pub(in crate::profile) fn summary(&self) -> Vec<String> {
        let (count, nanos) = self.waits_of_program().fold((0, 0), |sum, row| (sum.0 + row.count, sum.1 + row.nanos));
        let seconds = Duration::from_nanos(nanos).as_secs_f64();
        let mut parts = vec![format!("{}, {seconds:.2} s in all", counted(count, "wait"))];
        parts.extend(self.missing.iter().cloned());
        parts
    }

    fn waits_of_program(&self) -> impl Iterator<Item = &WaitRow> {
        self.waits.iter().filter(|row| !is_runtimes_own(&row.path))
    }
}

fn missing(taken: &OwnStacksTaken, can_take: bool) -> Vec<String> {
    let mut parts = Vec::new();
    if !can_take {
        parts.push("no stacks: the engine `process` takes none where a wait ends".to_owned());
    }
    if taken.too_many > 0 {
        parts.push(format!("{} left out: too many different ones", counted(taken.too_many, "stack")));
    }
    if taken.elsewhere > 0 {
        parts.push(format!("{} without a stack: not on the thread's own stack", counted(taken.elsewhere, "call")));
    }
    parts
}

/// The frame for what ended waits.
fn ended_by(ender: &str) -> String {
    match ender {
        "[clock]" => "[ended by the clock]".into(),
        "[outside]" => "[ended by the system]".into(),
        "[unknown]" => "[goes on, or not known what ended it]".into(),
        "[ended thread]" => "[ended by a thread that has ended]".into(),
        "[others]" => "[ended by other threads]".into(),
        path => format!("[ended by {path}]"),
    }
}

impl WaitRow {
    fn stack(&self) -> Stack {
        let (label, frames) = (self.path.clone(), self.frames.to_vec());
        Stack { label, frames, labels: Vec::new(), samples: self.count, weight: self.nanos }
    }
}

/// Sums up stacks that are equal but for their numbers, in a fixed order.
fn sums(stacks: impl Iterator<Item = Stack>) -> Vec<Stack> {
    let mut all: Vec<Stack> = stacks.collect();
    all.sort_unstable_by(|a, b| (&a.label, &a.frames, &a.labels).cmp(&(&b.label, &b.frames, &b.labels)));
    all.dedup_by(|later, kept| {
        let is_same = (&later.label, &later.frames, &later.labels) == (&kept.label, &kept.frames, &kept.labels);
        if is_same {
            kept.samples += later.samples;
            kept.weight += later.weight;
        }
        is_same
    });
    all
}

/// The frames of numbered stacks.
struct Shown<'a> {
    stacks: ShownStacks<'a>,
    taken: &'a [OwnStack],
    known: HashMap<Option<StackNumber>, Arc<[usize]>>,
}

impl Shown<'_> {
    fn frames(&mut self, stack: Option<StackNumber>) -> Arc<[usize]> {
        let Shown { stacks, taken, known } = self;
        let frames = || match stack.and_then(|number| taken.get(number.0 as usize)) {
            Some(own) => stacks.own_stack(&own.addresses, own.ending, own.generation).into(),
            None => [stacks.remark(NO_STACK)].into(),
        };
        known.entry(stack).or_insert_with(frames).clone()
    }
}

//! Makes a profile from an engine's samples: the thread of each sample, the functions at its
//! addresses, and the sums.

use super::engines::{self, Ending, Nanos, RawSample};
use super::lifetimes::{Lifetime, Owners};
use super::model::{Profile, Session, ThreadProfile};
use super::symbols::{Resolve, Wanted};
use super::trim;
use crate::flame::{Location, Stack, Stacks};
use crate::wait::Label;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// Stands for a stack that the unwinder found nothing of.
pub(super) const NO_STACK: &str = "[no stack]";
/// Stands at the root of a stack whose callers are missing.
pub(super) const TRUNCATED: &str = "[truncated]";
/// Stands at the root of a stack whose callers were not found.
pub(super) const BROKEN: &str = "[broken]";
/// Stands at the root of a leaf that did not run on its thread's own stack, or too near to its
/// edge.
pub(super) const OTHER_STACK: &str = "[other stack]";
/// Stands for the time for which no sample was taken, when a thread's books were closed.
pub(super) const UNSAMPLED: &str = "[unsampled]";
/// Stands for what a thread does before and after the user's code.
pub(super) const RUNTIME: &str = "[runtime]";
/// Stands above the code of a thread that waits in a blocking call of this crate.
pub(super) fn waiting(label: &Label) -> Arc<str> {
    let name = label.name().map(|name| format!(" \"{name}\"")).unwrap_or_default();
    let held = label.holder().map(|path| format!(" held by {path}")).unwrap_or_default();
    format!("[waiting for {}{name}{held}]", label.kind()).into()
}

/// Adds the samples up. `lifetimes` are those of the tree's threads, `session` what was recorded and
/// how.
pub(super) fn profile(
    raw: Vec<RawSample>,
    lifetimes: &[Lifetime],
    session: Session,
    names: &mut dyn Resolve,
) -> Profile {
    let owners = Owners::new(lifetimes);
    prepare(&raw, names);
    let mut threads: Vec<ThreadProfile> = lifetimes.iter().map(|lifetime| thread(lifetime, session.duration)).collect();
    let mut others: BTreeMap<String, ThreadProfile> = BTreeMap::new();
    let mut code = Code { names, known: HashMap::new(), shown: HashMap::new(), remarks: HashMap::new(), table: vec![] };
    let mut sums: HashMap<(Arc<str>, Vec<usize>), (u64, u64)> = HashMap::new();
    let mut ambiguous = 0;
    for sample in raw.into_iter().filter(|sample| sample.samples > 0 || sample.weight > 0) {
        let owner = match &sample.owner {
            engines::Owner::Lifetime(index) => &mut threads[*index],
            engines::Owner::Handle { os_thread, os_name, at } => {
                // The first of them has its time; the rest may be a later thread's.
                if sample.samples > 1 && owners.has_successor(*os_thread, *at) {
                    ambiguous += sample.samples - 1;
                }
                match owners.owner(*os_thread, *at) {
                    Some(index) => &mut threads[index],
                    None => others
                        .entry(engines::label_of_unregistered(os_name))
                        .or_insert_with_key(|label| ThreadProfile::new(label.as_str().into())),
                }
            }
        };
        owner.samples += sample.samples;
        let weight = Duration::from_nanos(sample.weight);
        let frames = match &sample.stack {
            engines::Stack::Sampled { addresses, ending, generation, waiting } => {
                owner.sampled += weight;
                owner.truncated += if *ending == Ending::Deep { sample.samples } else { 0 };
                owner.broken += if matches!(ending, Ending::Broken | Ending::Leaf) { sample.samples } else { 0 };
                let mut frames = code.stack(addresses, *ending, *generation, waiting.is_some());
                if let Some(waiting) = waiting {
                    let waiting = code.remark(waiting);
                    // A thread that only waits for its children, say, has no other frames left. A
                    // thread that has ended before it was asked where it waits has no known frames.
                    match frames.as_slice() {
                        [only] if addresses.is_empty() || code.remarks.get(RUNTIME) == Some(only) => {
                            frames[0] = waiting
                        }
                        _ => frames.insert(0, waiting),
                    }
                }
                frames
            }
            engines::Stack::Unsampled => {
                owner.unsampled += weight;
                vec![code.remark(UNSAMPLED)]
            }
        };
        let sum = sums.entry((owner.path.clone(), frames)).or_default();
        sum.0 += sample.samples;
        sum.1 += sample.weight;
    }
    for (thread, lifetime) in threads.iter_mut().zip(lifetimes) {
        thread.lost = lifetime.lost.unwrap_or_else(|| lost(thread, session.effective.period));
        thread.merged = lifetime.merged;
    }
    threads.extend(others.into_values());
    // Stable: those of the tree stay in their order, then those of others.
    threads.sort_by_key(|thread| engines::is_unregistered_label(&thread.path));
    let unregistered = threads.iter().filter(|thread| engines::is_unregistered_label(&thread.path));
    let unregistered = unregistered.map(|thread| thread.samples).sum();
    let mut stacks: Vec<Stack> =
        sums.into_iter().map(|((label, frames), (samples, weight))| Stack { label, frames, samples, weight }).collect();
    stacks.sort_unstable_by(|a, b| (&a.label, &a.frames).cmp(&(&b.label, &b.frames)));
    let session = Session { unread: code.names.unread(), ..session };
    Profile { stacks: code.finish(stacks), threads, unregistered, ambiguous, session }
}

/// Names all addresses of the samples at once.
fn prepare(raw: &[RawSample], names: &mut dyn Resolve) {
    let stacks = raw.iter().filter_map(|sample| match &sample.stack {
        engines::Stack::Sampled { addresses, generation, .. } => Some((addresses, *generation)),
        engines::Stack::Unsampled => None,
    });
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

/// What was due by the thread's clock and did not come.
fn lost(thread: &ThreadProfile, period: Duration) -> u64 {
    let due = thread.cpu.as_nanos().checked_div(period.as_nanos()).unwrap_or(0) as u64;
    due.saturating_sub(thread.samples)
}

/// The table of locations while it grows.
struct Code<'a> {
    names: &'a mut dyn Resolve,
    /// By address, whether it is exact, and generation of the loader's list.
    known: HashMap<(u64, bool, u32), Location>,
    /// Indexes into the table: by instruction, its module, and which of its lines are shown.
    shown: HashMap<(u64, Option<usize>, Range<usize>), usize>,
    remarks: HashMap<Arc<str>, usize>,
    table: Vec<Location>,
}

impl Code<'_> {
    /// The stack as it is shown, leaf first: without machinery at its root, and never empty. Of a
    /// wait in this crate, the waiting code is left out too: the remark above it says for what.
    fn stack(&mut self, addresses: &[u64], ending: Ending, generation: u32, waits: bool) -> Vec<usize> {
        let mut frames = Vec::with_capacity(addresses.len() + 1);
        for (index, &address) in addresses.iter().enumerate() {
            let names = &mut *self.names;
            self.known
                .entry((address, index == 0, generation))
                .or_insert_with(|| names.resolve(address, index == 0, generation));
        }
        let is_engines = |(index, address): (usize, &u64)| {
            self.known[&(*address, index == 0, generation)].lines.iter().any(trim::is_engine)
        };
        if addresses.iter().enumerate().any(is_engines) {
            return vec![self.remark(RUNTIME)];
        }
        // A program's main calls `run`, and `run` calls the program: what counts as its root is
        // that second call.
        let starts = |address: &u64, exact| self.known[&(*address, exact, generation)].lines.iter().any(trim::is_run);
        let run = addresses.iter().enumerate().rposition(|(index, address)| starts(address, index == 0));
        let mut at_root = ending == Ending::Root || run.is_some();
        let mut machinery = trim::Machinery::default();
        let (hidden, hidden_lines) = if waits { self.waiting_part(addresses, generation) } else { (0, 0) };
        for (index, &address) in addresses[..run.map_or(addresses.len(), |run| run + 1)].iter().enumerate().rev() {
            let location = &self.known[&(address, index == 0, generation)];
            let mut lines = location.lines.len();
            if run == Some(index) {
                // Inlined, `run` and what it calls may share an address with the caller's lines.
                lines = location.lines.iter().rposition(trim::is_run).map_or(lines, |at| at + 1);
            }
            let role = self.names.role(location.module);
            let next = || self.known[&(addresses[index.checked_sub(1)?], index == 1, generation)].lines.last();
            // Its last line is nearest to the root.
            while at_root && lines > 0 {
                let callee = if lines > 1 { location.lines.get(lines - 2) } else { next() };
                if !machinery.goes_on(&location.lines[lines - 1], role, callee) {
                    break;
                }
                lines -= 1;
            }
            let from = if index == hidden { hidden_lines } else { 0 };
            if lines <= from || index < hidden {
                continue;
            }
            at_root = false;
            let table = &mut self.table;
            frames.push(*self.shown.entry((location.address, location.module, from..lines)).or_insert_with(|| {
                table.push(Location { lines: location.lines[from..lines].to_vec(), ..location.clone() });
                table.len() - 1
            }));
        }
        frames.reverse();
        if frames.is_empty() {
            frames.push(self.remark(if addresses.is_empty() { NO_STACK } else { RUNTIME }));
        }
        match ending {
            Ending::Root => {}
            Ending::Deep => frames.push(self.remark(TRUNCATED)),
            Ending::Broken => frames.push(self.remark(BROKEN)),
            Ending::Leaf => frames.push(self.remark(OTHER_STACK)),
        }
        frames
    }

    /// How many whole frames at the leaf, and then how many lines of the next, are this crate's
    /// wait and what it waits with.
    fn waiting_part(&self, addresses: &[u64], generation: u32) -> (usize, usize) {
        let mut part = (0, 0);
        for (index, &address) in addresses.iter().enumerate() {
            for (line, name) in self.known[&(address, index == 0, generation)].lines.iter().enumerate() {
                match trim::is_ours(name) {
                    true => part = (index, line + 1),
                    // Past the last frame of ours: its caller.
                    false if part != (0, 0) => return part,
                    false => {}
                }
            }
        }
        part
    }

    fn remark(&mut self, text: &str) -> usize {
        if let Some(&known) = self.remarks.get(text) {
            return known;
        }
        self.table.push(Location::remark(text));
        self.remarks.insert(text.into(), self.table.len() - 1);
        self.table.len() - 1
    }

    /// Keeps the first module, which is the program, and each module that has a location.
    fn finish(self, stacks: Vec<Stack>) -> Stacks {
        let mut locations = self.table;
        let mut used: BTreeMap<usize, usize> = locations.iter().filter_map(|l| l.module).map(|m| (m, 0)).collect();
        used.entry(0).or_default();
        let mut modules = Vec::with_capacity(used.len());
        for (old, module) in self.names.modules().into_iter().enumerate() {
            if let Some(new) = used.get_mut(&old) {
                *new = modules.len();
                modules.push(module);
            }
        }
        for location in &mut locations {
            location.module = location.module.map(|old| used[&old]);
        }
        Stacks { stacks, locations, modules }
    }
}

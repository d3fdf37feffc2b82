//! The frames of stacks as a profile shows them: names their addresses, and hides the machinery at
//! the root and the waiting code of this crate at the leaf. Knows no threads and no sums.

use super::raw::Ending;
use super::symbols::{Resolve, Role};
use super::trim;
use crate::flame::{Location, Stack, Stacks};
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

/// Stands for a stack without frames.
pub(super) const NO_STACK: &str = "[no stack]";
/// Stands at the root of a stack whose callers are missing.
pub(super) const TRUNCATED: &str = "[truncated]";
/// Stands at the root of a stack whose callers were not found.
pub(super) const BROKEN: &str = "[broken]";
/// Stands at the root of a leaf that ran outside its thread's own stack, or too near to its end.
pub(super) const OTHER_STACK: &str = "[other stack]";
/// Stands for the time for which no sample was taken, when a thread's account was closed.
pub(super) const UNSAMPLED: &str = "[unsampled]";
/// Stands for the stacks for which a recording had no room.
pub(super) const OTHERS: &str = "[others]";
/// Stands for the work of this crate before and after the user's code.
pub(super) const RUNTIME: &str = "[runtime]";

/// Which code of this crate is hidden at the leaf.
#[derive(Clone, Copy)]
enum Hidden {
    Nothing,
    /// The blocking call, whole.
    Call,
    /// What is behind the call that the program has made.
    BehindCall,
}

/// The locations of shown frames, while stacks are added.
pub(super) struct ShownStacks<'a> {
    names: &'a mut dyn Resolve,
    /// By address, whether it is exact, and generation of the loader's list.
    known: HashMap<(u64, bool, u32), Location>,
    /// Indexes into `table`: by instruction, its module, and the range of its lines that is shown.
    shown: HashMap<(u64, Option<usize>, Range<usize>), usize>,
    /// Indexes into `table`, by the remark's text.
    remarks: HashMap<Arc<str>, usize>,
    table: Vec<Location>,
}

impl<'a> ShownStacks<'a> {
    pub(super) fn new(names: &'a mut dyn Resolve) -> ShownStacks<'a> {
        let (known, shown, remarks) = (HashMap::new(), HashMap::new(), HashMap::new());
        ShownStacks { names, known, shown, remarks, table: Vec::new() }
    }

    /// The stack as it is shown, as indexes of locations, the leaf first: without machinery at its
    /// root, and never empty. `waits`: the thread waited in this crate. Its waiting code is left
    /// out too, since the caller adds the wait's frame.
    pub(super) fn stack(&mut self, addresses: &[u64], ending: Ending, generation: u32, waits: bool) -> Vec<usize> {
        self.resolve(addresses, generation);
        let is_engine = |index| self.location(addresses, index, generation).lines.iter().any(trim::is_engine);
        if (0..addresses.len()).any(is_engine) {
            return vec![self.remark(RUNTIME)];
        }
        self.framed(addresses, ending, generation, if waits { Hidden::Call } else { Hidden::Nothing })
    }

    /// The frames, or a remark in their place, and a remark where callers are missing.
    fn framed(&mut self, addresses: &[u64], ending: Ending, generation: u32, hidden: Hidden) -> Vec<usize> {
        let mut frames = self.frames(addresses, ending, generation, hidden);
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

    /// The same of a stack that its thread has taken where a call of this crate ended: without the
    /// code of this crate behind that call.
    pub(super) fn own_stack(&mut self, addresses: &[u64], ending: Ending, generation: u32) -> Vec<usize> {
        self.resolve(addresses, generation);
        self.framed(addresses, ending, generation, Hidden::BehindCall)
    }

    /// Finds the locations of all addresses.
    fn resolve(&mut self, addresses: &[u64], generation: u32) {
        for (index, &address) in addresses.iter().enumerate() {
            let names = &mut *self.names;
            self.known
                .entry((address, index == 0, generation))
                .or_insert_with(|| names.resolve(address, index == 0, generation));
        }
    }

    /// The location of the address with that index in the stack.
    fn location(&self, addresses: &[u64], index: usize, generation: u32) -> &Location {
        &self.known[&(addresses[index], index == 0, generation)]
    }

    /// The frames without machinery and without waiting code, the leaf first.
    fn frames(&mut self, addresses: &[u64], ending: Ending, generation: u32, hidden: Hidden) -> Vec<usize> {
        // A program's main calls `run`, and `run` calls the program: that second call counts as the
        // root.
        let is_run = |&index: &usize| self.location(addresses, index, generation).lines.iter().any(trim::is_run);
        let run = (0..addresses.len()).rev().find(is_run);
        let mut at_root = ending == Ending::Root || run.is_some();
        let mut machinery = trim::Machinery::default();
        let mut called_by_us = false;
        let (hidden, hidden_lines) = match hidden {
            Hidden::Nothing => (0, 0),
            Hidden::Call => self.waiting_part(addresses, generation),
            Hidden::BehindCall => self.part_behind_call(addresses, generation),
        };
        let mut frames = Vec::with_capacity(addresses.len() + 1);
        for index in (0..run.map_or(addresses.len(), |run| run + 1)).rev() {
            let location = self.location(addresses, index, generation);
            let mut lines = location.lines.len();
            if run == Some(index) {
                // Inlined, `run` and what it calls may share an address with the caller's lines.
                lines = location.lines.iter().rposition(trim::is_run).map_or(lines, |at| at + 1);
            }
            let role = self.names.role(location.module);
            let next = || self.location(addresses, index.checked_sub(1)?, generation).lines.last();
            // The last line is nearest to the root.
            while at_root && lines > 0 {
                let callee = if lines > 1 { location.lines.get(lines - 2) } else { next() };
                if !machinery.goes_on(&location.lines[lines - 1], role, callee) {
                    break;
                }
                called_by_us = trim::is_ours_with_file(&location.lines[lines - 1]);
                lines -= 1;
            }
            let from = if index == hidden { hidden_lines } else { 0 };
            if lines <= from || index < hidden {
                continue;
            }
            if at_root && self.is_runtimes(addresses, index, lines, generation, called_by_us) {
                return Vec::new();
            }
            at_root = false;
            let key = (location.address, location.module, from..lines);
            let place = self.shown.get(&key).copied();
            frames.push(match place {
                Some(place) => place,
                None => {
                    let shown = Location { lines: location.lines[from..lines].to_vec(), ..location.clone() };
                    self.table.push(shown);
                    self.shown.insert(key, self.table.len() - 1);
                    self.table.len() - 1
                }
            });
        }
        frames.reverse();
        frames
    }

    /// Returns `true` for what this crate does in a thread before or after the program's function: the
    /// line behind the machinery, the last of these of the address with that index, is code that
    /// threads are made with, and it calls no code of the program. `called_by_us`: a function of this
    /// crate has called it. Then it may be code of the standard library too.
    fn is_runtimes(&self, addresses: &[u64], index: usize, lines: usize, generation: u32, called_by_us: bool) -> bool {
        let is_own = |line| trim::is_ours(line) || trim::is_between_ours(line) || called_by_us && trim::is_std(line);
        let own = |index: usize, lines: usize| {
            let location = self.location(addresses, index, generation);
            self.names.role(location.module) == Role::CLibrary || location.lines[..lines].iter().all(is_own)
        };
        let all = |index| self.location(addresses, index, generation).lines.len();
        let first = &self.location(addresses, index, generation).lines[lines - 1];
        let begins = trim::is_below_threads(first) || called_by_us && trim::is_std(first);
        begins && own(index, lines) && (0..index).all(|index| own(index, all(index)))
    }

    /// The part of the leaf that is this crate's blocking call: the number of whole frames, and
    /// then the number of lines of the next frame.
    fn waiting_part(&self, addresses: &[u64], generation: u32) -> (usize, usize) {
        let mut part = (0, 0);
        for (index, &address) in addresses.iter().enumerate() {
            for (line, name) in self.known[&(address, index == 0, generation)].lines.iter().enumerate() {
                match trim::is_ours(name) {
                    true => part = (index, line + 1),
                    // The caller of the blocking call.
                    false if part != (0, 0) => return part,
                    false => {}
                }
            }
        }
        part
    }

    /// The part of the leaf behind this crate's call that the program has made, as in
    /// [`waiting_part`](Self::waiting_part). Code that only drops and calls is between parts of it.
    /// In a call that still blocks, the leaf is code that this crate has called.
    fn part_behind_call(&self, addresses: &[u64], generation: u32) -> (usize, usize) {
        let mut part = None;
        for (index, &address) in addresses.iter().enumerate() {
            for (line, name) in self.known[&(address, index == 0, generation)].lines.iter().enumerate() {
                if trim::is_ours(name) {
                    part = Some((index, line));
                } else if part.is_some() && !trim::is_between_ours(name) {
                    return part.unwrap_or_default();
                }
            }
        }
        part.unwrap_or_default()
    }

    /// The index of the location that is that remark.
    pub(super) fn remark(&mut self, text: &str) -> usize {
        if let Some(&known) = self.remarks.get(text) {
            return known;
        }
        self.table.push(Location::remark(text));
        self.remarks.insert(text.into(), self.table.len() - 1);
        self.table.len() - 1
    }

    /// Returns `true` if the location with that index is that remark.
    pub(super) fn is_remark(&self, index: usize, text: &str) -> bool {
        self.remarks.get(text) == Some(&index)
    }

    /// The stacks with all locations, and the modules: the first one, which is the program, and
    /// each module that has a location.
    pub(super) fn finish(self, stacks: Vec<Stack>) -> Stacks {
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

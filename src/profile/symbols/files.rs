//! The names of this process's code: finds the program or library of each address, and lets
//! `elf.rs` read each file once for all wanted addresses in it.

use super::budget::Budget;
use super::{Resolve, Role, Texts, Wanted, elf, ending, known};
use crate::flame::{Line, Location, Module};
use crate::os::mapped::give_memory_back;
use crate::profile::loader::{History, Loaded, Origin, Source};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// The names of this process's code. Dropping it gives the memory back that was used for reading.
pub(in crate::profile) struct OfThisProcess {
    history: History,
    modules: Vec<Module>,
    /// The role of each module.
    roles: Vec<Role>,
    /// For each entry of the history, the index of its first module.
    first_module: Vec<usize>,
    named: HashMap<Wanted, Location>,
    texts: Texts,
    unread: Vec<String>,
}

#[cfg(test)]
thread_local! {
    /// How often this thread has looked for names in a file.
    pub(in crate::profile) static SEARCHES: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

impl OfThisProcess {
    /// For the code in that history.
    pub(in crate::profile) fn new(history: History) -> OfThisProcess {
        let (mut modules, mut roles, mut first_module) = (Vec::new(), Vec::new(), Vec::new());
        for loaded in history.all() {
            first_module.push(modules.len());
            modules.extend(loaded.modules());
            roles.resize(modules.len(), role(loaded));
        }
        let (named, unread) = (HashMap::new(), Vec::new());
        OfThisProcess { history, modules, roles, first_module, named, texts: Texts::default(), unread }
    }

    /// The history has grown. What was named stays named, if the later history has all entries of
    /// the earlier one at the same indexes.
    #[cfg(feature = "push")]
    pub(in crate::profile) fn renew(&mut self, history: History) {
        let is_same = |(known, loaded): (&Loaded, &Loaded)| known.range == loaded.range && known.name == loaded.name;
        let has_grown = self.first_module.len() <= history.all().count();
        if !has_grown || !self.history.all().zip(history.all()).all(is_same) {
            *self = OfThisProcess::new(history);
            return;
        }
        let OfThisProcess { modules, roles, first_module, .. } = &mut *self;
        for loaded in history.all().skip(first_module.len()) {
            first_module.push(modules.len());
            modules.extend(loaded.modules());
            roles.resize(modules.len(), role(loaded));
        }
        self.history = history;
    }

    /// Gives the memory back that was used for reading. What was named stays named.
    #[cfg(feature = "push")]
    pub(in crate::profile) fn rest(&self) {
        give_memory_back();
    }

    /// Finds the locations of the wanted addresses, which are all in the entry of the history with
    /// that index.
    fn name(&mut self, index: usize, wanted: &[Wanted], budget: &mut Budget) {
        #[cfg(test)]
        SEARCHES.set(SEARCHES.get() + 1);
        let bias = self.history.get(index).bias;
        let in_file = |wanted: &Wanted| wanted.instruction().wrapping_sub(bias);
        let mut addresses: Vec<u64> = wanted.iter().map(in_file).collect();
        addresses.sort_unstable();
        addresses.dedup();
        let lines = self.lines(index, &addresses, budget);
        let loaded = self.history.get(index);
        for &wanted in wanted {
            let (instruction, in_file) = (wanted.instruction(), in_file(&wanted));
            let place = addresses.partition_point(|&address| address < in_file);
            let mut lines = lines[place].to_vec();
            if lines.is_empty() {
                lines.push(self.texts.remark(unnamed(loaded, in_file)));
            }
            let segment = loaded.code.iter().position(|(range, _)| range.contains(&instruction));
            let module = segment.map(|segment| self.first_module[index] + segment);
            self.named.insert(wanted, Location { address: instruction, module, lines });
        }
    }

    /// The lines of the sorted addresses in the file of that entry: known from before, or read now.
    fn lines(&mut self, index: usize, addresses: &[u64], budget: &mut Budget) -> Vec<Arc<[Line]>> {
        let source = self.history.source(index);
        let stamp = source.and_then(Source::stamp);
        let mut known = stamp.map_or_else(|| vec![None; addresses.len()], |file| known::look_up(file, addresses));
        let is_missing = |place: &usize| known[*place].is_none();
        let missing: Vec<usize> = (0..addresses.len()).filter(is_missing).collect();
        if !missing.is_empty() && !ending::is_over() {
            let wanted: Vec<u64> = missing.iter().map(|&place| addresses[place]).collect();
            let found = elf::names(self.history.get(index), source, &wanted, &mut self.texts, budget);
            // A search that was ended early says nothing about what a file lacks.
            let is_whole = !ending::is_over();
            self.unread.extend(found.unread.into_iter().filter(|_| is_whole));
            let lines: Vec<Arc<[Line]>> = found.lines.into_iter().map(Arc::from).collect();
            // Debug information that is put beside a file later is found later. So is what there was
            // no memory for.
            if let Some(file) = stamp.filter(|_| found.is_final && is_whole) {
                known::keep(file, wanted.into_iter().zip(lines.iter().cloned()));
            }
            missing.into_iter().zip(lines).for_each(|(place, lines)| known[place] = Some(lines));
        }
        known.into_iter().map(Option::unwrap_or_default).collect()
    }
}

impl Drop for OfThisProcess {
    fn drop(&mut self) {
        give_memory_back();
    }
}

impl Resolve for OfThisProcess {
    fn prepare(&mut self, wanted: &mut dyn Iterator<Item = Wanted>) {
        let mut by_file: BTreeMap<usize, Vec<Wanted>> = BTreeMap::new();
        let mut seen = HashSet::new();
        for wanted in wanted {
            if self.named.contains_key(&wanted) || !seen.insert(wanted) {
                continue;
            }
            match self.history.find(wanted.instruction(), wanted.generation) {
                Some(index) => by_file.entry(index).or_default().push(wanted),
                None => {
                    let lines = vec![self.texts.remark("[unknown code]".into())];
                    self.named.insert(wanted, Location { address: wanted.instruction(), module: None, lines });
                }
            }
        }
        let mut budget = Budget::of_now();
        for (index, wanted) in by_file {
            self.name(index, &wanted, &mut budget);
        }
    }

    fn resolve(&mut self, address: u64, exact: bool, generation: u32) -> Location {
        let wanted = Wanted { address, exact, generation };
        if !self.named.contains_key(&wanted) {
            self.prepare(&mut std::iter::once(wanted));
        }
        self.named[&wanted].clone()
    }

    fn modules(&mut self) -> Vec<Module> {
        self.modules.clone()
    }

    fn unread(&mut self) -> Vec<String> {
        std::mem::take(&mut self.unread)
    }

    fn role(&self, module: Option<usize>) -> Role {
        module.and_then(|module| self.roles.get(module)).copied().unwrap_or(Role::Unknown)
    }
}

fn role(loaded: &Loaded) -> Role {
    match loaded.origin {
        Origin::Program => Role::Program,
        Origin::Library if loaded.is_of_c() => Role::CLibrary,
        Origin::Library | Origin::Vdso => Role::Library,
    }
}

/// `[libfoo.so+0x1234]`: the address in the file, so that other tools can look it up there.
fn unnamed(loaded: &Loaded, in_file: u64) -> String {
    let name = loaded.name.file_name().unwrap_or(loaded.name.as_os_str()).to_string_lossy();
    format!("[{}+{in_file:#x}]", name.trim_matches(['[', ']']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_were_found_before_are_kept() {
        let here = names_that_were_found_before_are_kept as fn() as usize as u64;
        let history = History::of_now();
        let index = history.find(here, 0).unwrap();
        let (file, address) = (history.source(index).unwrap().stamp().unwrap(), here - history.get(index).bias);
        let mut names = OfThisProcess::new(history);
        let lines = names.resolve(here, true, 0).lines;
        let line = lines.last().cloned().unwrap();
        assert!(line.function.ends_with("names_that_were_found_before_are_kept"), "{line:?}");
        assert!(line.line > 0 && line.file.ends_with("files.rs"), "{line:?}");
        assert_eq!(known::look_up(file, &[address, 1]), [Some(lines.into()), None]);
        // Without memory for reading, what is kept is still found.
        let mut again = OfThisProcess::new(History::of_now());
        again.name(index, &[Wanted { address: here, exact: true, generation: 0 }], &mut Budget::of(0));
        assert_eq!(again.resolve(here, true, 0).lines.last(), Some(&line));
        assert!(again.unread().is_empty());
    }

    #[cfg(feature = "inspect")]
    #[test]
    fn a_search_that_is_ended_keeps_nothing() {
        use crate::signal::Signal;
        let here = a_search_that_is_ended_keeps_nothing as fn() as usize as u64;
        let find = || OfThisProcess::new(History::of_now()).resolve(here, true, 0).lines;
        let (end, before) = (Signal::new("the end"), SEARCHES.get());
        end.go();
        let lines = ending::names_until(&end, find);
        assert!(lines[0].function.contains("+0x"), "{lines:?}");
        // A search that is not ended finds the name.
        let lines = ending::names_until(&Signal::new("no end"), find);
        assert!(lines.last().unwrap().function.ends_with("a_search_that_is_ended_keeps_nothing"), "{lines:?}");
        assert_eq!(SEARCHES.get(), before + 2);
    }
}

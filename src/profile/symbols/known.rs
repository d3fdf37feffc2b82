//! The names that this process has found before, in bounded memory: a second snapshot or dump reads
//! no debug information again. Reads no files.

use crate::flame::Line;
use crate::model::locks::Mutex;
use crate::os::fork::PerProcess;
use crate::profile::loader::Stamp;
use std::collections::{HashMap, HashSet};
use std::mem::size_of;
use std::sync::Arc;

/// The maximum number of bytes that are kept: half for names that were used lately, half for names
/// that were used before.
const MOST: usize = 8 << 20;

/// A forked child begins anew, since a thread of the parent may hold the lock.
static KNOWN: PerProcess<Mutex<KnownNames>> =
    PerProcess::new(Mutex::new(KnownNames::new()), || Mutex::new(KnownNames::new()));

/// For each of these addresses in that file, the lines that were found before.
pub(super) fn look_up(file: Stamp, addresses: &[u64]) -> Vec<Option<Arc<[Line]>>> {
    let mut known = KNOWN.lock();
    addresses.iter().map(|&address| known.get(file, address)).collect()
}

/// Keeps the lines of an address in that file.
pub(super) fn keep(file: Stamp, found: impl Iterator<Item = (u64, Arc<[Line]>)>) {
    let mut known = KNOWN.lock();
    found.for_each(|(address, lines)| known.insert(file, address, lines));
}

/// Two generations: when the younger one is full, it becomes the older one, and what was not used
/// since the last time is dropped.
struct KnownNames {
    young: Option<Generation>,
    old: Option<Generation>,
    most: usize,
}

#[derive(Default)]
struct Generation {
    files: HashMap<Stamp, HashMap<u64, Arc<[Line]>>>,
    /// The texts of the lines, each once.
    texts: HashSet<Arc<str>>,
    /// What all of it takes, as far as is known.
    bytes: usize,
}

impl KnownNames {
    const fn new() -> KnownNames {
        KnownNames { young: None, old: None, most: MOST }
    }

    fn get(&mut self, file: Stamp, address: u64) -> Option<Arc<[Line]>> {
        let get = |generation: &Option<Generation>| generation.as_ref()?.files.get(&file)?.get(&address).cloned();
        if let Some(lines) = get(&self.young) {
            return Some(lines);
        }
        let lines = get(&self.old)?;
        self.insert(file, address, lines.clone());
        Some(lines)
    }

    fn insert(&mut self, file: Stamp, address: u64, lines: Arc<[Line]>) {
        let young = self.young.get_or_insert_default();
        young.insert(file, address, lines);
        if young.bytes > self.most / 2 {
            self.old = self.young.take();
        }
    }
}

impl Generation {
    fn insert(&mut self, file: Stamp, address: u64, lines: Arc<[Line]>) {
        /// What an entry of a hash table takes beside its value, and an allocation beside its contents.
        const OVERHEAD: usize = 16;
        let lines: Arc<[Line]> = lines.iter().map(|line| self.shared(line)).collect();
        self.bytes += size_of::<(u64, Arc<[Line]>)>() + 2 * OVERHEAD + size_of_val(&*lines);
        self.files.entry(file).or_default().insert(address, lines);
    }

    /// The line with the texts of this generation.
    fn shared(&mut self, line: &Line) -> Line {
        let mut text = |text: &Arc<str>| match self.texts.get(text) {
            Some(known) => known.clone(),
            None => {
                self.bytes += text.len() + 3 * size_of::<Arc<str>>();
                self.texts.insert(text.clone());
                text.clone()
            }
        };
        let (function, system_name, file) = (text(&line.function), text(&line.system_name), text(&line.file));
        Line { function, system_name, file, line: line.line }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(name: &str) -> Arc<[Line]> {
        Arc::from([Line { function: name.into(), system_name: name.into(), file: "x.rs".into(), line: 7 }])
    }

    #[test]
    fn names_are_kept_within_their_bound() {
        let (file, mut known) = (Stamp::default(), KnownNames { most: 100_000, ..KnownNames::new() });
        let held = |known: &KnownNames| {
            let generations = [&known.young, &known.old].into_iter().flatten();
            generations.map(|generation| generation.bytes).sum::<usize>()
        };
        for address in 0..10_000 {
            known.insert(file, address, lines(&format!("function_{address}")));
            // An entry that is used all the time stays.
            assert_eq!(known.get(file, 0), Some(lines("function_0")));
            assert!(held(&known) <= 100_000 + 1_000, "{}", held(&known));
        }
        assert_eq!(known.get(file, 9_999), Some(lines("function_9999")));
        assert_eq!(known.get(file, 5), None, "the oldest was dropped");
    }
}

//! The names of one thread's spans, each with a number. The thread finds the number of a name that
//! it has used before by the address of the name, in some nanoseconds. Knows no spans.
//!
//! Invariant: a number is given once, and its name and path do not change.

use crate::model::locks::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The name of all spans whose names were too many.
pub(super) const OTHERS: &str = "[others]";

/// Names that are found by their address. The others take the slow way.
const QUICK: usize = if cfg!(all(test, selvedge_model)) { 1 } else { 256 };

pub(super) struct Names {
    known: Mutex<Known>,
    quick: [Quick; QUICK],
    /// The number of the thread's present path, and how often the thread's path had changed then.
    /// The thread's own, as are the words of [`Quick`]. Relaxed: no other thread uses them.
    path: AtomicU64,
    path_change: AtomicU64,
}

struct Known {
    paths: Vec<Arc<str>>,
    /// The number of the path, and the name, by the name's number.
    names: Vec<(usize, &'static str)>,
    numbers: HashMap<(usize, &'static str), usize>,
}

/// A name by its address and its length; and the path.
#[derive(Default)]
struct Quick {
    address: AtomicU64,
    length_and_path: AtomicU64,
    number: AtomicU64,
}

const RELAXED: Ordering = Ordering::Relaxed;

impl Names {
    /// So many names of one thread are kept apart, the last of which stands for all others.
    pub(super) const MAX: usize = if cfg!(all(test, selvedge_model)) { 2 } else { 128 };

    /// For a thread with that path, which has changed so often.
    pub(super) fn new(path: Arc<str>, path_change: u64) -> Names {
        Names {
            known: Mutex::new(Known { paths: vec![path], names: Vec::new(), numbers: HashMap::new() }),
            quick: std::array::from_fn(|_| Quick::default()),
            path: AtomicU64::new(0),
            path_change: AtomicU64::new(path_change),
        }
    }

    /// The number of a name that was used before, if it is found quickly. By the thread itself.
    #[inline(always)]
    pub(super) fn quick(&self, name: &'static str, path_change: u64) -> Option<usize> {
        let quick = &self.quick[place(name)];
        let is_known = quick.address.load(RELAXED) == name.as_ptr() as u64
            && quick.length_and_path.load(RELAXED) == (name.len() as u64) << 32 | self.path.load(RELAXED)
            && self.path_change.load(RELAXED) == path_change;
        is_known.then(|| quick.number.load(RELAXED) as usize)
    }

    /// The number of a name. `path`: the thread's present path. By the thread itself.
    pub(super) fn number(&self, name: &'static str, path_change: u64, path: impl FnOnce() -> Arc<str>) -> usize {
        // Dropped without the lock.
        let path = (self.path_change.load(RELAXED) != path_change).then(path);
        let mut known = self.known.lock();
        if let Some(path) = &path {
            let index = known.paths.iter().position(|known| known == path).unwrap_or_else(|| {
                match known.paths.len() + 1 {
                    // The last one stands for all others.
                    Names::MAX => known.paths.push(OTHERS.into()),
                    few if few < Names::MAX => known.paths.push(path.clone()),
                    _ => {}
                }
                known.paths.len() - 1
            });
            self.path.store(index as u64, RELAXED);
            self.path_change.store(path_change, RELAXED);
        }
        let path = self.path.load(RELAXED) as usize;
        let number = known.number(path, name);
        drop(known);
        let quick = &self.quick[place(name)];
        quick.address.store(name.as_ptr() as u64, RELAXED);
        quick.length_and_path.store((name.len() as u64) << 32 | path as u64, RELAXED);
        quick.number.store(number as u64, RELAXED);
        number
    }

    /// The name with that number.
    #[cold]
    pub(super) fn name(&self, number: usize) -> &'static str {
        self.known.lock().names.get(number).map_or(OTHERS, |(_, name)| name)
    }

    /// Each name with the path of its thread, by number.
    pub(super) fn all(&self) -> Vec<(&'static str, Arc<str>)> {
        // Allocated without the lock: an allocator may open spans.
        let mut all = Vec::with_capacity(Names::MAX);
        let known = self.known.lock();
        all.extend(known.names.iter().map(|&(path, name)| (name, known.paths[path].clone())));
        all
    }
}

impl Known {
    fn number(&mut self, path: usize, name: &'static str) -> usize {
        if let Some(&number) = self.numbers.get(&(path, name)) {
            return number;
        }
        if self.names.len() == Names::MAX {
            return Names::MAX - 1;
        }
        let name = if self.names.len() == Names::MAX - 1 { OTHERS } else { name };
        self.names.push((path, name));
        self.numbers.insert((path, name), self.names.len() - 1);
        self.names.len() - 1
    }
}

/// Where the name is among the quick ones.
#[inline(always)]
fn place(name: &'static str) -> usize {
    // Fibonacci hashing: the upper bits of the product depend on all bits of the address.
    (name.as_ptr() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) as usize >> (usize::BITS - 8) & (QUICK - 1)
}

#[cfg(all(test, not(selvedge_model)))]
mod tests {
    use super::*;

    #[test]
    fn equal_names_at_two_addresses_are_one() {
        let names = Names::new("main".into(), 0);
        let other: &'static str = String::from("parse").leak();
        let number = names.number("parse", 0, || unreachable!());
        assert_eq!(names.number(other, 0, || unreachable!()), number);
        assert_eq!((names.quick("parse", 0), names.quick(other, 0)), (Some(number), Some(number)));
        // The beginning of a name that is known, at its address.
        assert_eq!(names.quick(&"parse"[..3], 0), None);
        assert_ne!(names.number(&"parse"[..3], 0, || unreachable!()), number);
    }

    #[test]
    fn a_name_belongs_to_the_path_at_that_time() {
        let names = Names::new("main".into(), 7);
        let before = names.number("parse", 7, || unreachable!());
        assert_eq!(names.quick("parse", 8), None);
        let after = names.number("parse", 8, || "main/reader".into());
        assert_eq!((names.quick("parse", 8), names.quick("parse", 9)), (Some(after), None));
        assert_eq!(names.number("parse", 9, || "main".into()), before);
        let rows: Vec<_> = names.all().into_iter().map(|(name, path)| (name, path.to_string())).collect();
        assert_eq!(rows, [("parse", "main".into()), ("parse", "main/reader".to_owned())]);
    }

    #[test]
    fn too_many_names_are_counted_as_others() {
        let names = Names::new("main".into(), 0);
        let numbers: Vec<usize> =
            (0..1_000).map(|n| names.number(format!("name-{n}").leak(), 0, || unreachable!())).collect();
        assert!(numbers[..Names::MAX - 1].iter().copied().eq(0..Names::MAX - 1));
        assert!(numbers[Names::MAX - 1..].iter().all(|&number| number == Names::MAX - 1));
        assert_eq!(names.all().last().map(|(name, _)| *name), Some(OTHERS));
        assert_eq!(names.all().len(), Names::MAX);
    }
}

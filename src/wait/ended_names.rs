//! The last paths of threads that have left the tree or ended while waits are counted: a thread may end before
//! the thread that it has woken runs.

use std::collections::BTreeMap;
use std::sync::Arc;

/// As many as are kept.
const MOST: usize = 4096;

/// By a thread's number. Past `MOST`, the paths that were kept first are forgotten, whatever their numbers are: a
/// thread that lives for long has a low one.
pub(super) struct EndedNames {
    by_number: BTreeMap<u64, (u64, Arc<str>)>,
    /// The numbers in the order in which their paths were kept.
    in_order: BTreeMap<u64, u64>,
    next: u64,
}

impl EndedNames {
    pub(super) const fn new() -> EndedNames {
        EndedNames { by_number: BTreeMap::new(), in_order: BTreeMap::new(), next: 0 }
    }

    pub(super) fn get(&self, number: u64) -> Option<Arc<str>> {
        self.by_number.get(&number).map(|(_, path)| path.clone())
    }

    pub(super) fn has(&self, number: u64) -> bool {
        self.by_number.contains_key(&number)
    }

    /// Keeps the thread's path, in the place of an earlier one.
    pub(super) fn keep(&mut self, number: u64, path: Arc<str>) {
        self.forget(number);
        self.by_number.insert(number, (self.next, path));
        self.in_order.insert(self.next, number);
        self.next += 1;
        if self.by_number.len() > MOST
            && let Some((_, first)) = self.in_order.pop_first()
        {
            self.by_number.remove(&first);
        }
    }

    pub(super) fn forget(&mut self, number: u64) {
        if let Some((place, _)) = self.by_number.remove(&number) {
            self.in_order.remove(&place);
        }
    }
}

#[cfg(all(test, not(selvedge_model)))]
mod tests {
    use super::*;

    fn path(number: u64) -> Arc<str> {
        Arc::from(format!("main/{number}"))
    }

    #[test]
    fn the_names_kept_first_are_forgotten_first() {
        let mut names = EndedNames::new();
        let most = MOST as u64;
        (10..10 + most).for_each(|number| names.keep(number, path(number)));
        // A thread with a low number, as it began first, ends last.
        names.keep(1, path(1));
        assert_eq!((names.get(1), names.has(10), names.has(11)), (Some(path(1)), false, true));
        // Kept again, it is the newest.
        names.keep(11, Arc::from("main/again"));
        names.keep(2, path(2));
        assert_eq!((names.get(11).as_deref(), names.has(12)), (Some("main/again"), false));
        names.forget(11);
        assert_eq!((names.get(11), names.by_number.len(), names.in_order.len()), (None, MOST - 1, MOST - 1));
    }
}

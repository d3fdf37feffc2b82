//! A value that is found when something first needs it. Knows no profile.
//!
//! Not a `LazyLock`: a forked child would wait in it for a thread of its parent, which is not there.

use crate::model::locks::Mutex;
use crate::os::fork::{generation, watch};
use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

type Find<T> = Box<dyn FnOnce() -> T + Send>;

/// Finds a value once, by the first thread that needs it. Others wait for that thread.
pub(super) struct Later<T> {
    found: OnceLock<T>,
    /// Taken by the thread that finds the value. Only threads of the process in `finder` lock it.
    find: Mutex<Option<Find<T>>>,
    /// The process whose threads find the value: its generation and 1; 0: none yet. Relaxed: the lock
    /// and `found` order what is found.
    finder: AtomicU64,
    /// What is shown where the value cannot be had.
    instead: OnceLock<T>,
}

/// Why a value cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// A thread of the parent process was finding it when this process was forked.
    Forked,
    /// To find it has panicked.
    Panicked,
}

impl<T> Later<T> {
    pub(super) fn new(find: Find<T>) -> Later<T> {
        watch();
        Later {
            found: OnceLock::new(),
            find: Mutex::new(Some(find)),
            finder: AtomicU64::new(0),
            instead: OnceLock::new(),
        }
    }

    /// The value. Blocks for as long as it takes to find it, the first time. `instead`: what to show if
    /// it cannot be had.
    ///
    /// # Panics
    /// If finding it panics, in that thread.
    pub(super) fn get(&self, instead: impl FnOnce(Lost) -> T) -> &T {
        self.try_get().unwrap_or_else(|lost| self.instead.get_or_init(|| instead(lost)))
    }

    fn try_get(&self) -> Result<&T, Lost> {
        if let Some(found) = self.found.get() {
            return Ok(found);
        }
        let mine = u64::from(generation()) + 1;
        match self.finder.compare_exchange(0, mine, Ordering::Relaxed, Ordering::Relaxed) {
            Err(finder) if finder != mine => return Err(Lost::Forked),
            _ => {}
        }
        let mut find = self.find.lock();
        if let Some(found) = self.found.get() {
            return Ok(found);
        }
        let found = find.take().ok_or(Lost::Panicked)?();
        Ok(self.found.get_or_init(|| found))
    }
}

impl<T: fmt::Debug> fmt::Debug for Later<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.found.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::AtomicUsize;
    use std::sync::{Arc, Barrier};
    use std::time::Duration;

    #[test]
    fn threads_that_need_it_at_once_find_it_once() {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = calls.clone();
        let later = Later::new(Box::new(move || counted.fetch_add(1, Ordering::Relaxed)));
        let barrier = Barrier::new(4);
        std::thread::scope(|s| {
            for _ in 0..4 {
                s.spawn(|| {
                    barrier.wait();
                    assert_eq!(*later.get(|_| 7), 0);
                });
            }
        });
        assert_eq!(calls.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn after_a_panic_there_is_something_instead() {
        let later = Later::new(Box::new(|| std::panic::panic_any("expected")));
        assert!(catch_unwind(AssertUnwindSafe(|| later.get(|_| 7))).is_err());
        assert_eq!(later.try_get(), Err(Lost::Panicked));
        assert_eq!(*later.get(|_| 7), 7);
    }

    #[test]
    fn a_forked_child_does_not_wait_for_a_thread_of_its_parent() {
        let later = Arc::new(Later::new(Box::new(|| 3)));
        // As if a thread of the parent process had begun.
        let _found_for_ever = later.find.lock();
        later.finder.store(u64::from(generation()) + 2, Ordering::Relaxed);
        let (found, what) = std::sync::mpsc::channel();
        let child = later.clone();
        std::thread::spawn(move || found.send(child.try_get().copied()));
        assert_eq!(what.recv_timeout(Duration::from_secs(60)), Ok(Err(Lost::Forked)));
    }
}

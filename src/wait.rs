//! Who the calling thread is, and what it waits for. Below `signal`, because every blocking call publishes here; the
//! tree, the dump and the wall-clock profile read it.

use parking_lot::Mutex;
use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One blocking call that has not returned yet.
#[derive(Clone, Debug)]
pub struct Wait {
    kind: &'static str,
    name: Arc<str>,
    since: Instant,
}

impl Wait {
    /// What kind of thing is waited for: `signal`, `queue`, `room in queue`, `thread`.
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// When the call began to block.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// How long it has blocked so far.
    pub fn elapsed(&self) -> Duration {
        self.since.elapsed()
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "waiting {:.1?} for {} \"{}\"", self.elapsed(), self.kind, self.name)
    }
}

/// Where one thread publishes its wait. Written by that thread only, read by anyone; the lock is held for the copy of
/// a few words, so a reader that cannot get it at once may simply ask again.
#[derive(Default)]
pub(crate) struct Slot(Mutex<Option<Wait>>);

impl Slot {
    pub(crate) fn get(&self) -> Option<Wait> {
        self.0.lock().clone()
    }
}

struct Me {
    path: Arc<str>,
    slot: Arc<Slot>,
}

thread_local! {
    static ME: RefCell<Option<Me>> = const { RefCell::new(None) };
}

/// From now on the calling thread is `path` and publishes into `slot`. Returns who it was before.
pub(crate) fn become_thread(path: Arc<str>, slot: Arc<Slot>) -> Before {
    Before(ME.with(|me| me.borrow_mut().replace(Me { path, slot })))
}

/// Who the calling thread was before; becomes that again when dropped.
pub(crate) struct Before(Option<Me>);

impl Drop for Before {
    fn drop(&mut self) {
        // A thread whose locals are gone has nobody left to be.
        let _ = ME.try_with(|me| *me.borrow_mut() = self.0.take());
    }
}

/// The calling thread's path in the tree; `other/<name>` for a thread that nobody registered.
pub(crate) fn my_path() -> Arc<str> {
    let known = ME.try_with(|me| me.borrow().as_ref().map(|me| me.path.clone())).ok().flatten();
    known.unwrap_or_else(|| {
        let current = std::thread::current();
        match current.name() {
            Some(name) => Arc::from(format!("other/{name}")),
            None => Arc::from(format!("other/{:?}", current.id())),
        }
    })
}

/// The calling thread's path, if it is in the tree.
pub(crate) fn tree_path() -> Option<Arc<str>> {
    ME.try_with(|me| me.borrow().as_ref().map(|me| me.path.clone())).ok().flatten()
}

/// Whether [`tree_path`] would still give this very path; a few nanoseconds.
pub(crate) fn is_tree_path(path: Option<&Arc<str>>) -> bool {
    let same = |me: &RefCell<Option<Me>>| match (&*me.borrow(), path) {
        (Some(me), Some(path)) => Arc::ptr_eq(&me.path, path),
        (None, None) => true,
        _ => false,
    };
    ME.try_with(same).unwrap_or(path.is_none())
}

/// Publishes a wait until the guard drops. A wait within a wait shows the inner one, then the outer one again.
pub(crate) fn publish(kind: &'static str, name: Arc<str>) -> Published {
    let slot = ME.try_with(|me| me.borrow().as_ref().map(|me| me.slot.clone())).ok().flatten();
    let outer = slot.as_ref().and_then(|slot| slot.0.lock().replace(Wait { kind, name, since: Instant::now() }));
    Published { slot, outer }
}

pub(crate) struct Published {
    slot: Option<Arc<Slot>>,
    outer: Option<Wait>,
}

impl Drop for Published {
    fn drop(&mut self) {
        if let Some(slot) = &self.slot {
            *slot.0.lock() = self.outer.take();
        }
    }
}

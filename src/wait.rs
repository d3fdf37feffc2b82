//! Who the calling thread is, what it waits for, and who holds that. Below `signal`, because every blocking call publishes
//! here; the tree, the dump and the wall-clock profile read it.

use crate::model;
use parking_lot::Mutex;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// One blocking call that has not returned yet.
#[derive(Clone, Debug)]
pub struct Wait {
    kind: &'static str,
    name: Arc<str>,
    since: Instant,
    holder: Option<Arc<Holder>>,
}

impl Wait {
    /// What kind of thing is waited for: `signal`, `queue`, `room in queue`, `thread`, `lock`, `monitor`, `semaphore`, and
    /// so on.
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

    /// The path of the thread that holds the lock or monitor that is waited for, as of this call; `None` while nobody
    /// does, and for what cannot be held.
    pub fn holder(&self) -> Option<Arc<str>> {
        self.holder.as_ref().and_then(|holder| holder.path())
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "waiting {:.1?} for {} \"{}\"", self.elapsed(), self.kind, self.name)?;
        match self.holder() {
            Some(holder) => write!(f, ", held by {holder}"),
            None => Ok(()),
        }
    }
}

/// Which thread holds something: written by the holder, read by those who wait.
#[derive(Debug, Default)]
pub(crate) struct Holder(AtomicU64);

impl Holder {
    // Relaxed throughout: a thread recognises itself by what it wrote itself; for all others this is a message to a human.

    #[inline]
    pub(crate) fn take(&self) {
        self.0.store(my_number(), Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn leave(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    pub(crate) fn is_me(&self) -> bool {
        self.0.load(Ordering::Relaxed) == my_number()
    }

    /// The path of the holder, if there is one.
    pub(crate) fn path(&self) -> Option<Arc<str>> {
        let number = self.0.load(Ordering::Relaxed);
        let named = || PATHS.lock().get(&number).cloned();
        (number != 0).then(|| named().unwrap_or_else(|| Arc::from("a thread that has ended")))
    }
}

/// The paths of the threads that have held something, for as long as they live.
static PATHS: Mutex<BTreeMap<u64, Arc<str>>> = Mutex::new(BTreeMap::new());

thread_local! {
    /// 0: not given yet.
    static NUMBER: Cell<u64> = const { Cell::new(0) };
    static FORGET: Forget = const { Forget };
}

struct Forget;

impl Drop for Forget {
    fn drop(&mut self) {
        PATHS.lock().remove(&NUMBER.get());
    }
}

/// A number that no other thread of this process has or had.
#[inline]
fn my_number() -> u64 {
    match model::current_thread().unwrap_or_else(|| NUMBER.get()) {
        0 => first_number(),
        number => number,
    }
}

#[cold]
fn first_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    NUMBER.set(number);
    // A thread that is past its locals holds without a name, since nobody would take it away again.
    if FORGET.try_with(|_| ()).is_ok() {
        PATHS.lock().insert(number, my_path());
    }
    number
}

/// The calling thread's path has changed.
fn renamed() {
    let number = NUMBER.get();
    if number != 0 && FORGET.try_with(|_| ()).is_ok() {
        let path = my_path();
        PATHS.lock().insert(number, path);
    }
}

/// Where one thread publishes its wait. Written by that thread only, read by anyone; the lock is held for the copy of
/// a few words, so a reader that cannot get it at once may simply ask again.
#[derive(Default)]
pub(crate) struct Slot {
    wait: Mutex<Option<Wait>>,
    /// How often that has changed.
    changes: AtomicU64,
}

impl Slot {
    pub(crate) fn get(&self) -> Option<Wait> {
        self.wait.lock().clone()
    }

    /// A number that is another one after each change: who finds the same twice knows that the thread was in the same wait, or
    /// in none, all the while.
    #[cfg_attr(not(feature = "profiling"), allow(dead_code))]
    pub(crate) fn changes(&self) -> u64 {
        // Acquire and Release: who sees a number sees all that the thread has published before.
        self.changes.load(Ordering::Acquire)
    }

    /// By the thread itself.
    fn set(&self, wait: Option<Wait>) -> Option<Wait> {
        let before = std::mem::replace(&mut *self.wait.lock(), wait);
        // Not fetch_add: nobody else stores it.
        self.changes.store(self.changes.load(Ordering::Relaxed) + 1, Ordering::Release);
        before
    }

    /// [`get`](Self::get) for somebody who must not wait long; the outer `None`: it could not be read in that time.
    pub(crate) fn look(&self, patience: Duration) -> Option<Option<Wait>> {
        self.wait.try_lock_for(patience).map(|wait| wait.clone())
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
    let before = Before(ME.try_with(|me| me.replace(Some(Me { path, slot }))).ok().flatten());
    renamed();
    before
}

/// Who the calling thread was before; becomes that again when dropped.
pub(crate) struct Before(Option<Me>);

impl Drop for Before {
    fn drop(&mut self) {
        // A thread whose locals are gone has nobody left to be.
        let _ = ME.try_with(|me| *me.borrow_mut() = self.0.take());
        renamed();
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
    publish_held(kind, name, None)
}

/// [`publish`] for something that a thread may hold.
pub(crate) fn publish_held(kind: &'static str, name: Arc<str>, holder: Option<Arc<Holder>>) -> Published {
    let slot = ME.try_with(|me| me.borrow().as_ref().map(|me| me.slot.clone())).ok().flatten();
    let outer = slot.as_ref().and_then(|slot| slot.set(Some(Wait { kind, name, since: Instant::now(), holder })));
    Published { slot, outer }
}

pub(crate) struct Published {
    slot: Option<Arc<Slot>>,
    outer: Option<Wait>,
}

impl Drop for Published {
    fn drop(&mut self) {
        if let Some(slot) = &self.slot {
            slot.set(self.outer.take());
        }
    }
}

//! The calling thread: its path in the tree, the slot where it publishes its waits, and a number
//! that tells it from all other threads. Knows neither the tree nor holders.

use super::context::Context;
#[cfg(feature = "profiling")]
use super::ended_names::EndedNames;
#[cfg(feature = "profiling")]
use super::ender::{Cause, is_on};
use super::leaving;
use super::outside::path_outside;
use super::slot::Slot;
use super::slot_lock::is_held_here;
use crate::model;
use crate::model::locks::Mutex;
use crate::os::fork::PerProcess;
use crate::os::printable::is_unprintable;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

struct Me {
    path: Arc<str>,
    slot: Arc<Slot>,
}

thread_local! {
    /// Without a destructor, whose registration would cost each thread that is spawned an
    /// allocation and a call at its end: [`Before`] takes the identity out again. Only the
    /// process's main thread gets one for good.
    static ME: ManuallyDrop<RefCell<Option<Me>>> = const { ManuallyDrop::new(RefCell::new(None)) };
}

thread_local! {
    /// The calling thread has had a context. Apart from `CONTEXT`, whose destructor costs each
    /// thread that uses it.
    static HAS_HAD_CONTEXT: Cell<bool> = const { Cell::new(false) };
    static CONTEXT: RefCell<Option<Context>> = const { RefCell::new(None) };
}

/// The calling thread has this context from now on. `None`: an empty one. Returns what it has
/// published before.
pub(crate) fn publish_context(context: Option<Context>) -> Option<Context> {
    HAS_HAD_CONTEXT.set(true);
    let before = CONTEXT.try_with(|mine| mine.replace(context.clone())).ok().flatten();
    with_my_slot(|slot| slot.set_context(context));
    before
}

/// Calls `with` with what the calling thread has published last.
pub(crate) fn with_my_context<R>(with: impl FnOnce(Option<&Context>) -> R) -> R {
    if HAS_HAD_CONTEXT.get() && CONTEXT.try_with(|_| ()).is_ok() {
        CONTEXT.with(|mine| with(mine.borrow().as_ref()))
    } else {
        with(None)
    }
}

/// The calling thread publishes at `slot` from now on.
fn take_context_along(slot: &Slot) {
    if HAS_HAD_CONTEXT.get() {
        slot.set_context(with_my_context(|mine| mine.cloned()));
    }
}

/// From now on the calling thread is `path` and publishes into `slot`. Returns its identity before.
pub(crate) fn become_thread(path: Arc<str>, slot: Arc<Slot>) -> Before {
    take_context_along(&slot);
    let before = Before(ME.try_with(|me| me.replace(Some(Me { path, slot }))).ok().flatten());
    renamed();
    before
}

/// The same, until the thread ends or gets another identity. Its identity before is dropped.
pub(crate) fn become_thread_for_good(path: Arc<str>, slot: Arc<Slot>) {
    take_context_along(&slot);
    let before = ME.try_with(|me| me.replace(Some(Me { path, slot }))).ok().flatten();
    drop(before);
    renamed();
}

/// From now on the calling thread is not in the tree.
pub(crate) fn leave_tree() {
    if let Some(before) = ME.try_with(|me| me.take()).ok().flatten() {
        drop(before);
        renamed();
    }
}

/// The identity of the calling thread before; the thread gets it back when this drops.
pub(crate) struct Before(Option<Me>);

impl Drop for Before {
    fn drop(&mut self) {
        // The context may have changed meanwhile.
        if let Some(before) = &self.0 {
            take_context_along(&before.slot);
        }
        let ended = ME.try_with(|me| me.replace(self.0.take())).ok().flatten();
        drop(ended);
        renamed();
    }
}

/// Where the calling thread publishes its waits. `None`: it is not in the tree, or changes a slot just now.
pub(super) fn my_slot() -> Option<Arc<Slot>> {
    if is_held_here() {
        return None;
    }
    ME.try_with(|me| me.borrow().as_ref().map(|me| me.slot.clone())).ok().flatten()
}

/// Calls `with` with the calling thread's slot. `None`: it is not in the tree, or changes a slot just now.
pub(super) fn with_my_slot<R>(with: impl FnOnce(&Slot) -> R) -> Option<R> {
    if is_held_here() { None } else { with_slot_of_me(with) }
}

/// The same for what takes no lock of the slot.
fn with_slot_of_me<R>(with: impl FnOnce(&Slot) -> R) -> Option<R> {
    ME.try_with(|me| me.borrow().as_ref().map(|me| with(&me.slot))).ok().flatten()
}

/// The calling thread's path in the tree; `other/<name>` for an unregistered thread.
pub(crate) fn my_path() -> Arc<str> {
    tree_path().unwrap_or_else(|| {
        let kept = OUTSIDE.try_with(|path| path.get_or_init(my_path_outside).clone());
        kept.unwrap_or_else(|_| my_path_outside())
    })
}

thread_local! {
    /// The path of the thread outside of the tree, from its first request on.
    static OUTSIDE: OnceCell<Arc<str>> = const { OnceCell::new() };
}

fn my_path_outside() -> Arc<str> {
    let current = std::thread::current();
    match current.name() {
        // A thread that was in the tree and ends: its name is its path there.
        Some(path) if path.starts_with("main/") => format!("other/{}", path.replace(is_unprintable, "_")).into(),
        Some(name) => path_outside(name).into(),
        None => path_outside(&format!("{:?}", current.id())).into(),
    }
}

/// The calling thread's path, if it is in the tree.
pub(crate) fn tree_path() -> Option<Arc<str>> {
    let path = |me: &Me| (!me.slot.is_retired()).then(|| me.path.clone());
    ME.try_with(|me| me.borrow().as_ref().and_then(path)).ok().flatten()
}

/// Returns `true` if [`tree_path`] would still return this very path. Takes a few nanoseconds.
#[cfg(any(feature = "log4rs", test))]
pub(crate) fn is_tree_path(path: Option<&Arc<str>>) -> bool {
    let same = |me: &ManuallyDrop<RefCell<Option<Me>>>| match (
        me.borrow().as_ref().filter(|me| !me.slot.is_retired()),
        path,
    ) {
        (Some(me), Some(path)) => Arc::ptr_eq(&me.path, path),
        (None, None) => true,
        _ => false,
    };
    ME.try_with(same).unwrap_or(path.is_none())
}

/// The paths of the threads that have a number, for as long as they live.
static PATHS: PerProcess<Mutex<BTreeMap<u64, Arc<str>>>> = PerProcess::new(Mutex::new(BTreeMap::new()), Mutex::default);

/// Changed together with `PATHS`, under the lock of `PATHS`. So a thread that looks into both under
/// that lock finds each thread. A thread that is just leaving has its path in the tree there.
#[cfg(feature = "profiling")]
static ENDED: PerProcess<Mutex<EndedNames>> =
    PerProcess::new(Mutex::new(EndedNames::new()), || Mutex::new(EndedNames::new()));

thread_local! {
    /// 0: not given yet.
    static NUMBER: Cell<u64> = const { Cell::new(0) };
    static FORGET: Forget = const { Forget };
}

struct Forget;

impl Drop for Forget {
    fn drop(&mut self) {
        let known = PATHS.lock().get(&NUMBER.get()).cloned();
        // Before it leaves `PATHS`, so that it is in one of the two at any time.
        if let Some(path) = known {
            leaving::begins(NUMBER.get(), path);
        }
        let mut paths = PATHS.lock();
        let path = paths.remove(&NUMBER.get());
        #[cfg(feature = "profiling")]
        if let Some(path) = path
            && is_on()
            && !ENDED.lock().has(NUMBER.get())
        {
            keep_name(NUMBER.get(), path);
        }
        #[cfg(not(feature = "profiling"))]
        drop(path);
        drop(paths);
    }
}

/// The path of the thread with this number. `None` if it has ended.
pub(super) fn path_of(number: u64) -> Option<Arc<str>> {
    let known = PATHS.lock().get(&number).cloned();
    known.or_else(|| leaving::path_of(number))
}

/// What a thread that ended a wait is called, or another cause of that. The totals of waits call it
/// when they meet an ender for the first time.
#[cfg(feature = "profiling")]
pub(super) fn name_of_ender(by: u64) -> Arc<str> {
    match Cause::of(by) {
        Cause::Unknown => Arc::from("[unknown]"),
        Cause::Clock => Arc::from("[clock]"),
        Cause::Outside => Arc::from("[outside]"),
        Cause::Thread(number) => name_of_thread(number),
    }
}

/// The path of the thread with this number, also for some time after its end while waits are
/// counted.
#[cfg(feature = "profiling")]
pub(crate) fn name_of_thread(number: u64) -> Arc<str> {
    #[cfg(all(test, not(selvedge_model)))]
    model::meanwhile::happens();
    let paths = PATHS.lock();
    let ended = ENDED.lock().get(number);
    ended.or_else(|| paths.get(&number).cloned()).unwrap_or_else(|| Arc::from("[ended thread]"))
}

#[cfg(feature = "profiling")]
fn keep_name(number: u64, path: Arc<str>) {
    ENDED.lock().keep(number, path);
}

/// Forgets the names of ended threads.
#[cfg(feature = "profiling")]
pub(super) fn forget_ended() {
    let names = std::mem::replace(&mut *ENDED.lock(), EndedNames::new());
    drop(names);
}

/// Returns `true` if the thread of this number lives. On systems without clocks of threads, it counts
/// as ended once the destructors of its thread-locals have begun.
pub(crate) fn is_alive(number: u64) -> bool {
    path_of(number).is_some()
}

/// The calling thread's number, which is given now if need be: its last stamp, which wakes the
/// thread that joins it, comes after its end was noted.
#[cfg(feature = "profiling")]
pub(crate) fn number() -> u64 {
    my_number()
}

/// A number that no other thread of this process has or had.
#[inline]
pub(super) fn my_number() -> u64 {
    match number_if_any() {
        0 => first_number(),
        number => number,
    }
}

/// The calling thread's number; 0 if it has held nothing yet.
#[inline]
pub(super) fn number_if_any() -> u64 {
    model::current_thread().unwrap_or_else(|| NUMBER.get())
}

#[cold]
fn first_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    NUMBER.set(number);
    show_number(number);
    if FORGET.try_with(|_| ()).is_ok() {
        PATHS.lock().insert(number, my_path());
    } else {
        // No destructor would take it out of `PATHS` again.
        leaving::begins(number, my_path());
    }
    number
}

#[cfg(feature = "profiling")]
thread_local! {
    static PATH_CHANGES: Cell<u64> = const { Cell::new(0) };
}

/// How often the calling thread's path has changed. Each span asks, in `profile/spans/guard.rs`.
#[cfg(feature = "profiling")]
#[inline(always)]
pub(crate) fn path_changes() -> u64 {
    PATH_CHANGES.get()
}

/// The slot of the calling thread has its number from now on.
fn show_number(number: u64) {
    #[cfg(feature = "profiling")]
    with_slot_of_me(|slot| slot.number.store(number, Ordering::Relaxed));
    #[cfg(not(feature = "profiling"))]
    let _ = number;
}

/// The calling thread's path has changed.
pub(super) fn renamed() {
    #[cfg(feature = "profiling")]
    PATH_CHANGES.set(PATH_CHANGES.get() + 1);
    let number = NUMBER.get();
    if number != 0 {
        show_number(number);
    }
    if number != 0 && FORGET.try_with(|_| ()).is_ok() {
        let path = my_path();
        let mut paths = PATHS.lock();
        let before = paths.insert(number, path);
        #[cfg(feature = "profiling")]
        if is_on() {
            // What it has ended in the tree belongs to its path there.
            match before {
                Some(before) if tree_path().is_none() && !before.starts_with("other/") => keep_name(number, before),
                _ => ENDED.lock().forget(number),
            }
        }
        #[cfg(not(feature = "profiling"))]
        drop(before);
        drop(paths);
    }
}

#[cfg(all(test, feature = "profiling", not(selvedge_model)))]
mod tests {
    use super::super::tests::Counting;
    use super::*;
    use std::sync::mpsc;
    use std::thread;

    fn be(path: &str) -> Before {
        become_thread(path.into(), Arc::default())
    }

    #[test]
    fn a_thread_that_comes_back_into_the_tree_has_its_new_name() {
        let _counting = Counting::begin();
        let names = thread::spawn(|| {
            let number = number();
            drop(be("main/first"));
            let outside = name_of_thread(number);
            let _back = be("main/second");
            (outside, name_of_thread(number))
        });
        let (outside, back) = names.join().unwrap();
        assert_eq!((&*outside, &*back), ("main/first", "main/second"));
    }

    #[test]
    fn a_thread_that_leaves_the_tree_and_ends_has_its_name_there() {
        let _counting = Counting::begin();
        let thread = thread::spawn(|| {
            let number = number();
            drop(be("main/leaver"));
            number
        });
        assert_eq!(&*name_of_thread(thread.join().unwrap()), "main/leaver");
    }

    #[test]
    fn a_thread_that_ends_while_its_name_is_looked_for_has_a_name() {
        let _counting = Counting::begin();
        let (tell, told) = mpsc::channel();
        let (may_end, wait) = mpsc::channel::<()>();
        let thread = thread::spawn(move || {
            let _me = be("main/short");
            tell.send(number()).unwrap();
            wait.recv().unwrap_err();
        });
        let number = told.recv().unwrap();
        let ends = move || {
            drop(may_end);
            thread.join().unwrap();
        };
        model::meanwhile::plan([Box::new(ends)]);
        assert_eq!(&*name_of_thread(number), "main/short");
        super::super::tests::until("the thread is alive", || !is_alive(number));
    }
}

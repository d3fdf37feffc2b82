//! Which thread holds something, and which threads live: numbers of OS threads, and the paths
//! behind them. The holders write it. Waiting threads and the search for deadlocks read it.

use super::my_path;
use crate::model;
use crate::model::locks::Mutex;
use crate::os::fork::PerProcess;
use crossbeam_utils::atomic::AtomicCell;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The thread that holds a thing, and where in the source it took the thing.
#[derive(Debug, Default)]
pub(crate) struct Holder {
    thread: AtomicU64,
    /// The place of the last thread that took it.
    place: AtomicCell<Option<&'static Location<'static>>>,
}

impl Holder {
    // Relaxed throughout: a thread recognises itself by what it wrote itself. Others read it for a
    // human, or, in the search for deadlocks, after they have seen under a lock that the holder
    // blocks: what it wrote before, they see.

    #[inline]
    #[track_caller]
    pub(crate) fn take(&self) {
        self.place.store(Some(Location::caller()));
        self.thread.store(my_number(), Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn leave(&self) {
        self.thread.store(0, Ordering::Relaxed);
    }

    pub(crate) fn is_me(&self) -> bool {
        self.number() == my_number()
    }

    /// The number of the holder's thread; 0 if no thread holds it.
    pub(crate) fn number(&self) -> u64 {
        self.thread.load(Ordering::Relaxed)
    }

    /// Where the holder took it.
    pub(crate) fn place(&self) -> Option<&'static Location<'static>> {
        (self.number() != 0).then(|| self.place.load()).flatten()
    }

    /// The path of the holder, if there is one.
    pub(crate) fn path(&self) -> Option<Arc<str>> {
        let number = self.number();
        (number != 0).then(|| path_of(number).unwrap_or_else(|| Arc::from("a thread that has ended")))
    }
}

/// The threads that have been seen to use a side of a queue, by their numbers. Only a thread that
/// had to block is seen.
#[derive(Debug, Default)]
pub(crate) struct Users(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    threads: Vec<u64>,
    more: bool,
}

impl Users {
    /// More than this are not told apart.
    pub(super) const MOST: usize = 64;

    /// Notes that the calling thread uses it.
    pub(crate) fn add_me(&self) {
        let me = my_number();
        let mut seen = self.0.lock();
        if !seen.threads.contains(&me) {
            if seen.threads.len() == Users::MOST {
                seen.threads.retain(|thread| is_alive(*thread));
            }
            if seen.threads.len() == Users::MOST {
                seen.more = true;
            } else {
                seen.threads.push(me);
            }
        }
    }

    /// The living threads among them. `None` if there were too many, or none at all.
    pub(crate) fn alive(&self) -> Option<Vec<u64>> {
        let seen = self.0.lock();
        let alive: Vec<u64> = seen.threads.iter().copied().filter(|thread| is_alive(*thread)).collect();
        (!seen.more && !alive.is_empty()).then_some(alive)
    }
}

/// The paths of the threads that have a number, for as long as they live.
static PATHS: PerProcess<Mutex<BTreeMap<u64, Arc<str>>>> = PerProcess::new(Mutex::new(BTreeMap::new()), Mutex::default);

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

pub(super) fn path_of(number: u64) -> Option<Arc<str>> {
    PATHS.lock().get(&number).cloned()
}

/// Whether the thread of this number lives, and has not come to the destructors of its
/// thread-locals.
pub(crate) fn is_alive(number: u64) -> bool {
    PATHS.lock().contains_key(&number)
}

/// A number that no other thread of this process has or had.
#[inline]
fn my_number() -> u64 {
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
    // A thread that is past its locals holds without a name, since no destructor would remove the
    // name again.
    if FORGET.try_with(|_| ()).is_ok() {
        PATHS.lock().insert(number, my_path());
    }
    number
}

/// The calling thread's path has changed.
pub(super) fn renamed() {
    let number = NUMBER.get();
    if number != 0 && FORGET.try_with(|_| ()).is_ok() {
        let path = my_path();
        PATHS.lock().insert(number, path);
    }
}

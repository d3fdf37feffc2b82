//! The table of entries: leads a signal handler from its kernel thread id to its entry, without a
//! lock, an allocation or a thread-local. Knows slots and requests only through the entry.
//!
//! A hash table whose entries are made once, stay in their bucket, and are used again for other
//! ids. So there are as many entries as threads that were sampled at the same time, however high
//! the ids are (up to four million, where `pid_max` is what systemd sets).
//!
//! Invariants
//! 1. An entry belongs to its id while there is a [`Claim`] for it; a [`Grace`] has one.
//! 2. At most one entry belongs to an id. `TABLE_LOCK` is held where ids and counts of claims
//!    change.
//! 3. Entries are never freed.

use super::entry::{Entry, EntryContents, GraceStart};
use crate::os::process;
use std::ops::Deref;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// With ten thousand threads, two or three entries in each; 32 KiB.
const BUCKETS: usize = 4096;

static TABLE: [AtomicPtr<Node>; BUCKETS] = [const { AtomicPtr::new(std::ptr::null_mut()) }; BUCKETS];

/// Held to make a claim and to give it back, never by a handler. The innermost lock of all: held
/// for some loads and stores. A fork waits for it, so that in the child no thread is in the middle
/// of them.
///
/// | value | means                                      | changed by                           |
/// |-------|--------------------------------------------|--------------------------------------|
/// | false | no thread holds it                         | its owner; after a fork, the child   |
/// | true  | a thread makes or gives back a claim, or forks | that thread                      |
///
/// An atomic and not a library's mutex, since the child unlocks it. parking_lot's unlock may use a
/// table of the whole process, which another thread may have locked at the moment of the fork.
/// Acquire on locking and Release on unlocking: the owner sees what the last owner stored.
static TABLE_LOCK: AtomicBool = AtomicBool::new(false);

struct TableLock;

impl Drop for TableLock {
    fn drop(&mut self) {
        TABLE_LOCK.store(false, Ordering::Release);
    }
}

/// Locks the table. Blocks until it can.
fn lock_table() -> TableLock {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| process::at_fork(before_fork, in_parent, in_child));
    loop {
        if let Some(lock) = lock_table_within(Duration::from_secs(1)) {
            return lock;
        }
    }
}

/// Locks the table; `None` if that takes longer than `patience`.
fn lock_table_within(patience: Duration) -> Option<TableLock> {
    let mut tries = 0;
    let mut began = None;
    while TABLE_LOCK.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
        tries += 1;
        if began.get_or_insert_with(Instant::now).elapsed() >= patience {
            return None;
        }
        crate::model::back_off(tries);
    }
    Some(TableLock)
}

/// A forking thread holds `TABLE_LOCK`. Changed by that thread alone, while it holds it.
static LOCKED_BY_FORK: AtomicBool = AtomicBool::new(false);

/// Locks the table before a fork. Called by `fork`.
extern "C" fn before_fork() {
    // Waits for a limited time: a signal handler of the program that forks may have interrupted the
    // thread that holds the lock.
    if let Some(lock) = lock_table_within(Duration::from_secs(1)) {
        std::mem::forget(lock);
        LOCKED_BY_FORK.store(true, Ordering::SeqCst);
    }
}

extern "C" fn in_parent() {
    if LOCKED_BY_FORK.swap(false, Ordering::SeqCst) {
        drop(TableLock);
    }
}

/// Unlocks in the child. The lock is held by this thread, by a thread that the child does not have,
/// or by the thread that this call has interrupted. The lock guards only the order of stores, each
/// of which leaves usable entries.
extern "C" fn in_child() {
    LOCKED_BY_FORK.store(false, Ordering::SeqCst);
    drop(TableLock);
}

/// An entry in its bucket.
struct Node {
    entry: Entry,
    /// How many claims there are. Changed under `TABLE_LOCK`.
    claims: AtomicU32,
    /// The next in the bucket. Written before this one is published.
    next: AtomicPtr<Node>,
}

fn bucket(thread: i32) -> &'static AtomicPtr<Node> {
    // The kernel gives out ids one after the other.
    &TABLE[thread as usize % BUCKETS]
}

fn nodes(thread: i32) -> impl Iterator<Item = &'static Node> {
    // Acquire: the node's contents were written before it was published.
    // SAFETY: null, or a node that is never freed.
    let node = |claim: &AtomicPtr<Node>| unsafe { claim.load(Ordering::Acquire).as_ref() };
    std::iter::successors(node(bucket(thread)), move |found| node(&found.next))
}

/// Called by the handler of the thread with that id. Calls `with` with the contents of its entry,
/// if there are any.
///
/// # Signal safety
/// Safe, if `with` is. Loads and stores memory, and calls nothing else.
pub(super) fn enter(thread: i32, with: impl FnOnce(EntryContents<'_>)) {
    if let Some(node) = nodes(thread).find(|node| node.entry.belongs_to(thread)) {
        node.entry.enter(thread, with);
    }
}

/// A claim to the entry of that thread, which is made if need be. `None`: no thread has such an id.
pub(super) fn claim(thread: i32) -> Option<Claim> {
    if thread <= 0 {
        return None;
    }
    let _lock = lock_table();
    let known = nodes(thread).find(|node| node.entry.belongs_to(thread));
    let node = known.or_else(|| nodes(thread).find(|node| node.entry.assign_to(thread))).unwrap_or_else(|| add(thread));
    // Relaxed: the count falls to 0 under this lock only.
    node.claims.fetch_add(1, Ordering::Relaxed);
    Some(Claim(node))
}

/// Adds an entry for that thread. Under `TABLE_LOCK`.
fn add(thread: i32) -> &'static Node {
    let bucket = bucket(thread);
    let next = AtomicPtr::new(bucket.load(Ordering::Relaxed));
    let node = Box::leak(Box::new(Node { entry: Entry::new(thread), claims: AtomicU32::new(0), next }));
    // Release: see `nodes`.
    bucket.store(node, Ordering::Release);
    node
}

/// Keeps an entry assigned to its thread.
pub(super) struct Claim(&'static Node);

impl Deref for Claim {
    type Target = Entry;

    fn deref(&self) -> &Entry {
        &self.0.entry
    }
}

impl Clone for Claim {
    fn clone(&self) -> Claim {
        // Relaxed, and without the lock: this claim keeps it above 0, so that nothing is decided by
        // it meanwhile.
        self.0.claims.fetch_add(1, Ordering::Relaxed);
        Claim(self.0)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let _lock = lock_table();
        if self.0.claims.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.entry.free();
        }
    }
}

impl Claim {
    /// Clears the request. It may be freed or sent again when the grace is over.
    pub(super) fn clear_request(&self) -> Grace {
        Grace { start: self.0.entry.clear_request(), claim: self.clone() }
    }

    /// Begins a grace: a value that the handler could have found may be freed when it is over.
    pub(super) fn grace(&self) -> Grace {
        Grace { start: self.0.entry.grace_start(), claim: self.clone() }
    }
}

/// A grace of one entry: over when the handler that was at work when it began has ended. Keeps the
/// entry assigned to its thread, since another thread's handler could leave it in its stead.
pub(super) struct Grace {
    claim: Claim,
    start: GraceStart,
}

impl Grace {
    /// Returns `true` if no handler was at work when the grace began, or that handler has ended.
    pub(super) fn is_over(&self) -> bool {
        self.claim.is_over(self.start)
    }
}

#[cfg(all(test, not(selvedge_model)))]
mod tests {
    use super::super::sample_flags::SampleFlags;
    use super::super::slot::{Arena, Slot, StackBounds};
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;
    use std::time::Instant;

    /// Ids that no thread of this process has: the kernel gives none above 2^22.
    const SPARE: i32 = 1 << 24;

    fn slot() -> Arc<Slot> {
        let mut flags = SampleFlags::default();
        let number = flags.add(SPARE);
        Arc::new(Slot::new(Arena::default(), 0, StackBounds::Known(0..u64::MAX), false, flags.flag(number)))
    }

    fn finds(thread: i32) -> Option<*const Slot> {
        let mut found = None;
        enter(thread, |entry| found = entry.slot.map(std::ptr::from_ref));
        found
    }

    #[test]
    fn a_claimed_id_has_one_entry() {
        assert!(claim(0).is_none() && claim(-1).is_none() && claim(i32::MIN).is_none());
        enter(SPARE, |_| unreachable!("nothing was given"));
        let (a, same, b) = (claim(SPARE).unwrap(), claim(SPARE).unwrap(), claim(SPARE + BUCKETS as i32).unwrap());
        assert!(std::ptr::eq(a.0, same.0) && !std::ptr::eq(a.0, b.0));
        let (first, second) = (slot(), slot());
        // SAFETY: both live to the end of the test.
        unsafe { (a.set_slot(Arc::as_ptr(&first)), b.set_slot(Arc::as_ptr(&second))) };
        drop(same);
        assert_eq!(finds(SPARE), Some(Arc::as_ptr(&first)));
        assert_eq!(finds(SPARE + BUCKETS as i32), Some(Arc::as_ptr(&second)));
        a.clear_slot();
        let grace = a.grace();
        let node = a.0;
        drop(a);
        assert!(node.entry.belongs_to(SPARE), "a grace keeps it that id's");
        drop(grace);
        assert!(node.entry.belongs_to(0) && finds(SPARE).is_none());
        b.clear_slot();
    }

    /// In a process of its own, since entries are never freed: other tests have thousands of threads.
    #[test]
    fn a_million_ids_one_after_the_other_share_a_few_entries() {
        let test = "a_million_ids_one_after_the_other_share_a_few_entries";
        if crate::own_process::passes(module_path!(), test, &[]) {
            return;
        }
        let lasting: Vec<Claim> = (0..100).map(|n| claim(SPARE + 100_000 + n * 7).unwrap()).collect();
        for n in 0..1_000_000 {
            drop(claim(SPARE + 1_000_000 + n).unwrap());
        }
        let count: usize = (0..BUCKETS as i32).map(|n| nodes(n).count()).sum();
        // One for each bucket, and one for each that lasts.
        assert!(count <= BUCKETS + lasting.len(), "{count} entries");
    }

    #[test]
    fn an_entry_in_use_is_not_reassigned() {
        let (own, other) = (SPARE + 50_000, SPARE + 50_000 + BUCKETS as i32);
        let (own_claim, slot) = (claim(own).unwrap(), slot());
        let node = own_claim.0;
        // SAFETY: it lives to the end of the test, and no handler uses it.
        unsafe { own_claim.set_slot(Arc::as_ptr(&slot)) };
        enter(own, |_| {
            let grace = own_claim.clear_request();
            drop(own_claim);
            assert!(node.entry.belongs_to(own) && !grace.is_over());
            drop(grace);
            assert!(node.entry.belongs_to(0));
            assert!(!std::ptr::eq(claim(other).unwrap().0, node));
        });
        assert!(claim(other).unwrap().grace().is_over());
        // A handler that has found the entry when it was its own, and comes to enter it now.
        node.entry.enter(own + 1, |_| unreachable!("it is another's"));
        assert!(node.entry.assign_to(own));
        node.entry.free();
    }

    #[test]
    fn a_cleared_slot_is_not_in_use() {
        let ids = [SPARE + 256, SPARE + 256 + BUCKETS as i32];
        let stop = AtomicBool::new(false);
        // Kept to the end, so that a fault is a failed assertion and not a wild access. `lost`
        // marks those taken.
        let mut taken = Vec::new();
        let met = [const { AtomicU64::new(0) }; 2];
        std::thread::scope(|scope| {
            // The handlers of two threads, whose claims come and go, and are each other's at times.
            let handlers = [0, 1].map(|index| {
                let (stop, met, id) = (&stop, &met[index], ids[index]);
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        enter(id, |found| {
                            let Some(slot) = found.slot else { return };
                            met.fetch_add(1, Ordering::Relaxed);
                            for _ in 0..50 {
                                assert_eq!(slot.lost.load(Ordering::SeqCst), id as u64, "used after it was taken");
                            }
                        });
                    }
                })
            });
            let deadline = Instant::now() + Duration::from_secs(30);
            let is_enough = || met.iter().all(|met| met.load(Ordering::Relaxed) > 100);
            for n in 0.. {
                let id = ids[n % 2];
                let (claim, slot) = (claim(id).unwrap(), slot());
                slot.lost.store(id as u64, Ordering::SeqCst);
                // SAFETY: it lives to the end of the test.
                unsafe { claim.set_slot(Arc::as_ptr(&slot)) };
                if n % 4 < 2 {
                    std::thread::yield_now();
                }
                claim.clear_slot();
                slot.lost.store(1, Ordering::SeqCst);
                taken.push(slot);
                if taken.len() > 100 {
                    taken.clear();
                }
                let is_over = n > 1000 && is_enough() || Instant::now() > deadline;
                if is_over || handlers.iter().any(|handler| handler.is_finished()) {
                    break;
                }
            }
            stop.store(true, Ordering::Relaxed);
            handlers.into_iter().for_each(|handler| handler.join().unwrap());
        });
        assert!(met.iter().all(|met| met.load(Ordering::Relaxed) > 0), "{met:?}");
    }
}

//! Values that a queue still holds when its last handle is dropped or the program ends: counted,
//! logged, listed.
//!
//! Nothing here runs when a value is added or popped. The list of living queues is written when a
//! queue is made and when its last handle is dropped.

use crate::error::ignore_panic;
use crate::model::AtomicU64;
use crate::model::locks::Mutex;
use crate::os::counted::counted;
use crate::os::fork::PerProcess;
use crate::os::tell::tell;
#[cfg(feature = "inspect")]
use crate::signal::Signal;
use crate::wait::Shared;
use log::Level;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU64 as Keys, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

/// The number of names that have a count of their own. The queues of further names share one count.
const MOST_NAMES: usize = 200;
const OTHER_NAMES: &str = "(queues of other names)";

/// Shared by the handles of one queue, besides its values. Not generic, so that a published wait
/// can refer to it.
pub(super) struct Account {
    name: Arc<str>,
    /// Living `HandleCount`s. SeqCst on creation and drop: the count is not on the path of a value,
    /// and the drop that takes it to 0 has to see what the other handles did.
    handles: AtomicUsize,
    /// Living `Adder`s. The drop that takes it to 0 closes the queue, so 0 with an open queue means
    /// that there never was an adder. SeqCst, as above.
    pub(super) adders: AtomicUsize,
    /// Living `Popper`s. The drop that takes it to 0 closes the queue. SeqCst, as above.
    pub(super) poppers: AtomicUsize,
    /// | value | means                                                | set by                 |
    /// |-------|------------------------------------------------------|------------------------|
    /// | false | values that are left are counted and logged          | the constructor        |
    /// | true  | the program has said that its values may be left     | `Queue::may_be_left`   |
    ///
    /// Relaxed: it guards no other memory.
    may_be_left: AtomicBool,
    /// The key in `LIVING`.
    key: u64,
}

impl Shared for Account {}

/// The part of a queue's handle that counts it. Not generic: a `Queue` with a `Drop` of its own
/// could not hold references to variables that are declared after it.
pub(super) struct HandleCount(Arc<Account>);

/// The parts of a store that the list of living queues reads.
pub(super) struct Parts<'a> {
    pub(super) added: &'a AtomicU64,
    pub(super) popped: &'a AtomicU64,
    #[cfg(feature = "inspect")]
    pub(super) closed: &'a Signal,
    /// `u64::MAX`: without a limit.
    #[cfg(feature = "inspect")]
    pub(super) capacity: u64,
}

/// A queue that has handles.
struct Living {
    account: Weak<Account>,
    /// `added` and `popped` of its store.
    counters: [*const AtomicU64; 2],
    #[cfg(feature = "inspect")]
    closed: *const Signal,
    #[cfg(feature = "inspect")]
    capacity: u64,
}

// SAFETY: the pointers are to atomics and to a signal, which any thread may read;
// `HandleCount::first` says for how long.
unsafe impl Send for Living {}

impl Living {
    /// The number of values in the queue.
    ///
    /// # Safety
    /// The last handle of the queue has not been dropped, or is just being dropped by the caller.
    unsafe fn len(&self) -> u64 {
        // SAFETY: as the caller has it.
        let (added, popped) = unsafe { self.counts() };
        added - popped
    }

    /// How many values were ever added, and popped.
    ///
    /// # Safety
    /// As for `len`.
    unsafe fn counts(&self) -> (u64, u64) {
        let [added, popped] = self.counters;
        // SAFETY: both counters are where they were, by the contract of `first`, since there still
        // is a handle.
        let (added, popped) = unsafe { (&*added, &*popped) };
        // Acquire, `popped` first: as in the store, it never overtakes `added`.
        let popped = popped.load(Ordering::Acquire);
        (added.load(Ordering::Acquire), popped)
    }
}

/// A forked child tells of its own queues only.
static LIVING: PerProcess<Mutex<BTreeMap<u64, Living>>> = PerProcess::new(Mutex::new(BTreeMap::new()), Mutex::default);
static DROPPED: PerProcess<Mutex<BTreeMap<Arc<str>, Dropped>>> =
    PerProcess::new(Mutex::new(BTreeMap::new()), Mutex::default);

#[derive(Clone, Copy, Default)]
struct Dropped {
    queues: u64,
    values: u64,
}

impl HandleCount {
    /// Counts the first handle of a queue whose store has these parts.
    ///
    /// # Safety
    /// The parts stay where they are, and are only reached through shared references, until
    /// the last clone of the returned count has been dropped.
    pub(super) unsafe fn first(name: Arc<str>, parts: Parts<'_>) -> HandleCount {
        static NEXT: Keys = Keys::new(0);
        // Relaxed: only that each key is given once matters.
        let key = NEXT.fetch_add(1, Ordering::Relaxed);
        let account = Arc::new(Account {
            name,
            handles: AtomicUsize::new(1),
            adders: AtomicUsize::new(0),
            poppers: AtomicUsize::new(0),
            may_be_left: AtomicBool::new(false),
            key,
        });
        let living = Living {
            account: Arc::downgrade(&account),
            counters: [parts.added, parts.popped],
            #[cfg(feature = "inspect")]
            closed: parts.closed,
            #[cfg(feature = "inspect")]
            capacity: parts.capacity,
        };
        LIVING.lock().insert(key, living);
        HandleCount(account)
    }

    pub(super) fn shared(&self) -> Weak<dyn Shared> {
        Arc::<Account>::downgrade(&self.0)
    }
}

impl Clone for HandleCount {
    fn clone(&self) -> HandleCount {
        self.0.handles.fetch_add(1, Ordering::SeqCst);
        HandleCount(self.0.clone())
    }
}

impl Drop for HandleCount {
    fn drop(&mut self) {
        if self.0.handles.fetch_sub(1, Ordering::SeqCst) != 1 {
            return;
        }
        let living = LIVING.lock().remove(&self.0.key);
        // SAFETY: this is the last handle, and it is just being dropped.
        let values = living.map_or(0, |living| unsafe { living.len() });
        let cure = "Queue::pop_draining pops on after a stop; Queue::may_be_left says that this is right";
        self.0.lose(values, format_args!("was dropped with"), cure);
    }
}

impl Deref for HandleCount {
    type Target = Account;

    fn deref(&self) -> &Account {
        &self.0
    }
}

impl Account {
    pub(super) fn allow(&self) {
        self.may_be_left.store(true, Ordering::Relaxed);
    }

    /// Counts `values` that were never handled. `how` tells why; `cure` tells what to do about it.
    pub(super) fn lose(&self, values: u64, how: fmt::Arguments<'_>, cure: &str) {
        if values == 0 || self.may_be_left.load(Ordering::Relaxed) {
            return;
        }
        let of_name = {
            let mut dropped = DROPPED.lock();
            let known = dropped.contains_key(&self.name) || dropped.len() < MOST_NAMES;
            let name = if known { self.name.clone() } else { Arc::from(OTHER_NAMES) };
            let of_name = dropped.entry(name).or_default();
            of_name.queues += 1;
            of_name.values += values;
            *of_name
        };
        // A program may drop thousands of such queues. Of each name the 1st, 2nd, 4th, 8th… is
        // logged. The report at the end counts all.
        if of_name.queues.is_power_of_two() {
            ignore_panic(|| warn(&self.name, values, how, cure, of_name));
        }
    }
}

fn warn(name: &str, values: u64, how: fmt::Arguments<'_>, cure: &str, all: Dropped) {
    let more = match all.queues {
        1 => format!(" ({cure})"),
        queues => format!("; {} in {queues} queues of this name so far", counted(all.values, "value")),
    };
    let text = format!("queue \"{name}\" {how} {}, which nothing has popped{more}", counted(values, "value"));
    tell(Level::Warn, "selvedge::queue", &text);
}

/// Values that were dropped in queues of one name, without having been popped; see
/// [`left_in_queues`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftInQueue {
    name: Arc<str>,
    values: u64,
    queues: u64,
}

impl LeftInQueue {
    /// The name of the queue, or of several queues.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The number of values that were dropped.
    pub fn values(&self) -> u64 {
        self.values
    }

    /// The number of queues of this name that were dropped with values in them.
    pub fn queues(&self) -> u64 {
        self.queues
    }
}

impl fmt::Display for LeftInQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" {}", self.name, counted(self.values, "value"))?;
        if self.queues > 1 { write!(f, " in {} queues", self.queues) } else { Ok(()) }
    }
}

/// The values that were dropped in queues without having been popped, by the queues' names, since
/// the runtime began; without a runtime since the process began. Empty if nothing was lost.
///
/// A queue that was made with [`Queue::may_be_left`](super::Queue::may_be_left) is not listed. The
/// messages that an actor did not handle are listed as `messages of <name>`. After 200 different
/// names, the queues of all further names are counted together. Does not block.
///
/// ```
/// use selvedge::{Queue, left_in_queues};
///
/// let jobs = Queue::unbounded("chores");
/// jobs.extend(["sweep", "mop"]).unwrap();
/// drop(jobs);
/// let left = left_in_queues();
/// let chores = left.iter().find(|left| left.name() == "chores").unwrap();
/// assert_eq!((chores.values(), chores.to_string().as_str()), (2, "\"chores\" 2 values"));
/// ```
pub fn left_in_queues() -> Vec<LeftInQueue> {
    let dropped = DROPPED.lock();
    let left = |(name, dropped): (&Arc<str>, &Dropped)| LeftInQueue {
        name: name.clone(),
        values: dropped.values,
        queues: dropped.queues,
    };
    dropped.iter().map(left).collect()
}

/// The values that are in queues now, except queues whose values may be left.
pub(crate) fn still_in_queues() -> Vec<LeftInQueue> {
    let mut held: BTreeMap<Arc<str>, Dropped> = BTreeMap::new();
    // Dropped after the lock: one of these may be the last reference to an account.
    let mut accounts = Vec::new();
    let living = LIVING.lock();
    for queue in living.values() {
        let Some(account) = queue.account.upgrade() else { continue };
        // SAFETY: the queue is in LIVING, whose lock is held. The drop of its last handle takes it
        // out under that lock.
        let values = unsafe { queue.len() };
        if values > 0 && !account.may_be_left.load(Ordering::Relaxed) {
            let of_name = held.entry(account.name.clone()).or_default();
            of_name.queues += 1;
            of_name.values += values;
        }
        accounts.push(account);
    }
    drop(living);
    held.into_iter().map(|(name, held)| LeftInQueue { name, values: held.values, queues: held.queues }).collect()
}

/// A queue that has handles, as it is now.
#[cfg(feature = "inspect")]
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct QueueNow {
    pub(crate) id: u64,
    #[serde(serialize_with = "as_text")]
    pub(crate) name: Arc<str>,
    pub(crate) len: u64,
    /// `None`: without a limit.
    pub(crate) capacity: Option<u64>,
    pub(crate) closed: bool,
    /// How many values were ever added, and popped.
    pub(crate) added: u64,
    pub(crate) popped: u64,
}

#[cfg(feature = "inspect")]
fn as_text<S: serde::Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

/// The queues that have handles, the oldest first. Called for the answers of the room `inspect`.
#[cfg(feature = "inspect")]
pub(crate) fn living() -> Vec<QueueNow> {
    // Dropped after the lock: one of these may be the last reference to an account.
    let mut accounts = Vec::new();
    let living = LIVING.lock();
    let mut found = Vec::with_capacity(living.len());
    for (&id, queue) in living.iter() {
        let Some(account) = queue.account.upgrade() else { continue };
        // SAFETY: the queue is in LIVING, whose lock is held. The drop of its last handle takes it
        // out under that lock.
        let ((added, popped), closed) = unsafe { (queue.counts(), (*queue.closed).is_go()) };
        found.push(QueueNow {
            id,
            name: account.name.clone(),
            len: added - popped,
            capacity: Some(queue.capacity).filter(|capacity| *capacity != u64::MAX),
            closed,
            added,
            popped,
        });
        accounts.push(account);
    }
    drop(living);
    found
}

/// How many values a queue has now.
#[cfg(feature = "profiling")]
pub(crate) struct Depth {
    /// No other queue of this process has or had it.
    pub(crate) id: u64,
    /// `None` if the caller knows the name.
    pub(crate) name: Option<Arc<str>>,
    pub(crate) len: u64,
}

/// The depths of the queues that have handles, the oldest first. `knows_name`: called with the list's
/// lock held, with a queue's id. Nothing on the path of a value is touched but the two counters.
#[cfg(feature = "profiling")]
pub(crate) fn depths(knows_name: impl Fn(u64) -> bool) -> Vec<Depth> {
    // Dropped after the lock: one of these may be the last reference to an account.
    let mut accounts = Vec::new();
    let living = LIVING.lock();
    let mut depths = Vec::with_capacity(living.len());
    for (&id, queue) in living.iter() {
        let account = if knows_name(id) { None } else { queue.account.upgrade() };
        let name = account.as_ref().map(|account| account.name.clone());
        // SAFETY: the queue is in LIVING, whose lock is held. The drop of its last handle takes it
        // out under that lock.
        depths.push(Depth { id, name, len: unsafe { queue.len() } });
        accounts.extend(account);
    }
    drop(living);
    depths
}

/// Forgets what was lost: a runtime begins.
pub(crate) fn begin() {
    let forgotten = std::mem::take(&mut *DROPPED.lock());
    drop(forgotten);
}

#[cfg(all(test, not(selvedge_model)))]
mod tests {
    use super::*;
    use crate::queue::Queue;

    #[test]
    fn values_that_may_be_left_are_not_still_in_queues() {
        let told = |name: &str| {
            let all = still_in_queues();
            all.iter().find(|queue| queue.name() == name).map_or(0, LeftInQueue::values)
        };
        let (ticks, jobs) =
            (Queue::unbounded("ticks that are held").may_be_left(), Queue::unbounded("jobs that are held"));
        ticks.extend(0..3).unwrap();
        jobs.extend(0..2).unwrap();
        assert_eq!((told("ticks that are held"), told("jobs that are held")), (0, 2));
        assert_eq!(jobs.close_and_take(), [0, 1]);
        assert_eq!(told("jobs that are held"), 0);
    }
}

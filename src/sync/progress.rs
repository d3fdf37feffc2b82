//! The cell – – I: a number that only grows.
//!
//! Invariants
//! 1. The number is `at`, or u64::MAX if `at` has come to `END`. It never falls.
//! 2. `at` never wraps. An addition is of less than 2^32. A thread whose addition ends at `END` or
//!    above sets `at` back to `END` before it adds again. So `at` is above `END` by at most one
//!    addition of each thread, and there are 2^24 of these up to the end of u64. No system has so
//!    many threads.
//! 3. `next` is the lowest number in `marks`, and at most `END`; both change under `marks`.
//! 4. The advancing thread writes `at` and then reads `next`. The waiting thread writes `next` and
//!    then reads `at`. All four are SeqCst, so at least one of the two threads sees the other's
//!    write.
//! 5. A mark leaves `marks` when the number is reached, or when there is no other handle to it and
//!    nothing is attached to it.
//!
//! Models: `loom_progress_*` in `sync/loom_tests.rs`, and `sync/model_tests.rs`.

use super::limit::Limit;
use crate::model::{AtomicU64, Mutex};
use crate::signal::{BatchWake, Signal};
use crate::wait::WaitDescription;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A number that only grows, and that can be waited for: lines written, blocks verified, generation
/// reached.
///
/// In the cube of resource × binary × irreversible it is the cell "counted, irreversible, without
/// an owner": a [`Signal`] with many steps. Clones are handles to the same progress.
///
/// It counts up to 2^64 − 2^56. Each number from there on is one and the same, `u64::MAX`, and the
/// last.
///
/// Peers are Java's `Phaser` and Reed and Kanodia's *eventcount* (1979); `sync.WaitGroup` and
/// `CountDownLatch` count down to one mark only.
///
/// # Memory ordering
/// What a thread did before it advanced is visible to each thread that sees the number as reached.
///
/// # Example
/// ```
/// use selvedge::{Progress, spawn};
///
/// let written = Progress::new("blocks written");
/// let half = written.at(50);
/// let writer = spawn("writer", {
///     let written = written.clone();
///     move |please_stop| {
///         while written.get() < 100 && !please_stop.is_go() {
///             // … write a block …
///             written.advance(1);
///         }
///     }
/// });
/// half.wait_for_go();
/// assert!(written.get() >= 50);
/// written.wait_for(100);
/// writer.join().unwrap();
/// ```
#[derive(Clone)]
pub struct Progress(Arc<Inner>);

struct Inner {
    name: Arc<str>,
    /// | value     | the number | stored by |
    /// |-----------|------------|-----------|
    /// | below END | the value  | additions of the advancing threads |
    /// | from END on | u64::MAX | the same, and the thread that sets it back to END |
    at: AtomicU64,
    next: AtomicU64,
    marks: Mutex<Marks>,
}

#[derive(Default)]
struct Marks {
    signals: BTreeMap<u64, Signal>,
    /// When there are more marks than this, the unused ones are removed.
    sweep_above: usize,
}

/// From here on `at` stands for u64::MAX.
const END: u64 = u64::MAX - ((1 << 56) - 1);

/// More steps are not added in one instruction: see invariant 2.
const MOST_STEPS: u64 = u32::MAX as u64;

/// The number, by the value of `at`.
#[inline]
fn number(at: u64) -> u64 {
    if at < END { at } else { u64::MAX }
}

/// Fewer marks than this are not worth a sweep.
const FEW: usize = 32;

impl Progress {
    /// A progress that is at 0.
    pub fn new(name: impl AsRef<str>) -> Progress {
        Progress(Arc::new(Inner {
            name: Arc::from(name.as_ref()),
            at: AtomicU64::new(0),
            next: AtomicU64::new(END),
            marks: Mutex::default(),
        }))
    }

    /// Goes on by `steps` and returns the new number; it stays at `u64::MAX` when it gets there.
    /// Runs the targets of the marks it passes, on the calling thread.
    #[inline]
    pub fn advance(&self, steps: u64) -> u64 {
        let inner = &*self.0;
        if steps > MOST_STEPS {
            return inner.advance_far(steps);
        }
        // One addition, not a loop that compares and exchanges: that takes a quarter longer, as it
        // must load the number first. SeqCst: see invariant 4. It includes the Release that hands
        // on what was done before. It does not wrap: see invariant 2.
        let at = inner.at.fetch_add(steps, Ordering::SeqCst).wrapping_add(steps);
        inner.passed(at);
        number(at)
    }

    /// Goes on to `number`. If it is there or beyond already, does nothing and returns `false`.
    #[inline]
    pub fn advance_to(&self, number: u64) -> bool {
        let (inner, to) = (&*self.0, number.min(END));
        let from = inner.at.fetch_max(to, Ordering::SeqCst);
        if from >= to {
            return false;
        }
        inner.passed(to);
        true
    }

    /// Where it is. One atomic load.
    #[inline]
    pub fn get(&self) -> u64 {
        // Acquire pairs with the release in `advance`.
        number(self.0.at.load(Ordering::Acquire))
    }

    /// Waits until it is at `number` or beyond.
    ///
    /// # Blocking
    /// Until a thread has advanced it that far. A thread with a `please_stop` wants
    /// [`wait_for_till`](Self::wait_for_till).
    pub fn wait_for(&self, number: u64) {
        // Without a limit it cannot give up.
        while !self.wait_within(number, || Limit::NONE) {}
    }

    /// [`wait_for`](Self::wait_for), but gives up when `till` goes, and then returns `false`. If
    /// the number is reached and `till` has gone, the number wins, as with
    /// [`Signal::wait_for_go_till`]: a mark that was passed stays passed.
    ///
    /// # Blocking
    /// Until a thread has advanced it that far, or `till` goes.
    pub fn wait_for_till(&self, number: u64, till: &Signal) -> bool {
        self.wait_within(number, || Limit::till(till))
    }

    /// [`wait_for`](Self::wait_for), but gives up when `timeout` has passed, and then returns
    /// `false`.
    ///
    /// # Blocking
    /// Until a thread has advanced it that far, or `timeout` has passed.
    pub fn wait_for_timeout(&self, number: u64, timeout: Duration) -> bool {
        self.wait_within(number, || Limit::timeout(timeout))
    }

    /// A signal that goes when the progress is at `number` or beyond: to combine with others, or to
    /// attach targets to. The caller may also let it [`go`](Signal::go) earlier. Then it tells
    /// nothing about the number any more.
    ///
    /// A mark without a handle, a waiting thread or a target is removed.
    ///
    /// ```
    /// # use selvedge::{Progress, Till}; use std::time::Duration;
    /// let warmed_up = Progress::new("requests served");
    /// let warm = warmed_up.at(1000) | Till::after(Duration::from_millis(5));
    /// warm.wait_for_go();
    /// ```
    #[must_use = "a mark that is dropped does nothing"]
    pub fn at(&self, number: u64) -> Signal {
        self.0.mark(number)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    fn wait_within<'a>(&self, number: u64, limit: impl FnOnce() -> Limit<'a>) -> bool {
        if self.get() >= number {
            return true;
        }
        let inner = &*self.0;
        let publish = || {
            let name = Arc::from(format!("{} at {number}", inner.name));
            WaitDescription::new("progress", name).stable_name(inner.name.clone()).publish()
        };
        let limit = limit();
        loop {
            let mark = inner.mark(number);
            let outcome = limit.wait_for(&mark, publish);
            drop(mark);
            // The number decides, not the mark: a thread may have let the mark go by hand.
            if self.get() >= number {
                return true;
            }
            inner.forget_if_unused(number);
            if outcome.is_err() {
                return false;
            }
        }
    }
}

impl Inner {
    #[inline]
    fn passed(&self, at: u64) {
        if at >= self.next.load(Ordering::SeqCst) {
            self.passed_next(at);
        }
    }

    #[cold]
    fn passed_next(&self, at: u64) {
        if at >= END {
            // SeqCst, as for each change of `at`. An exchange and not a store, so that a thread that
            // sees it sees what the threads before did.
            self.at.swap(END, Ordering::SeqCst);
        }
        self.go_up_to(number(at));
    }

    #[cold]
    fn advance_far(&self, steps: u64) -> u64 {
        let far = |at: u64| Some(at.saturating_add(steps).min(END));
        // SeqCst, as in `advance`; Relaxed: the load decides nothing.
        let from = self.at.fetch_update(Ordering::SeqCst, Ordering::Relaxed, far);
        let at = from.unwrap_or_else(|at| at).saturating_add(steps).min(END);
        self.passed(at);
        number(at)
    }

    #[cold]
    fn go_up_to(&self, at: u64) {
        let reached = {
            let mut marks = self.marks.lock();
            // u64::MAX can be reached, and has no successor.
            let beyond = match at.checked_add(1) {
                Some(beyond) => marks.signals.split_off(&beyond),
                None => BTreeMap::new(),
            };
            let reached = std::mem::replace(&mut marks.signals, beyond);
            self.set_next(&marks);
            reached
        };
        // Unlocked: it runs targets, when all have gone.
        let mut batch = BatchWake::default();
        for signal in reached.values() {
            batch.go_unexplained(signal);
            batch.wake();
        }
    }

    fn set_next(&self, marks: &Marks) {
        let next = marks.signals.first_key_value().map_or(END, |(number, _)| *number);
        self.next.store(next.min(END), Ordering::SeqCst);
    }

    fn mark(&self, number: u64) -> Signal {
        let signal = {
            let mut marks = self.marks.lock();
            if self::number(self.at.load(Ordering::SeqCst)) >= number {
                // Not Signal::gone(): this signal has a name of its own.
                let passed = Signal::mark(&self.name, number);
                passed.go_unexplained();
                return passed;
            }
            // A signal that was let go by hand is no mark any more.
            let known = marks.signals.get(&number).filter(|mark| !mark.is_go()).cloned();
            if let Some(known) = known {
                return known;
            }
            #[cfg(all(test, not(selvedge_model)))]
            crate::model::meanwhile::happens();
            marks.sweep();
            let signal = Signal::mark(&self.name, number);
            marks.signals.insert(number, signal.clone());
            self.set_next(&marks);
            signal
        };
        // It may have been passed before `next` was written.
        let at = self::number(self.at.load(Ordering::SeqCst));
        if at >= number {
            self.go_up_to(at);
        }
        signal
    }

    fn forget_if_unused(&self, number: u64) {
        let mut marks = self.marks.lock();
        if marks.signals.get(&number).is_some_and(|mark| mark.is_go() || mark.is_unused()) {
            // Nothing is attached to it, so nothing of the user's runs here.
            marks.signals.remove(&number);
            self.set_next(&marks);
        }
    }
}

impl Marks {
    /// Removes unused marks once the number of marks has doubled. So the cost for each new mark is
    /// constant on average.
    fn sweep(&mut self) {
        if self.signals.len() >= self.sweep_above.max(FEW) {
            self.signals.retain(|_, mark| !mark.is_unused());
            self.sweep_above = 2 * self.signals.len();
        }
    }
}

#[cfg(all(test, not(selvedge_model)))]
impl Progress {
    pub(super) fn mark_count(&self) -> usize {
        self.0.marks.lock().signals.len()
    }

    /// How far the last additions have gone beyond the last number.
    pub(super) fn beyond_end(&self) -> u64 {
        self.0.at.load(Ordering::SeqCst).saturating_sub(END)
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Progress({}, at {})", self.name(), self.get())
    }
}

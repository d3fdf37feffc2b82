//! The stacks of blocking calls, and of calls that let go what other threads wait for. A recording
//! installs what takes them, since the unwinder is a room above.
//!
//! The calling thread takes its own stack, when its sleep has ended, with no lock held. Which waits
//! get a stack is drawn in `sampling`.

use super::ender::{is_on, nanos};
use super::sampling::{self, Sampling, Weight};
use super::stack_sums::{StackNumber, TakenStack};
use crate::model::locks::Mutex;
use crate::os::fork::PerProcess;
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Takes stacks for a recording that counts waits.
pub(crate) trait TakeStacks: Send + Sync {
    /// Takes the stack of the calling thread. `None`: it could not be had, which is counted.
    fn take(&self) -> Option<StackNumber>;

    /// The calling thread has let something go. Threads that waited for it had waited `weight`
    /// since the last such call.
    fn let_go(&self, weight: Weight);
}

/// The running recording. A forked child has none.
static TAKER: PerProcess<Mutex<Option<Arc<dyn TakeStacks>>>> = PerProcess::new(Mutex::new(None), Mutex::default);

/// When it began, on the clock of the stamps. Relaxed: a number.
static SINCE: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static OWN_WAITS: Cell<Sampling> = const { Cell::new(Sampling::NEW) };
    static LET_GO: Cell<Sampling> = const { Cell::new(Sampling::NEW) };
}

/// The recording that takes stacks from now on; `None`: none does.
pub(crate) fn set_taker(taker: Option<Arc<dyn TakeStacks>>) {
    SINCE.store(nanos(Instant::now()), Ordering::Relaxed);
    let before = std::mem::replace(&mut *TAKER.lock(), taker);
    drop(before);
}

/// Now, on the clock of the stamps; 0 while no recording counts waits.
#[inline]
pub(crate) fn counted_now() -> u64 {
    if is_on() { nanos(Instant::now()) } else { 0 }
}

/// When the recording began that counts waits.
pub(crate) fn counted_since() -> u64 {
    SINCE.load(Ordering::Relaxed)
}

fn taker() -> Option<Arc<dyn TakeStacks>> {
    TAKER.lock().clone()
}

/// The calling thread has slept for `nanos`. Returns what that weighs, and the stack of the
/// blocking call, if it gets one.
#[inline]
pub(super) fn after_sleep(nanos: u64) -> Option<TakenStack> {
    let weight = OWN_WAITS.try_with(|own| sampling::draw(own, nanos)).ok().flatten()?;
    Some(TakenStack { weight, stack: take() })
}

/// The stack of the calling thread.
#[cold]
pub(super) fn take() -> Option<StackNumber> {
    taker()?.take()
}

/// The calling thread has let something go, with no lock held. Threads that waited for it had
/// waited for `nanos` in all since it, or another thread, last let that go. Called by the unlocking
/// thread in `sync/permits.rs` and `sync/sequencer.rs`.
#[inline]
pub(crate) fn let_go(nanos: u64) {
    if nanos > 0
        && is_on()
        && let Some(weight) = LET_GO.try_with(|own| sampling::draw(own, nanos)).ok().flatten()
        && let Some(taker) = taker()
    {
        taker.let_go(weight);
    }
}

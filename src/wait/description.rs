//! What a blocking call waits for, and which threads can end the wait. Data only: where it is
//! published, and which thread the caller is, stand in other files.

use super::holder::{Holder, Users};
#[cfg(feature = "profiling")]
use super::slept::Slept;
#[cfg(feature = "profiling")]
use super::stack_sums::StackNumber;
#[cfg(feature = "profiling")]
use super::times::Label;
#[cfg(feature = "profiling")]
use super::totals::WaitTotals;
use crate::os;
use std::cell::Cell;
use std::fmt;
use std::panic::Location;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// One blocking call that has not returned yet.
#[derive(Clone, Debug)]
pub struct Wait {
    pub(super) description: WaitDescription,
    pub(super) since: Instant,
    /// Tells this call from all other calls that publish in the same slot.
    pub(super) serial: u64,
    /// The number of the calling thread; 0 if it has held nothing yet.
    pub(super) thread: u64,
    /// How long the thread has slept in it, without the sleep that the slot counts now.
    #[cfg(feature = "profiling")]
    pub(super) slept: Slept,
    /// The number of its entry in the thread's [`WaitTotals`], if the thread has slept in it while a
    /// recording counted.
    #[cfg(feature = "profiling")]
    pub(super) entry: Option<u16>,
    /// Its stack, while it goes on, if a recording has asked for that.
    #[cfg(feature = "profiling")]
    pub(super) present_stack: Option<StackNumber>,
}

/// What a blocking call waits for, and which threads can end the wait.
#[derive(Clone, Debug)]
pub(crate) struct WaitDescription {
    pub(super) kind: &'static str,
    pub(super) name: Arc<str>,
    /// The name without a part that differs at each call, as a running number does; `None` if it
    /// has no such part.
    #[cfg_attr(not(feature = "profiling"), allow(dead_code))] // names are built the same way with and without it
    stable_name: Option<Arc<str>>,
    /// Where in the source the call is, if it knows.
    pub(super) place: Option<&'static Location<'static>>,
    pub(super) unblocker: Unblocker,
    handles: Option<Handles>,
    /// It has a deadline, or a `till` that can go.
    limited: bool,
}

/// The threads that can end a wait.
#[derive(Clone, Debug)]
pub(crate) enum Unblocker {
    /// Not known.
    Unknown,
    /// The holder. It cannot pass on what it holds to another thread.
    Holder(Arc<Holder>),
    /// The thread that got the turn, if it was not passed on.
    Turn(Arc<Holder>),
    /// The thread that has the claim. This is the thread that took it; mostly the claim is passed
    /// on.
    Claimed(Arc<Holder>),
    /// The thread of the tree with this id, by its end.
    Thread(u64),
    /// The threads that use the other side of a queue. These have been seen to use it.
    Users(Arc<Users>),
}

/// The handles to what a wait is for. Only a thread with a handle can end the wait.
#[derive(Clone)]
pub(crate) struct Handles {
    /// Weak, so that looking does not count.
    pub(crate) shared: Weak<dyn Shared>,
    /// The waiting thread's handle is in a variable of its own, and lent to no thread of a scope.
    pub(crate) own: bool,
}

/// A thing that threads reach through handles. The search for deadlocks asks it.
pub(crate) trait Shared: Send + Sync {
    /// Returns `true` if the `known` handles, whose owners are all blocked, are the only ones among
    /// `all` that could end a wait for it.
    fn is_left_to(&self, known: usize, all: usize) -> bool {
        all <= known
    }
}

/// For types whose only relevant state is the handle count; each handle holds one clone.
impl Shared for () {}

impl Handles {
    /// For a wait by the handle at `handle`, of the calling thread.
    pub(crate) fn of<H>(handle: &H, shared: Weak<dyn Shared>) -> Handles {
        let own = LENDING.try_with(Cell::get).is_ok_and(|depth| depth == 0) && os::is_on_own_stack(handle);
        Handles { shared, own }
    }
}

impl fmt::Debug for Handles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handles({}, own: {})", self.shared.strong_count(), self.own)
    }
}

thread_local! {
    /// How many scopes the calling thread has open: their threads may borrow its variables.
    static LENDING: Cell<u32> = const { Cell::new(0) };
}

/// The calling thread lends its variables to others, until the guard drops. Called by `scope` of the
/// room `thread`.
pub(crate) fn lend() -> Lending {
    let _ = LENDING.try_with(|depth| depth.set(depth.get() + 1));
    Lending(())
}

pub(crate) struct Lending(());

impl Drop for Lending {
    fn drop(&mut self) {
        let _ = LENDING.try_with(|depth| depth.set(depth.get() - 1));
    }
}

impl WaitDescription {
    /// A wait that any thread may end.
    pub(crate) fn new(kind: &'static str, name: Arc<str>) -> WaitDescription {
        WaitDescription {
            kind,
            name,
            stable_name: None,
            place: None,
            unblocker: Unblocker::Unknown,
            handles: None,
            limited: false,
        }
    }

    pub(crate) fn unblocker(self, unblocker: Unblocker) -> WaitDescription {
        WaitDescription { unblocker, ..self }
    }

    pub(crate) fn handles(self, handles: Handles) -> WaitDescription {
        WaitDescription { handles: Some(handles), ..self }
    }

    pub(crate) fn limited(self, limited: bool) -> WaitDescription {
        WaitDescription { limited, ..self }
    }

    /// Sets the part of the name that stays the same from call to call.
    pub(crate) fn stable_name(self, name: Arc<str>) -> WaitDescription {
        WaitDescription { stable_name: Some(name), ..self }
    }

    pub(crate) fn at(self, place: &'static Location<'static>) -> WaitDescription {
        WaitDescription { place: Some(place), ..self }
    }
}

impl Wait {
    /// What kind of thing is waited for: `signal`, `queue`, `room in queue`, `thread`, `lock`,
    /// `monitor`, `semaphore`, and so on.
    pub fn kind(&self) -> &'static str {
        self.description.kind
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.description.name
    }

    /// The label that its time is counted under. The name in it has no part that differs at each
    /// call, since a profile must not have a new frame for each.
    #[cfg(feature = "profiling")]
    pub(crate) fn label(&self) -> Label {
        let holder = match &self.description.unblocker {
            Unblocker::Holder(holder) | Unblocker::Turn(holder) => holder.number(),
            _ => 0,
        };
        let name = self.description.stable_name.as_ref().unwrap_or(&self.description.name);
        Label { kind: self.description.kind, name: Some(name.clone()), holder }
    }

    /// When the call began to block.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// How long it has blocked so far.
    pub fn elapsed(&self) -> Duration {
        self.since.elapsed()
    }

    pub(crate) fn unblocker(&self) -> &Unblocker {
        &self.description.unblocker
    }

    pub(crate) fn handles(&self) -> Option<&Handles> {
        self.description.handles.as_ref()
    }

    /// Returns `true` if a deadline or a `till` may end it.
    pub(crate) fn is_limited(&self) -> bool {
        self.description.limited
    }

    /// Counts it in `totals`, if the thread has slept in it. Returns `true` if no such wait has a
    /// stack yet.
    #[cfg(feature = "profiling")]
    pub(super) fn count_into(&self, slept: Slept, totals: &mut WaitTotals, name_of: fn(u64) -> Arc<str>) -> bool {
        slept.is_any && {
            let entry = self.entry_in(totals);
            totals.add(entry, slept.nanos, slept.by, slept.taken, name_of)
        }
    }

    /// The stack of the call, as the first of its name and its ender.
    #[cfg(feature = "profiling")]
    pub(super) fn add_stack(&self, stack: StackNumber, totals: &mut WaitTotals) {
        let entry = self.entry_in(totals);
        totals.add_stack(entry, self.slept.by, stack);
    }

    /// The number of its entry in `totals`, which is its thread's or a copy of that.
    #[cfg(feature = "profiling")]
    pub(super) fn entry_in(&self, totals: &mut WaitTotals) -> u16 {
        self.entry.unwrap_or_else(|| {
            let name = self.description.stable_name.as_ref().unwrap_or(&self.description.name);
            totals.entry(self.description.kind, name)
        })
    }

    pub(crate) fn serial(&self) -> u64 {
        self.serial
    }

    pub(crate) fn thread(&self) -> u64 {
        self.thread
    }
}

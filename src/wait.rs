//! The identity of the calling thread, what it waits for, and which thread holds that. Below
//! `signal`, because every blocking call publishes here. The tree, the dump and the wall-clock
//! profile read it.

#[cfg(feature = "profiling")]
mod bell;
mod holder;
#[cfg(all(test, feature = "profiling", selvedge_loom))]
mod loom_tests;
mod slot;
#[cfg(all(test, not(selvedge_model)))]
mod tests;
#[cfg(feature = "profiling")]
mod times;

#[cfg(feature = "profiling")]
pub(crate) use self::bell::Bells;
pub(crate) use self::holder::{Holder, Users, is_alive};
#[cfg(feature = "profiling")]
pub(crate) use self::slot::Shown;
pub(crate) use self::slot::Slot;
#[cfg(feature = "profiling")]
pub(crate) use self::times::{Label, Waited};

use self::holder::{number_if_any, renamed};
use self::slot::Waits;
use crate::os;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::Location;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// One blocking call that has not returned yet.
#[derive(Clone, Debug)]
pub struct Wait {
    what: What,
    since: Instant,
    /// Tells this call from all other calls that publish in the same slot.
    serial: u64,
    /// The number of the calling thread; 0 if it has held nothing yet.
    thread: u64,
}

/// What a blocking call waits for, and which threads can end the wait.
#[derive(Clone, Debug)]
pub(crate) struct What {
    kind: &'static str,
    name: Arc<str>,
    /// The name without a part that differs at each call, as a running number does; `None` if it
    /// has no such part.
    #[cfg_attr(not(feature = "profiling"), allow(dead_code))] // names are built the same way with and without it
    lasting: Option<Arc<str>>,
    /// Where in the source the call is, if it knows.
    place: Option<&'static Location<'static>>,
    ends: Ends,
    handles: Option<Handles>,
    /// It has a deadline, or a `till` that can go.
    limited: bool,
}

/// The threads that can end a wait.
#[derive(Clone, Debug)]
pub(crate) enum Ends {
    /// Not known.
    Anyhow,
    /// The holder. What it holds cannot be passed on to another thread.
    Held(Arc<Holder>),
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

/// What is reached through handles.
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

/// The calling thread lends its variables to others, until the guard drops.
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

impl What {
    /// Something that anybody may bring about.
    pub(crate) fn new(kind: &'static str, name: Arc<str>) -> What {
        What { kind, name, lasting: None, place: None, ends: Ends::Anyhow, handles: None, limited: false }
    }

    pub(crate) fn ends(self, ends: Ends) -> What {
        What { ends, ..self }
    }

    pub(crate) fn handles(self, handles: Handles) -> What {
        What { handles: Some(handles), ..self }
    }

    pub(crate) fn limited(self, limited: bool) -> What {
        What { limited, ..self }
    }

    /// Sets the part of the name that stays the same from call to call.
    pub(crate) fn lasting(self, name: Arc<str>) -> What {
        What { lasting: Some(name), ..self }
    }

    pub(crate) fn at(self, place: &'static Location<'static>) -> What {
        What { place: Some(place), ..self }
    }

    /// Publishes the wait until the guard drops. A wait within a wait shows the inner one, then the
    /// outer one again.
    pub(crate) fn publish(self) -> Published {
        self.publish_since(Instant::now())
    }

    /// The same for a wait that began before it is published: a call that first looks again for
    /// less than a microsecond, and mostly has what it waits for by then, publishes only after
    /// that.
    pub(crate) fn publish_since(self, since: Instant) -> Published {
        let slot = ME.try_with(|me| me.borrow().as_ref().map(|me| me.slot.clone())).ok().flatten();
        let serial = slot.as_ref().map_or(0, |slot| {
            let change = |waits: &mut Waits| {
                waits.last += 1;
                let serial = waits.last;
                waits.now.push(Wait { what: self, since, serial, thread: number_if_any() });
                serial
            };
            slot.change(|| since, change)
        });
        Published { slot, serial }
    }
}

impl Wait {
    /// What kind of thing is waited for: `signal`, `queue`, `room in queue`, `thread`, `lock`,
    /// `monitor`, `semaphore`, and so on.
    pub fn kind(&self) -> &'static str {
        self.what.kind
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.what.name
    }

    /// What its time is counted under: its name is without what is another one at each call, since
    /// a profile must not have a new frame for each.
    #[cfg(feature = "profiling")]
    pub(crate) fn label(&self) -> Label {
        let holder = match &self.what.ends {
            Ends::Held(holder) | Ends::Turn(holder) => holder.number(),
            _ => 0,
        };
        let name = self.what.lasting.as_ref().unwrap_or(&self.what.name);
        Label { kind: self.what.kind, name: Some(name.clone()), holder }
    }

    /// When the call began to block.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// How long it has blocked so far.
    pub fn elapsed(&self) -> Duration {
        self.since.elapsed()
    }

    /// The path of the thread that holds the lock or monitor, or has the turn before, as of this
    /// call. `None` while no thread does, and for waits for other things.
    pub fn holder(&self) -> Option<Arc<str>> {
        match &self.what.ends {
            Ends::Held(holder) | Ends::Turn(holder) => holder.path(),
            _ => None,
        }
    }

    /// Where in the source the holder took it, as of this call.
    pub fn held_since(&self) -> Option<&'static Location<'static>> {
        match &self.what.ends {
            Ends::Held(holder) | Ends::Turn(holder) => holder.place(),
            _ => None,
        }
    }

    pub(crate) fn ends(&self) -> &Ends {
        &self.what.ends
    }

    pub(crate) fn handles(&self) -> Option<&Handles> {
        self.what.handles.as_ref()
    }

    /// Returns `true` if a deadline or a `till` may end it.
    pub(crate) fn is_limited(&self) -> bool {
        self.what.limited
    }

    pub(crate) fn serial(&self) -> u64 {
        self.serial
    }

    pub(crate) fn thread(&self) -> u64 {
        self.thread
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "waiting {:.1?} for {} \"{}\"", self.elapsed(), self.what.kind, self.what.name)?;
        if let Some(place) = self.what.place {
            write!(f, " at {}:{}", place.file(), place.line())?;
        }
        if let Some(holder) = self.holder() {
            write!(f, ", held by {holder}")?;
        }
        if let Some(place) = self.held_since() {
            write!(f, " since {}:{}", place.file(), place.line())?;
        }
        match &self.what.ends {
            Ends::Claimed(holder) => holder.path().map_or(Ok(()), |path| write!(f, ", claimed by {path}")),
            _ => Ok(()),
        }
    }
}

struct Me {
    path: Arc<str>,
    slot: Arc<Slot>,
}

thread_local! {
    static ME: RefCell<Option<Me>> = const { RefCell::new(None) };
}

/// From now on the calling thread is `path` and publishes into `slot`. Returns its identity before.
pub(crate) fn become_thread(path: Arc<str>, slot: Arc<Slot>) -> Before {
    let before = Before(ME.try_with(|me| me.replace(Some(Me { path, slot }))).ok().flatten());
    renamed();
    before
}

/// The same, until the thread ends or gets another identity. Its identity before is dropped.
pub(crate) fn become_thread_for_good(path: Arc<str>, slot: Arc<Slot>) {
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
        // After its locals are destroyed, a thread has no identity any more.
        let ended = ME.try_with(|me| me.replace(self.0.take())).ok().flatten();
        drop(ended);
        renamed();
    }
}

/// The calling thread's path in the tree; `other/<name>` for an unregistered thread.
pub(crate) fn my_path() -> Arc<str> {
    tree_path().unwrap_or_else(|| {
        let current = std::thread::current();
        match current.name() {
            Some(name) => Arc::from(format!("other/{name}")),
            None => Arc::from(format!("other/{:?}", current.id())),
        }
    })
}

/// The calling thread's path, if it is in the tree.
pub(crate) fn tree_path() -> Option<Arc<str>> {
    let path = |me: &Me| (!me.slot.is_retired()).then(|| me.path.clone());
    ME.try_with(|me| me.borrow().as_ref().and_then(path)).ok().flatten()
}

/// Whether [`tree_path`] would still give this very path; a few nanoseconds.
pub(crate) fn is_tree_path(path: Option<&Arc<str>>) -> bool {
    let same = |me: &RefCell<Option<Me>>| match (me.borrow().as_ref().filter(|me| !me.slot.is_retired()), path) {
        (Some(me), Some(path)) => Arc::ptr_eq(&me.path, path),
        (None, None) => true,
        _ => false,
    };
    ME.try_with(same).unwrap_or(path.is_none())
}

/// Publishes a wait that any thread may end, until the guard drops.
pub(crate) fn publish(kind: &'static str, name: Arc<str>) -> Published {
    What::new(kind, name).publish()
}

pub(crate) struct Published {
    slot: Option<Arc<Slot>>,
    serial: u64,
}

impl Drop for Published {
    fn drop(&mut self) {
        if let Some(slot) = &self.slot {
            let ended = slot.change(Instant::now, |waits| {
                let at = waits.now.iter().rposition(|wait| wait.serial == self.serial)?;
                Some(waits.now.remove(at))
            });
            // With no lock held: it may be the last that knows of the thing.
            drop(ended);
        }
    }
}

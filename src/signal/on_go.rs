//! Targets: what runs when a signal goes, once, on the thread that makes it go. A target names its
//! leaves by number and owns none but Tills.
//!
//! Models: `loom_signal_*` in `signal/loom_tests.rs`, and `sync/model_tests.rs`.

use super::core::{Core, Kind};
use super::targets::Attached;
use super::{running, timer, walk};
use crate::error::{catching, drop_payload, ignore_panic, panic_message};
use crate::model::{AtomicU8, Condvar, Mutex, Receiver, ThreadId, current};
use crate::os::tell::tell;
use log::Level;
use std::convert::Infallible;
use std::fmt;
use std::panic::Location;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

type Action = Box<dyn FnOnce() + Send>;

/// A target attached by [`Signal::on_go`](crate::Signal::on_go). Dropping it leaves the target
/// attached.
pub struct OnGo(Arc<Target>);

impl OnGo {
    /// Takes the target away. Returns `true` if it has not run and never will, and `false` if it
    /// has run.
    ///
    /// # Blocking
    /// While the target runs on another thread, until it has ended. Called from within the target
    /// itself, it does not block.
    ///
    /// ```
    /// # use selvedge::Signal;
    /// let stop = Signal::new("stop");
    /// let target = stop.on_go(|| unreachable!());
    /// assert!(target.cancel());
    /// stop.go();
    /// ```
    pub fn cancel(&self) -> bool {
        self.0.cancel()
    }
}

/// A target attached by [`Signal::on_go_scoped`](crate::Signal::on_go_scoped). Dropping it cancels
/// the target, as [`OnGo::cancel`] does: it blocks while the target runs on another thread.
#[must_use = "dropping it cancels the target"]
pub struct OnGoScoped(OnGo);

impl OnGoScoped {
    /// Cancels the target now. Returns `true` if it has not run and never will, as [`OnGo::cancel`]
    /// does.
    pub fn cancel(self) -> bool {
        self.0.cancel()
    }
}

impl Drop for OnGoScoped {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// `is_users`: the action is the program's. One of this crate runs before those of the program.
#[track_caller]
pub(super) fn attach_scoped(core: &Arc<Core>, action: Action, is_users: bool) -> OnGoScoped {
    OnGoScoped(attach(core, action, is_users))
}

#[track_caller]
pub(super) fn attach(core: &Arc<Core>, action: Action, is_users: bool) -> OnGo {
    OnGo(Target::attach(core, action, is_users))
}

/// When a target runs, told by which of the leaves have gone. It names them by number and owns
/// none, so that a leaf that was dropped after it went still counts.
///
/// The expression as a list, each composite in front of its parts: it may be nested more deeply
/// than a stack permits calls.
struct Condition(Box<[Step]>);

struct Step {
    kind: StepKind,
    /// The index of the composite that this is a part of; the first step has none.
    composite: Option<usize>,
    /// The index behind its last part.
    end: usize,
}

enum StepKind {
    Leaf(usize),
    Never,
    Any,
    All,
}

impl Condition {
    /// Writes down `core`'s expression, and its leaves in the order of their numbers.
    fn of(core: &Arc<Core>, leaves: &mut Vec<Arc<Core>>) -> Condition {
        let mut steps: Vec<Step> = Vec::new();
        let mut next = vec![(core, None)];
        while let Some((core, composite)) = next.pop() {
            let place = steps.len();
            let kind = match &core.kind {
                Kind::Never => StepKind::Never,
                Kind::Plain(_) | Kind::Till(_) => {
                    leaves.push(core.clone());
                    StepKind::Leaf(leaves.len() - 1)
                }
                Kind::Any(_) => StepKind::Any,
                Kind::All(_) => StepKind::All,
            };
            steps.push(Step { kind, composite, end: place + 1 });
            next.extend(walk::parts(core).iter().rev().map(|part| (part, Some(place))));
        }
        for place in (0..steps.len()).rev() {
            if let Some(composite) = steps[place].composite {
                steps[composite].end = steps[composite].end.max(steps[place].end);
            }
        }
        Condition(steps.into())
    }

    /// Whether the condition holds, if the leaves have these values.
    fn holds(&self, value_of: impl Fn(usize) -> bool) -> bool {
        let steps = &self.0;
        let mut place = 0;
        loop {
            let value = match steps[place].kind {
                StepKind::Leaf(leaf) => value_of(leaf),
                StepKind::Never => false,
                // Its first part is the next step.
                StepKind::Any | StepKind::All => {
                    place += 1;
                    continue;
                }
            };
            // The part that decides for its composite, or that is its last one, has the composite's
            // value.
            loop {
                let Some(composite) = steps[place].composite else { return value };
                let decides = value == matches!(steps[composite].kind, StepKind::Any);
                if !decides && steps[place].end < steps[composite].end {
                    place = steps[place].end;
                    break;
                }
                place = composite;
            }
        }
    }
}

struct Target {
    condition: Condition,
    /// By the leaf's number.
    ///
    /// | value | means                                          | set by                            |
    /// |-------|------------------------------------------------|-----------------------------------|
    /// | OPEN  | has not gone                                   | `attach`                          |
    /// | GONE  | has gone                                       | `attach`, `leaf_gone`             |
    /// | LOST  | was dropped before it went, so it never goes   | `leaf_lost`                       |
    ///
    /// SeqCst: two leaves of an `a & b` that go at the same time each store their own and then read
    /// the other's. In one total order, the later of the two sees both.
    leaves: Box<[AtomicU8]>,
    state: Mutex<State>,
    done: Condvar,
    links: Mutex<Vec<Link>>,
    /// Attached by the program, and not by this crate.
    is_users: bool,
    attached_at: &'static Location<'static>,
}

const OPEN: u8 = 0;
const GONE: u8 = 1;
const LOST: u8 = 2;

enum State {
    Waiting(Action),
    Running(ThreadId),
    Ran,
    Cancelled,
}

/// Where a target is registered. It holds a Till, so that a Till without other handles still goes;
/// the Till drops the target when it expires.
struct Link {
    leaf: Weak<Core>,
    id: u64,
    _held: Option<Arc<Core>>,
}

impl Target {
    #[track_caller]
    fn attach(core: &Arc<Core>, action: Action, is_users: bool) -> Arc<Target> {
        let mut leaves = Vec::new();
        let condition = Condition::of(core, &mut leaves);
        let target = Arc::new(Target {
            condition,
            leaves: leaves.iter().map(|leaf| AtomicU8::new(if leaf.is_go() { GONE } else { OPEN })).collect(),
            state: Mutex::new(State::Waiting(action)),
            done: Condvar::new(),
            links: Mutex::default(),
            is_users,
            attached_at: Location::caller(),
        });
        // What can never go, such as `a & never`, is attached nowhere.
        if target.run_if_due() || !target.can_be_due() {
            return target;
        }
        for (number, leaf) in leaves.into_iter().enumerate() {
            #[cfg(all(test, not(selvedge_model)))]
            crate::model::meanwhile::happens();
            match leaf.attach(target.clone(), number) {
                Some(id) => {
                    // What this crate attaches belongs to a handle of the signal. The program may
                    // hold nothing.
                    let held = (is_users && matches!(leaf.kind, Kind::Till(_))).then(|| leaf.clone());
                    let link = Link { leaf: Arc::downgrade(&leaf), id, _held: held };
                    target.links.lock().push(link);
                }
                None => target.leaves[number].store(GONE, Ordering::SeqCst),
            }
        }
        // A leaf may have gone while the others were still to be linked.
        if target.run_if_due() || !matches!(*target.state.lock(), State::Waiting(_)) {
            target.unlink();
        }
        target
    }

    /// Returns `false` if the action can never run.
    fn can_be_due(&self) -> bool {
        self.condition.holds(|leaf| self.leaves[leaf].load(Ordering::SeqCst) != LOST)
    }

    /// Runs the action if its time has come and no other thread has run or cancelled it.
    fn run_if_due(&self) -> bool {
        if !self.condition.holds(|leaf| self.leaves[leaf].load(Ordering::SeqCst) == GONE) {
            return false;
        }
        let action = {
            let mut state = self.state.lock();
            if !matches!(*state, State::Waiting(_)) {
                return false;
            }
            match std::mem::replace(&mut *state, State::Running(current().id())) {
                State::Waiting(action) => action,
                _ => return false,
            }
        };
        let running = self.is_users.then(|| running::run(self.attached_at));
        self.tell_panic("panicked", action);
        drop(running);
        *self.state.lock() = State::Ran;
        self.done.notify_all();
        self.unlink();
        true
    }

    /// Calls `f`, which runs or drops what the program attached. A panic of it is told.
    fn tell_panic(&self, what: &str, f: impl FnOnce()) {
        // The action is consumed. State of the user's that it broke is the user's concern.
        if let Err(payload) = catching(f) {
            let text = format!("{self} {what}: {}", panic_message(&*payload));
            // A panic of the logger must not keep a thread in `cancel`, or end the timer.
            ignore_panic(|| tell(Level::Error, module_path!(), &text));
            drop_payload(payload);
        }
    }

    fn cancel(&self) -> bool {
        let mut state = self.state.lock();
        loop {
            match &*state {
                State::Waiting(_) => break,
                State::Ran => return false,
                State::Cancelled => return true,
                State::Running(thread) if *thread == current().id() => return false,
                State::Running(_) => {
                    let name = Arc::from(format!("on_go at {}", self.attached_at));
                    let _published = crate::wait::publish("target", name);
                    crate::wait::begin_sleep();
                    self.done.wait(&mut state);
                }
            }
        }
        let action = std::mem::replace(&mut *state, State::Cancelled);
        drop(state);
        self.unlink();
        // Dropped last, with no lock held: what it captured is the user's.
        drop(action);
        true
    }

    /// Drops an action that never ran. What it captured is the user's, and its drop may panic. The
    /// calling thread must often go on: it is the timer's, or ends and has children to join.
    fn give_up(&self) {
        let action = {
            let mut state = self.state.lock();
            match std::mem::replace(&mut *state, State::Cancelled) {
                State::Waiting(action) => action,
                other => {
                    *state = other;
                    return;
                }
            }
        };
        self.tell_panic("was dropped before it ran, and what it captured panicked", || drop(action));
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.give_up();
    }
}

impl Attached for Target {
    fn is_users(&self) -> bool {
        self.is_users
    }

    fn leaf_gone(&self, leaf: usize) {
        self.leaves[leaf].store(GONE, Ordering::SeqCst);
        self.run_if_due();
    }

    fn leaf_lost(&self, leaf: usize) {
        self.leaves[leaf].store(LOST, Ordering::SeqCst);
        if !self.can_be_due() {
            self.give_up();
            self.unlink();
        }
    }

    fn unlink(&self) {
        let links = std::mem::take(&mut *self.links.lock());
        for link in links {
            if let Some(leaf) = link.leaf.upgrade() {
                leaf.detach(link.id);
            }
        }
    }
}

impl Core {
    /// The channel that disconnects when the signal goes, for each kind of signal.
    pub(super) fn linked_receiver(self: &Arc<Core>) -> &Receiver<Infallible> {
        timer::resume();
        let receiver = self.own_receiver();
        if !matches!(self.kind, Kind::Plain(_) | Kind::Never) {
            self.link.get_or_init(|| {
                // Weak: the leaves must not keep a composite alive.
                let this = Arc::downgrade(self);
                let fire = move || {
                    if let Some(this) = this.upgrade() {
                        this.fire();
                    }
                };
                Target::attach(self, Box::new(fire), false)
            });
        }
        receiver
    }
}

impl fmt::Display for Target {
    /// Where it was attached, and to which signals, as far as they are still there.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let leaves: Vec<_> = self.links.lock().iter().filter_map(|link| link.leaf.upgrade()).collect();
        let names: Vec<_> = leaves.iter().map(|leaf| leaf.name()).collect();
        write!(f, "a target of on_go, attached at {}", self.attached_at)?;
        if names.is_empty() { Ok(()) } else { write!(f, " to \"{}\",", names.join(", ")) }
    }
}

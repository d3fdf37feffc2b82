//! What the panic hook has seen of panics, kept until a failure is made: on the thread that
//! panicked, or on another thread that raises the panic again, as rayon, scopes and `resume_unwind`
//! do.

use super::failure_context::FailureContext;
use crate::model::locks::Mutex;
use crate::os::fork::PerProcess;
use std::any::Any;
use std::backtrace::Backtrace;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::{Arc, Weak};

/// One panic.
#[derive(Clone)]
pub(crate) struct Seen {
    /// Tells it from another panic: a destructor that catches a panic may run after the hook saw
    /// the panic that counts.
    pub(super) text: String,
    pub(crate) location: Option<String>,
    pub(crate) backtrace: Arc<Backtrace>,
    /// The log was told.
    pub(super) logged: bool,
    /// Before the unwinding: guards of the diagnostic context go with their frames.
    pub(super) failure_context: FailureContext,
    /// Which payload it has.
    pub(super) payload: Option<Identity>,
}

/// Tells a payload from others, also on another thread.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity(usize, usize);

impl Identity {
    /// By its text, which does not move when the payload is put into a box. `None` for a payload
    /// that is no string.
    pub(super) fn of_text(payload: &dyn Any) -> Option<Identity> {
        let text: &str = match (payload.downcast_ref::<&'static str>(), payload.downcast_ref::<String>()) {
            (Some(text), _) => text,
            (_, Some(text)) => text,
            _ => return None,
        };
        // An empty string has no memory of its own.
        (!text.is_empty()).then_some(Identity(text.as_ptr() as usize, text.len()))
    }

    /// By the box it is in already.
    pub(super) fn of_box(payload: &(dyn Any + Send)) -> Option<Identity> {
        let size = size_of_val(payload);
        (size > 0).then_some(Identity(std::ptr::from_ref(payload).cast::<()>() as usize, size))
    }
}

/// The number of a thread's last panics that are remembered.
const REMEMBERED: usize = 4;
/// The number of the process's last panics that are remembered for other threads.
const REMEMBERED_FOR_OTHERS: usize = 64;

thread_local! {
    static OWN: RefCell<VecDeque<Arc<Seen>>> = const { RefCell::new(VecDeque::new()) };
    /// The last panic of this thread that `unwinding` has returned.
    static TOLD: RefCell<Weak<Seen>> = const { RefCell::new(Weak::new()) };
}
static ALL: PerProcess<Mutex<VecDeque<Arc<Seen>>>> = PerProcess::new(Mutex::new(VecDeque::new()), Mutex::default);

/// Remembers a panic of the calling thread.
pub(super) fn remember(seen: Seen) {
    let seen = Arc::new(seen);
    let _ = OWN.try_with(|own| {
        let mut own = own.borrow_mut();
        own.truncate(REMEMBERED - 1);
        own.push_front(seen.clone());
    });
    remember_for_others(seen);
}

/// Remembers a panic whose payload may be raised on any thread.
pub(super) fn remember_for_others(seen: Arc<Seen>) {
    if seen.payload.is_some() {
        let mut all = ALL.lock();
        all.truncate(REMEMBERED_FOR_OTHERS - 1);
        all.push_front(seen);
    }
}

/// What is known of the panic that unwinds the calling thread.
pub(super) enum Unwinding {
    New(Seen),
    /// It was returned as new before.
    Told,
    /// It came past the hook, as a panic does that is raised again.
    Unseen,
}

/// The last panic of the calling thread that the hook has seen: none of those that come after it.
pub(super) struct Before(Weak<Seen>);

impl Before {
    pub(super) fn now() -> Before {
        Before(last().as_ref().map_or_else(Weak::new, Arc::downgrade))
    }
}

fn last() -> Option<Arc<Seen>> {
    OWN.try_with(|own| own.borrow().front().cloned()).ok().flatten()
}

/// For the drop of a guard, which cannot see the payload: by the thread's last panic. One from
/// `before` the guard began was caught then, and is not the panic that unwinds it.
pub(super) fn unwinding(before: &Before) -> Unwinding {
    let Some(last) = last() else { return Unwinding::Unseen };
    let this = Arc::downgrade(&last);
    // A `Weak` keeps the memory, so no later panic has the same address.
    if before.0.ptr_eq(&this) {
        return Unwinding::Unseen;
    }
    match TOLD.try_with(|told| told.replace(this.clone())) {
        Ok(told) if told.ptr_eq(&this) => Unwinding::Told,
        _ => Unwinding::New(Seen::clone(&last)),
    }
}

/// Runs `run` while a panic unwinds the calling thread. Panics within, which are caught there, are
/// not taken for that panic afterwards.
pub(super) fn set_apart<R>(run: impl FnOnce() -> R) -> R {
    let own = OWN.try_with(RefCell::take).ok();
    let result = run();
    if let Some(own) = own {
        drop(OWN.try_with(|now| now.replace(own)));
    }
    result
}

/// What was seen of the panic with this payload, which said `text`; the calling thread has caught
/// it. `None` if it came past the hook, or too many came after it.
pub(super) fn take(payload: &(dyn Any + Send), text: &str) -> Option<Seen> {
    let own = OWN.try_with(|own| own.take()).ok().unwrap_or_default();
    let identities = [Identity::of_text(payload), Identity::of_box(payload)];
    let seen = own.into_iter().find(|seen| seen.text == text).or_else(|| {
        let all = ALL.lock();
        // An address may be another payload's by now; then it mostly has another text.
        all.iter().find(|seen| seen.text == text && identities.contains(&seen.payload)).cloned()
    })?;
    ALL.lock().retain(|other| !Arc::ptr_eq(other, &seen));
    Some(Arc::unwrap_or_clone(seen))
}

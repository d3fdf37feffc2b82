//! The handles of all rooms may be used in and after `catch_unwind`, without `AssertUnwindSafe`. Their
//! state is behind locks and trait objects, which the compiler does not take for unwind safe. So each
//! handle is declared here, with the reason. A handle without such state is `UnwindSafe` by itself.
//!
//! `tests/primitives/unwind_safety.rs` lists all public handles.

use crate::actor::{ActorHandle, Reply};
use crate::dump::Dump;
use crate::error::Error;
#[cfg(feature = "profiling")]
use crate::profile::Recording;
use crate::queue::{Adder, Popper, Queue};
use crate::runtime::Runtime;
use crate::signal::{OnGo, Signal};
use crate::sync::{BinarySemaphore, Claim, Lock, Monitor, Progress, Promise, Semaphore, Sequencer, Ticket, Turn};
use crate::thread::{Failure, JoinHandle, Registered, Scope, Thread};
use crate::wait::Wait;
use std::panic::{RefUnwindSafe, UnwindSafe};

macro_rules! unwind_safe {
    (of values: $($handle:ident),*) => {$(
        impl<T> UnwindSafe for $handle<T> {}
        impl<T> RefUnwindSafe for $handle<T> {}
    )*};
    ($($handle:ty),*) => {$(
        impl UnwindSafe for $handle {}
        impl RefUnwindSafe for $handle {}
    )*};
}

// Their locks are held for a few lines of this crate each, which run no code of the program. So a
// panic of the program never leaves their state half changed. What a target of a signal has
// captured is used by that target alone.
unwind_safe!(Signal, OnGo, BinarySemaphore, Progress, Semaphore, Sequencer, Ticket, Turn, Thread, Scope<'_, '_>);

// Values move through them. A panic can only break a value that it has in its hands.
unwind_safe!(of values: Queue, Adder, Popper, Claim, ActorHandle, Reply, JoinHandle);

// Guards, whose state is changed by their drop alone.
unwind_safe!(Registered, Runtime);
#[cfg(feature = "profiling")]
unwind_safe!(Recording);

// Nothing changes them, except that a payload or an error is taken out whole.
unwind_safe!(Dump, Error, Failure, Wait);

// Threads that look at a value after a panic can ask `left_by_panic`. `std::sync::Mutex` is unwind
// safe for the like reason.
impl<T: ?Sized> UnwindSafe for Lock<T> {}
impl<T: ?Sized> RefUnwindSafe for Lock<T> {}
impl<T: ?Sized> UnwindSafe for Monitor<T> {}
impl<T: ?Sized> RefUnwindSafe for Monitor<T> {}

// It lends the value to many threads, and does not mark it after a panic. So it has the same bounds as
// `std::sync::OnceLock`.
impl<T: UnwindSafe + RefUnwindSafe> UnwindSafe for Promise<T> {}
impl<T: UnwindSafe + RefUnwindSafe> RefUnwindSafe for Promise<T> {}

//! Every public handle can be used in `catch_unwind`, by reference and by value, as those of the
//! standard library and of crossbeam-channel can.

use selvedge::*;
use std::panic::{RefUnwindSafe, UnwindSafe, catch_unwind};
use std::sync::Arc;

fn is_unwind_safe<T: ?Sized + UnwindSafe + RefUnwindSafe>() {}

/// A value that is not unwind safe by itself: what a lock or a queue has in it is of no concern.
type Value = std::cell::RefCell<&'static mut u32>;

#[test]
fn all_public_handles_are_unwind_safe() {
    is_unwind_safe::<(Signal, Till, Reason, OnGo, OnGoScoped)>();
    is_unwind_safe::<(Queue<Value>, Adder<Value>, Popper<Value>, QueueIter<'_, Value>)>();
    is_unwind_safe::<(Lock<Value>, LockGuard<'_, Value>, Monitor<Value>, MonitorGuard<'_, Value>)>();
    is_unwind_safe::<(Arc<Lock<Value>>, Arc<Monitor<Value>>, &Lock<Value>, &Monitor<Value>)>();
    is_unwind_safe::<(Semaphore, Permit<'_>, BinarySemaphore, Progress)>();
    is_unwind_safe::<(Sequencer, Ticket, Turn)>();
    is_unwind_safe::<(Promise<u32>, Claim<Value>)>();
    is_unwind_safe::<(Thread, JoinHandle<Value>, Failure, Builder, Restarting, Registered, Scope<'_, '_>)>();
    is_unwind_safe::<(ActorHandle<Value>, Reply<Value>)>();
    is_unwind_safe::<(Wait, Dump, Error, ContextGuard, Span, LeftInQueue)>();
    is_unwind_safe::<(Config, Runtime, Ask)>();
    is_unwind_safe::<(AskError, GaveUp, PromiseError, PopError, TurnError, AddError<u32>, Stopped)>();
    #[cfg(unix)]
    is_unwind_safe::<(LinesTill, net::StreamTill<std::net::TcpStream>)>();
    #[cfg(unix)]
    is_unwind_safe::<net::IncomingTill<'_, std::net::TcpListener>>();
    #[cfg(feature = "profiling")]
    is_unwind_safe::<(profile::Recording, profile::Profile, profile::Options)>();
    #[cfg(feature = "push")]
    is_unwind_safe::<Push>();
}

#[test]
fn a_please_stop_can_be_looked_at_within_catch_unwind() {
    let looked = spawn("worker", |please_stop| catch_unwind(|| please_stop.is_go()).unwrap());
    assert!(!looked.join().unwrap());
}

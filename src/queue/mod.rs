//! Queues that move values between threads. Knows `signal` and `wait`; knows no threads of the
//! tree.
//!
//! `handle` has the public handle and its promises, `store` the protocol, `buffers` the memory,
//! `wake_up` the sleeping, `room` what a thread that waits for room shows and logs, `errors` the
//! errors, `adder` and `popper` the end by the last producer or consumer, `extend` the batches,
//! `drain` the pop that outlives a stop, `timed` the time limits, `left` the count of the values that
//! were never popped.

// First, so that the documentation of a queue begins with how it is made.
mod handle;

mod adder;
mod buffers;
mod drain;
mod errors;
mod extend;
mod left;
mod popper;
mod room;
mod store;
mod timed;
mod wake_up;

#[cfg(all(test, selvedge_loom))]
mod loom_tests;

pub use adder::Adder;
pub use errors::{AddError, PopError};
pub use handle::{Iter, Queue};
pub use left::{LeftInQueue, left_in_queues};
pub use popper::Popper;

#[cfg(feature = "profiling")]
pub(crate) use left::{Depth, depths};
#[cfg(feature = "inspect")]
pub(crate) use left::{QueueNow, living};
pub(crate) use left::{begin, still_in_queues};

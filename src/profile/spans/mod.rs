//! Spans: stretches of a program that it names itself, with exact counts. [`span`] opens one; each
//! recording counts them, and [`Profile::spans`](crate::profile::Profile::spans) has the sums.
//!
//! | file | what it is |
//! |---|---|
//! | `guard` | `span`, its guard, and the spans of the calling thread |
//! | `names` | the names of one thread's spans, by number |
//! | `thread_spans` | the spans of one thread: counts, and which are open |
//! | `clock` | ticks, and how long they are |
//! | `ledger` | the threads that have spans during a recording |
//! | `total` | what was counted under one name on one thread |
//! | `table` | the table for people |
//!
//! The protocol: a thread writes its counts alone, without a lock. A reader copies them between
//! two closes of the thread, which a version number shows. A thread that closes spans all the time
//! is asked for a copy. A recording reads all threads at a snapshot and at its end; a thread that
//! ends hands its counts over.

mod clock;
mod guard;
mod ledger;
#[cfg(all(test, selvedge_loom))]
mod loom_tests;
mod names;
mod table;
#[cfg(all(test, not(selvedge_model)))]
mod tests;
mod thread_spans;
mod total;

pub use self::guard::{Span, span};
pub(super) use self::ledger::{Counted, SpanLedger};
pub(super) use self::table::SpanTable;
pub use self::total::SpanTotal;

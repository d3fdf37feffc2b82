//! The event rings: what each thread did, in memory of its own, while a recording counts waits. The
//! thread writes; the recording's sampler, or its end, reads. Below `wait`, whose blocking calls
//! write here. Knows words, numbers and times, and neither threads nor names.
//!
//! | file | what it is |
//! |---|---|
//! | `ring` | a ring of words with one writer and one reader |
//! | `event` | events as words |
//! | `rings` | the rings of one thread: a small one, and a large one for a thread that needs it |
//! | `store` | what was read from the rings of all threads, in bounded memory |
//! | `places` | numbers for texts that events name: where a log record was made |
//! | `texts` | the texts of log records |
//!
//! # The protocol
//!
//! Each thread of the tree has [`Rings`] while the recording runs. All times are nanoseconds of one
//! monotonic clock, `wait::ender::nanos`.
//!
//! 1. **One writer.** The thread itself writes, under the lock of its wait slot, which it holds in
//!    any case when a wait begins or ends. The signal handler that takes samples writes into another
//!    ring, `profile/engines/timer/slot.rs`, which has the same protocol.
//! 2. **One reader at a time**: the thread that holds the lock of the [`Store`]. That is the sampler
//!    in its rounds, the end of the recording, or the writer itself: see 4.
//! 3. **Orders.** An event is a few words. The writer stores them (Relaxed), then `head` (Release).
//!    The reader loads `head` (Acquire), then the words, then stores `tail` (Release), which the
//!    writer loads (Acquire) before it stores words again. `ring.rs` has the table.
//! 4. **A full ring.** The first ring has room for some sixty waits. When it is full, the thread
//!    makes the second, ten times larger, and writes only there from then on. The reader loads the
//!    second one (Acquire) before it reads the first: if it finds the second, it finds all of the
//!    first. When the second one is full as well, the thread moves its content into the store, if it
//!    can have the store's lock at once. Otherwise the event is lost, and counted.
//! 5. **The end.** The slot and the recording own the rings together. At the end of the recording
//!    both let go, the slot under its own lock. So the writer never writes into memory that is gone.
//!
//! No thread waits for another in any of these steps.
//!
//! Models: `loom_tests.rs`.

mod event;
#[cfg(all(test, selvedge_loom))]
mod loom_tests;
mod places;
mod ring;
mod rings;
mod store;
#[cfg(all(test, not(selvedge_model)))]
mod tests;
mod texts;

pub(crate) use self::event::{Event, SleepEvent};
pub(crate) use self::ring::{Ring, Writer};
pub(crate) use self::rings::Rings;
pub(crate) use self::store::{Contents, Store};

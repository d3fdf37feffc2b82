//! The one seam for model checks: what `record`, `wait`, `signal`, `sync`, `queue`, the log's queue and the
//! profiler's rings share state and block with. Names nothing else in the crate.
//!
//! Normally these are the plain types of std and crossbeam. Under `--cfg selvedge_model` the unit
//! tests get types of a model checker:
//!
//! * shuttle's: it runs many orders of the steps of a few threads, with the newest value of
//!   everything always seen (`*/model_tests.rs`);
//! * with `--cfg selvedge_loom` too, loom's: it runs each order of the steps of two or three
//!   threads with a bounded number of preemptions, and lets each load see each value that its
//!   memory order allows (`*/loom_tests.rs`). The table of what covers what stands in
//!   `model/loom_tests.rs`.

#[cfg(not(all(test, selvedge_model)))]
mod plain {
    pub(crate) use super::locks::{Condvar, Mutex, MutexGuard};
    pub(crate) use crossbeam_channel::{Receiver, Select, Sender, bounded, never};
    pub(crate) use std::sync::OnceLock;
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, fence};
    pub(crate) use std::thread::{ThreadId, current};
    pub(crate) use std::thread_local;

    /// How often a thread looks again before it gets ready to sleep.
    pub(crate) const SPINS: u32 = 6;

    pub(crate) fn now() -> std::time::Instant {
        std::time::Instant::now()
    }

    /// Between two looks at something that another thread needs some instructions for. First it spins, for some
    /// microseconds in all; from then on it sleeps. It never yields: beside busy threads, a kernel since 6.6 lets a
    /// thread that yields wait for a whole time slice of theirs.
    #[cfg(any(feature = "log4rs", feature = "profiling"))]
    pub(crate) fn back_off(looks: u32) {
        if looks < 20 {
            (0..10).for_each(|_| std::hint::spin_loop());
        } else {
            std::thread::sleep(std::time::Duration::from_micros(20));
        }
    }

    /// The number of the calling thread, where a model has its own idea of threads.
    #[inline(always)]
    pub(crate) fn current_thread() -> Option<u64> {
        None
    }

    /// What only the profiler's rings and table are made of.
    #[cfg(feature = "profiling")]
    mod rings {
        use std::sync::atomic::{AtomicU64, Ordering};

        pub(crate) use std::sync::atomic::AtomicPtr;

        /// A word that one thread writes and another reads, and that something else must order.
        pub(crate) struct Word(AtomicU64);

        impl Word {
            pub(crate) fn new(value: u64) -> Word {
                Word(AtomicU64::new(value))
            }

            // Relaxed, in both: something else orders them.

            #[inline(always)]
            pub(crate) fn get(&self) -> u64 {
                self.0.load(Ordering::Relaxed)
            }

            #[inline(always)]
            pub(crate) fn set(&self, value: u64) {
                self.0.store(value, Ordering::Relaxed);
            }
        }
    }
    #[cfg(feature = "profiling")]
    pub(crate) use rings::*;
}

pub(crate) mod locks;
#[cfg(all(test, not(selvedge_model)))]
pub(crate) mod meanwhile;
#[cfg(not(all(test, selvedge_model)))]
pub(crate) use plain::*;

#[cfg(all(test, selvedge_model))]
mod scheduled;
#[cfg(all(test, selvedge_model))]
pub(crate) use scheduled::*;

#[cfg(all(test, selvedge_loom))]
pub(crate) mod loom_tests;
#[cfg(all(test, selvedge_loom))]
mod reordered;

//! The one seam for model checks: what `signal` and `sync` share state and block with. Names nothing else in the crate.
//!
//! Normally these are the plain types of std, parking_lot and crossbeam. Under `--cfg selvedge_model` the unit tests get
//! types that shuttle schedules, so that it can run every order of their steps; see `sync/model_tests.rs`.

#[cfg(not(all(test, selvedge_model)))]
mod plain {
    pub(crate) use crossbeam_channel::{Receiver, Select, Sender, bounded, never};
    pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard};
    pub(crate) use std::sync::OnceLock;
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize};
    pub(crate) use std::thread::{ThreadId, current};
    pub(crate) use std::thread_local;

    /// How often a thread looks again before it gets ready to sleep.
    pub(crate) const SPINS: u32 = 6;

    pub(crate) fn now() -> std::time::Instant {
        std::time::Instant::now()
    }

    /// The number of the calling thread, where a model has its own idea of threads.
    #[inline(always)]
    pub(crate) fn current_thread() -> Option<u64> {
        None
    }
}

#[cfg(not(all(test, selvedge_model)))]
pub(crate) use plain::*;

#[cfg(all(test, selvedge_model))]
mod scheduled;
#[cfg(all(test, selvedge_model))]
pub(crate) use scheduled::*;

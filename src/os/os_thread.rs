//! The names that the system has for a thread: handle, CPU clock, stack. The thread itself finds
//! out the first two when it starts. Where its stack lies is asked when it is first needed: that
//! takes a system call and an allocation, which most threads never need.

use super::CpuClock;
#[cfg(all(target_os = "linux", feature = "profiling"))]
use std::{ops::Range, sync::OnceLock};

/// The system's names for one of its threads. They are numbers to compare and to give to the
/// kernel; only [`stack`](Self::stack) follows one as a pointer. The system gives each of them to
/// another thread some time after this one has ended.
#[derive(Clone, Debug)]
pub(crate) struct OsThread {
    /// Its `pthread_t`; 0 where there are none.
    pub(crate) handle: u64,
    pub(crate) clock: Option<CpuClock>,
    /// Set by the first call that asks.
    #[cfg(all(target_os = "linux", feature = "profiling"))]
    stack: OnceLock<Option<Range<u64>>>,
}

impl OsThread {
    /// The calling thread's.
    pub(crate) fn of_current() -> OsThread {
        OsThread {
            handle: super::thread_handle(),
            clock: CpuClock::of_current(),
            #[cfg(all(target_os = "linux", feature = "profiling"))]
            stack: OnceLock::new(),
        }
    }

    /// Where its stack lies; `None` if the system does not tell. Asks the system once.
    ///
    /// # Safety
    /// The thread does not end during the call.
    #[cfg(all(target_os = "linux", feature = "profiling"))]
    #[cfg_attr(not(any(target_arch = "x86_64", target_arch = "aarch64")), allow(dead_code))]
    pub(crate) unsafe fn stack(&self) -> Option<Range<u64>> {
        // SAFETY: `handle` is the thread's, and it lives, as the caller promises.
        let ask = || unsafe { super::stack::of(self.handle, self.clock?.thread()) };
        self.stack.get_or_init(ask).clone()
    }
}

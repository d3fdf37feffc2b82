//! The names that the system has for a thread: handle, CPU clock, stack. The thread itself finds
//! them out when it starts.

use super::CpuClock;
#[cfg(all(target_os = "linux", feature = "profiling"))]
use std::ops::Range;

/// The system's names for one of its threads. They are numbers to compare and to give to the
/// kernel; none is a pointer to follow. The system gives each of them to another thread some time
/// after this one has ended.
#[derive(Clone, Debug)]
pub(crate) struct OsThread {
    /// Its `pthread_t`; 0 where there are none.
    pub(crate) handle: u64,
    pub(crate) clock: Option<CpuClock>,
    /// Where its stack lies; `None` if the system does not tell.
    #[cfg(all(target_os = "linux", feature = "profiling"))]
    pub(crate) stack: Option<Range<u64>>,
}

impl OsThread {
    /// The calling thread's.
    pub(crate) fn of_current() -> OsThread {
        OsThread {
            handle: super::thread_handle(),
            clock: CpuClock::of_current(),
            #[cfg(all(target_os = "linux", feature = "profiling"))]
            stack: super::stack::own(),
        }
    }
}

//! For systems other than Linux: what the standard library tells of a thread. What it does not tell
//! is `None`.

use std::time::Duration;

/// No CPU clock of other threads is read here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CpuClock(());

impl CpuClock {
    pub(crate) fn of_current() -> Option<CpuClock> {
        None
    }

    pub(crate) fn is_gone(self) -> bool {
        false
    }

    pub(crate) fn read(self) -> Option<Duration> {
        None
    }

    /// The system's id of the thread. Here no thread has such a clock.
    pub(crate) fn thread(self) -> i32 {
        0
    }
}

/// The standard library has named the thread already.
pub(crate) fn set_thread_name(_name: &str) {}

/// The calling thread's `pthread_t`, 0 where there are none.
pub(crate) fn thread_handle() -> u64 {
    #[cfg(unix)]
    // SAFETY: has no preconditions.
    return unsafe { libc::pthread_self() as u64 };
    #[cfg(not(unix))]
    0
}

/// Returns `true` on the thread that the process began with; where the system does not tell, on
/// each thread named `main`.
pub(crate) fn is_main_thread() -> bool {
    #[cfg(target_vendor = "apple")]
    // SAFETY: has no preconditions.
    return unsafe { libc::pthread_main_np() } == 1;
    #[cfg(not(target_vendor = "apple"))]
    return std::thread::current().name() == Some("main");
}

/// Not known: no thread's variables are told from others.
pub(crate) fn is_on_own_stack<T>(_: &T) -> bool {
    false
}

/// Not known.
pub(crate) fn thread_count() -> Option<usize> {
    None
}

/// Joins the thread. There is no time limit here, so nothing is checked meanwhile.
pub(crate) fn join(
    handle: std::thread::JoinHandle<()>,
    _limit: Duration,
    _check: impl FnMut() -> Option<Duration>,
) -> Result<(), std::thread::JoinHandle<()>> {
    let _ = handle.join();
    Ok(())
}

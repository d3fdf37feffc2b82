//! A kernel timer on the CPU clock of one thread, whose signal goes to that thread. Linux only.

use super::CpuClock;
use std::io;
use std::mem::MaybeUninit;
use std::time::Duration;

/// Runs until it is dropped. The thread may be another one than the caller, and may end before its
/// timer does.
pub(crate) struct ThreadTimer(libc::timer_t);

// SAFETY: a timer_t is a number that the whole process may use; nothing is behind the pointer.
unsafe impl Send for ThreadTimer {}

impl ThreadTimer {
    /// Sends SIGPROF to the thread each time its clock has gone on by `period`, at first after
    /// `first`.
    ///
    /// # Errors
    /// The system gives no timer: too many signals are queued (RLIMIT_SIGPENDING), or the thread
    /// has ended.
    pub(crate) fn start(clock: CpuClock, first: Duration, period: Duration) -> io::Result<ThreadTimer> {
        // SAFETY: all-zero is a valid sigevent.
        let mut event: libc::sigevent = unsafe { MaybeUninit::zeroed().assume_init() };
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = libc::SIGPROF;
        event.sigev_notify_thread_id = clock.thread();
        let mut id = MaybeUninit::<libc::timer_t>::uninit();
        // SAFETY: `event` is whole, and `id` is writable for one timer_t.
        if unsafe { libc::timer_create(clock.id(), &mut event, id.as_mut_ptr()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: written by the successful call. From here on the drop deletes it.
        let timer = ThreadTimer(unsafe { id.assume_init() });
        let times = libc::itimerspec { it_interval: timespec(period), it_value: timespec(first) };
        // SAFETY: the timer was just made; `times` is whole; the old value is not asked for.
        if unsafe { libc::timer_settime(timer.0, 0, &times, std::ptr::null_mut()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(timer)
    }
}

impl Drop for ThreadTimer {
    fn drop(&mut self) {
        // SAFETY: made by timer_create and deleted nowhere else.
        unsafe { libc::timer_delete(self.0) };
    }
}

/// Never all zero, which would mean "off".
fn timespec(duration: Duration) -> libc::timespec {
    let duration = duration.max(Duration::from_nanos(1));
    // Both casts are of values that fit: periods are seconds at most, subsecond nanoseconds less
    // than 2^30.
    libc::timespec { tv_sec: duration.as_secs() as _, tv_nsec: duration.subsec_nanos() as _ }
}

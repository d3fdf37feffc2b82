//! What Linux knows of a thread: its CPU clock, which each thread of the process can read, its
//! name, the number of threads.

use super::name_end;
use std::io;
use std::mem::MaybeUninit;
use std::time::Duration;

/// The CPU clock of one thread, readable from every thread of the process as long as that thread
/// lives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CpuClock(libc::clockid_t);

impl CpuClock {
    /// The calling thread's clock; `None` if the system has none.
    pub(crate) fn of_current() -> Option<CpuClock> {
        let mut clock = MaybeUninit::<libc::clockid_t>::uninit();
        // SAFETY: pthread_self() is a live thread, and `clock` is writable for one clockid_t.
        let failed = unsafe { libc::pthread_getcpuclockid(libc::pthread_self(), clock.as_mut_ptr()) };
        // SAFETY: written by the successful call.
        (failed == 0).then(|| CpuClock(unsafe { clock.assume_init() }))
    }

    /// The clock of the thread that has that kernel id now.
    #[cfg_attr(not(feature = "profiling"), allow(dead_code))]
    pub(crate) fn of_thread(id: i32) -> CpuClock {
        // CPUCLOCK_PERTHREAD_MASK and CPUCLOCK_SCHED: one thread's, as exact as the scheduler's
        // own.
        CpuClock((!id << 3) | 4 | 2)
    }

    /// The kernel's id of this clock.
    #[cfg_attr(not(feature = "profiling"), allow(dead_code))]
    pub(crate) fn id(self) -> libc::clockid_t {
        self.0
    }

    /// The kernel's id of the thread, as `gettid` gives it: a clock's id has it, inverted, above
    /// three bits of kind.
    pub(crate) fn thread(self) -> i32 {
        !(self.0 >> 3)
    }

    /// Nanoseconds of CPU time that the calling thread has used so far.
    ///
    /// # Signal safety
    /// Safe: POSIX says so of `clock_gettime`.
    #[cfg_attr(not(feature = "profiling"), allow(dead_code))]
    pub(crate) fn nanos_of_this_thread() -> u64 {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `time` is writable for one timespec. Linux always has this clock; a sandbox that
        // refuses the call leaves 0.
        unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
        time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
    }

    /// Returns `true` if no thread of this process has that clock's kernel id. A system that
    /// refuses to read clocks does not say so: then `false`.
    pub(crate) fn is_gone(self) -> bool {
        self.try_read().is_err_and(|cause| matches!(cause.raw_os_error(), Some(libc::EINVAL | libc::ESRCH)))
    }

    /// CPU time used so far, user and system.
    ///
    /// # Errors
    /// The thread is gone ([`is_gone`](Self::is_gone)), or the system refuses to tell.
    pub(crate) fn try_read(self) -> io::Result<Duration> {
        let mut time = MaybeUninit::<libc::timespec>::uninit();
        // SAFETY: `time` is writable for one timespec; an unknown clock is refused with EINVAL.
        let failed = unsafe { libc::clock_gettime(self.0, time.as_mut_ptr()) };
        if failed != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: written by the successful call.
        let time = unsafe { time.assume_init() };
        Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
    }

    /// CPU time used so far, user and system; `None` once the thread is gone, or if the system does
    /// not tell.
    ///
    /// The clock names a thread by its kernel id, which the kernel may give to another thread
    /// later. The owner of a clock must know by other means that its thread still lives.
    pub(crate) fn read(self) -> Option<Duration> {
        self.try_read().ok()
    }
}

/// Names the calling thread for `top`, `ps` and debuggers; the kernel keeps 15 bytes, we give it
/// the last ones.
pub(crate) fn set_thread_name(name: &str) {
    // On the stack: this is on the way of every spawn. Zeroed, so that the name ends.
    let mut buffer = [0_u8; super::NAME_BYTES + 1];
    let end = name_end(name).as_bytes();
    buffer[..end.len()].copy_from_slice(end);
    // SAFETY: PR_SET_NAME reads a NUL-terminated string of at most 16 bytes: `name_end` gives 15 at
    // most, so the last byte is a NUL. One within the name would only end it earlier.
    unsafe { libc::prctl(libc::PR_SET_NAME, buffer.as_ptr()) };
}

/// The calling thread's `pthread_t`, as a number.
///
/// # Signal safety
/// Safe: POSIX says so of `pthread_self`.
pub(crate) fn thread_handle() -> u64 {
    // SAFETY: has no preconditions.
    unsafe { libc::pthread_self() as u64 }
}

/// Returns `true` on the thread that the process began with.
pub(crate) fn is_main_thread() -> bool {
    // SAFETY: neither call has preconditions.
    unsafe { libc::syscall(libc::SYS_gettid) == i64::from(libc::getpid()) as libc::c_long }
}

/// How many threads the process has; `None` if the system does not tell.
pub(crate) fn thread_count() -> Option<usize> {
    Some(std::fs::read_dir("/proc/self/task").ok()?.count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_knows_its_thread() {
        // SAFETY: gettid has no preconditions.
        let this = unsafe { libc::syscall(libc::SYS_gettid) };
        assert_eq!(i64::from(CpuClock::of_current().unwrap().thread()), this);
        assert_eq!(CpuClock::of_thread(this as i32).0, CpuClock::of_current().unwrap().0);
    }
}

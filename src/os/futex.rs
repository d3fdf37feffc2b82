//! Sleeping until another thread, or a signal handler, has changed a number in memory. Linux only.

use std::ptr;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

/// Sleeps until [`wake_one`] is called for `word`, or `at_most` is over. Returns at once if `word`
/// is not `expected`; it may return for no reason.
pub(crate) fn wait(word: &AtomicU32, expected: u32, at_most: Duration) {
    let at_most = libc::timespec {
        tv_sec: at_most.as_secs().try_into().unwrap_or(libc::time_t::MAX),
        tv_nsec: at_most.subsec_nanos().into(),
    };
    let operation = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: `word` is a number of 32 bits that lives until the call returns, `at_most` is whole,
    // and this operation uses no more arguments.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, expected, &raw const at_most) };
}

/// Wakes one thread that sleeps in [`wait`] for `word`, if there is one.
///
/// # Signal safety
/// Safe: a system call, which writes at most errno.
pub(crate) fn wake_one(word: &'static AtomicU32) {
    let operation = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: `word` is a number of 32 bits, and this operation uses no more arguments.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, 1, ptr::null::<libc::timespec>()) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    #[test]
    fn a_sleep_ends_by_a_change_or_by_its_limit() {
        static WORD: AtomicU32 = AtomicU32::new(0);
        wait(&WORD, 1, Duration::from_secs(60));
        wait(&WORD, 0, Duration::from_millis(1));
        let waker = std::thread::spawn(|| {
            WORD.store(1, Ordering::SeqCst);
            wake_one(&WORD);
        });
        while WORD.load(Ordering::SeqCst) == 0 {
            wait(&WORD, 0, Duration::from_secs(60));
        }
        waker.join().unwrap();
    }
}

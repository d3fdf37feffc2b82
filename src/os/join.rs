//! Joining an OS thread with a check now and then. Linux only: elsewhere a join has no time limit.

use std::mem::MaybeUninit;
use std::os::unix::thread::JoinHandleExt;
use std::ptr;
use std::thread::JoinHandle;
use std::time::Duration;

/// The system's clock, by which a timed join is limited, may be set meanwhile: no single wait is
/// longer than this.
const LONGEST: Duration = Duration::from_secs(60);

/// Joins the thread: blocks until the system has it no more. Each time the current limit is over,
/// `check` is called, which gives the next limit. With `None` the join is given up, and the handle
/// comes back.
pub(crate) fn join(
    handle: JoinHandle<()>,
    mut limit: Duration,
    mut check: impl FnMut() -> Option<Duration>,
) -> Result<(), JoinHandle<()>> {
    loop {
        let until = realtime(limit.min(LONGEST));
        // SAFETY: the thread was neither joined nor detached: this function has its handle, and a
        // call that joins it ends the loop. No result is asked for (null); `until` is a valid
        // timespec that lives until the call returns.
        match unsafe { libc::pthread_timedjoin_np(handle.as_pthread_t(), ptr::null_mut(), &raw const until) } {
            libc::ETIMEDOUT => match check() {
                Some(next) => limit = next,
                None => return Err(handle),
            },
            // Joined; or an error that no repetition cures: the caller is the thread itself. The
            // handle's drop would detach the thread.
            _ => {
                let _ = handle.into_pthread_t();
                return Ok(());
            }
        }
    }
}

fn realtime(from_now: Duration) -> libc::timespec {
    let mut now = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: `now` is writable for one timespec, and CLOCK_REALTIME always exists.
    let now = unsafe {
        libc::clock_gettime(libc::CLOCK_REALTIME, now.as_mut_ptr());
        now.assume_init()
    };
    let nanos = now.tv_nsec as u64 + u64::from(from_now.subsec_nanos());
    let seconds = from_now.as_secs() + nanos / 1_000_000_000;
    libc::timespec { tv_sec: now.tv_sec + seconds as libc::time_t, tv_nsec: (nanos % 1_000_000_000) as _ }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::sync::mpsc;

    #[test]
    fn a_running_thread_is_checked_until_it_ends() {
        let (end, wait) = mpsc::channel::<()>();
        let handle = std::thread::spawn(move || {
            let _ = wait.recv();
        });
        let (checks, end) = (Cell::new(0), Cell::new(Some(end)));
        let joined = join(handle, Duration::from_millis(1), || {
            checks.set(checks.get() + 1);
            if checks.get() == 3 {
                end.take();
                return Some(Duration::from_secs(60));
            }
            Some(Duration::from_millis(1))
        });
        assert!(joined.is_ok());
        assert_eq!(checks.get(), 3);
    }

    #[test]
    fn a_join_that_is_given_up_can_be_repeated() {
        let (end, wait) = mpsc::channel::<()>();
        let handle = std::thread::spawn(move || {
            let _ = wait.recv();
        });
        let handle = join(handle, Duration::from_millis(1), || None).expect_err("it waits");
        drop(end);
        assert!(join(handle, Duration::from_secs(60), || Some(Duration::from_secs(60))).is_ok());
    }
}

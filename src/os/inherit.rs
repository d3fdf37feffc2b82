//! What a process inherits of signals, ignored and blocked ones, and what its parent is told of its
//! end.

use std::mem::{self, MaybeUninit};
use std::ptr;

/// Returns `true` if this process ignores `signal`. It inherits that, for example, from `nohup`, or
/// from a shell that runs `prog &` in a script.
pub(crate) fn is_ignored(signal: i32) -> bool {
    action(signal) == Some(libc::SIG_IGN)
}

/// Returns `true` if this process handles or ignores `signal`, and does not leave it to the
/// system's default.
pub(crate) fn is_handled(signal: i32) -> bool {
    action(signal).is_some_and(|action| action != libc::SIG_DFL)
}

/// What [`handler`] gives for the system's default action.
pub(crate) const DEFAULT: usize = libc::SIG_DFL;
/// What [`handler`] gives for a signal that is ignored.
pub(crate) const IGNORED: usize = libc::SIG_IGN;

/// The address of the function that handles `signal` in this process, or [`DEFAULT`] or
/// [`IGNORED`]. `None` if the system does not tell.
pub(crate) fn handler(signal: i32) -> Option<usize> {
    action(signal)
}

fn action(signal: i32) -> Option<libc::sighandler_t> {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: a null action asks only; `action` is writable for one sigaction.
    let failed = unsafe { libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) };
    // SAFETY: written by the successful call.
    (failed == 0).then(|| unsafe { action.assume_init() }.sa_sigaction)
}

/// Unblocks these signals in the calling thread, which may have inherited them as blocked.
pub(crate) fn unblock(signals: &[i32]) {
    // SAFETY: sigemptyset makes `set` valid, which is what the other two need. A signal's
    // number out of range is refused by sigaddset, without effect.
    unsafe {
        let mut set: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for &signal in signals {
            libc::sigaddset(&raw mut set, signal);
        }
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, ptr::null_mut());
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod end {
    use std::ffi::{c_int, c_void};
    use std::sync::atomic::{AtomicI32, Ordering};
    use std::sync::{Once, OnceLock};

    unsafe extern "C" {
        /// Of glibc, and in no version of the crate libc: `atexit` whose function gets the exit
        /// code.
        fn on_exit(run: extern "C" fn(c_int, *mut c_void), argument: *mut c_void) -> c_int;
    }

    /// The exit code that stands for a death by SIGINT; 0 while there is none. Relaxed: the thread
    /// that ends the process has stored it, or has joined the thread that did.
    static CODE: AtomicI32 = AtomicI32::new(0);
    static DIE: OnceLock<fn(i32)> = OnceLock::new();

    pub(crate) fn prepare(die: fn(i32)) {
        static ONCE: Once = Once::new();
        let _ = DIE.set(die);
        ONCE.call_once(|| {
            // SAFETY: `at_exit` is a function of this program, which stays valid, and takes no
            // notice of its argument. Without memory for it (not 0) the exit code stays a number.
            let _ = unsafe { on_exit(at_exit, std::ptr::null_mut()) };
        });
    }

    pub(crate) fn die_if_exiting_with(code: i32) {
        CODE.store(code, Ordering::Relaxed);
    }

    /// Runs when the process exits, with its exit code. Kills the process by SIGINT, if that code
    /// stands for an interrupted program.
    extern "C" fn at_exit(code: c_int, _: *mut c_void) {
        if code == 0 || code != CODE.load(Ordering::Relaxed) {
            return;
        }
        // SAFETY: null means all output streams of C; what they hold would be lost.
        unsafe { libc::fflush(std::ptr::null_mut()) };
        if let Some(die) = DIE.get() {
            die(code);
        }
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
mod end {
    pub(crate) fn prepare(_die: fn(i32)) {}

    pub(crate) fn die_if_exiting_with(_code: i32) {}
}

/// From now on `die` is called with the exit code that [`die_if_exiting_with`] has named, when the
/// process exits with that code: after the return from `main`, and after the functions that were
/// given to `atexit` since. Only with glibc: elsewhere the exit code stays a number.
pub(crate) use end::{die_if_exiting_with, prepare as at_exit_with};

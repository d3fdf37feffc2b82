//! Unix: what runs before SIGABRT ends the process, and on which thread. For the log, which writes
//! what is queued.

use super::errno::Errno;
use super::process::stay_loaded;
use std::sync::OnceLock;
use std::{mem, ptr};

/// What to do first when the process aborts, and what SIGABRT did before.
static AT_ABORT: OnceLock<(extern "C" fn(bool), libc::sigaction)> = OnceLock::new();

/// Before SIGABRT does what it did before, mostly end the process, `run` is called in its handler;
/// with true if something other than the end was to follow. It must do nothing that a signal
/// handler may not. Once for the process.
pub(crate) fn at_abort(run: extern "C" fn(bool)) {
    // SAFETY: an all-zero sigaction is a valid value: no handler, no flags, an empty mask.
    let (mut before, mut ours): (libc::sigaction, libc::sigaction) = unsafe { (mem::zeroed(), mem::zeroed()) };
    // SAFETY: without a new action it only writes the old one to `before`, which is writable.
    let asked = unsafe { libc::sigaction(libc::SIGABRT, ptr::null(), &raw mut before) };
    // A process that ignores it aborts all the same: then there is no handler to be called.
    if asked != 0 || before.sa_sigaction == libc::SIG_IGN || AT_ABORT.set((run, before)).is_err() {
        return;
    }
    stay_loaded();
    ours.sa_sigaction = on_abort as unsafe extern "C" fn(libc::c_int) as usize;
    // On the alternative stack: a stack that has overflowed ends in an abort too.
    ours.sa_flags = libc::SA_ONSTACK | libc::SA_RESTART;
    // SAFETY: the set is writable. `ours` is complete then. Its handler is a function of this
    // program or library, which stays loaded, and may be called by the kernel on any thread: see
    // its `# Safety`.
    unsafe {
        // The alternative stack has no room for one more handler, for example the profiler's, on
        // top of this one.
        libc::sigfillset(&raw mut ours.sa_mask);
        libc::sigaction(libc::SIGABRT, &raw const ours, ptr::null_mut());
    }
}

/// The address of the handler that [`at_abort`] has installed. `None` if it has installed none.
pub(crate) fn handler() -> Option<usize> {
    AT_ABORT.get().map(|_| on_abort as unsafe extern "C" fn(libc::c_int) as usize)
}

/// The handler of SIGABRT.
///
/// # Safety
/// Called by the kernel, as the answer to a signal, after `AT_ABORT` was set.
///
/// # Signal safety
/// Safe. What it calls: `__errno_location` (an address in memory that libc has for each thread from
/// its start), `OnceLock::get` (one load), `run`, which promises the same, `sigaction` and `raise`
/// (both in POSIX's list). No lock, no allocation, no thread-local of this crate.
unsafe extern "C" fn on_abort(signal: libc::c_int) {
    let errno = Errno::save();
    if let Some((run, before)) = AT_ABORT.get() {
        run(before.sa_sigaction != libc::SIG_DFL);
        // SAFETY: `before` is what sigaction gave. The raised signal is blocked until this handler
        // returns, and then finds the thread as it was, so that a core dump shows the place.
        unsafe {
            libc::sigaction(libc::SIGABRT, before, ptr::null_mut());
            libc::raise(signal);
        }
    }
    errno.restore();
}

/// The calling thread is not chosen to handle a SIGABRT that comes from outside. Its own `abort`
/// unblocks it.
pub(crate) fn block_abort() {
    // SAFETY: sigemptyset makes `set` valid, which is what the other two need.
    unsafe {
        let mut set: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGABRT);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut());
    }
}

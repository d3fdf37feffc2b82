//! Unix: what happens to the whole process (fork, exit), and files that must not be waited for.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Once, OnceLock};
use std::{mem, ptr};

/// From now on each `fork` calls `before` in the forking thread, then `parent` and `child` in the
/// two processes.
pub(crate) fn at_fork(before: extern "C" fn(), parent: extern "C" fn(), child: extern "C" fn()) {
    stay_loaded();
    // SAFETY: the three are functions of this program, which stay valid; libc keeps the pointers.
    // Without memory for that (ENOMEM) a fork is not prepared, which only a program that forks and
    // logs in the child could notice.
    unsafe { libc::pthread_atfork(Some(before), Some(parent), Some(child)) };
}

/// `run` is called by `exit`, and so by `std::process::exit` and after a return from `main`.
pub(crate) fn at_exit(run: extern "C" fn()) {
    stay_loaded();
    // SAFETY: `run` is a function of this program, which stays valid; one that cannot be kept is
    // not called.
    unsafe { libc::atexit(run) };
}

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
        // The alternative stack has no room for one more handler, such as the profiler's, on top of
        // this one.
        libc::sigfillset(&raw mut ours.sa_mask);
        libc::sigaction(libc::SIGABRT, &raw const ours, ptr::null_mut());
    }
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

/// What a signal handler has found in the calling thread's errno. By value: each system call of the
/// handler writes to it.
pub(crate) struct Errno(libc::c_int);

impl Errno {
    /// # Signal safety
    /// Safe.
    pub(crate) fn save() -> Errno {
        // SAFETY: the place is the calling thread's own, and always readable.
        Errno(errno_place().map_or(0, |place| unsafe { place.read() }))
    }

    /// # Signal safety
    /// Safe.
    pub(crate) fn restore(self) {
        if let Some(place) = errno_place() {
            // SAFETY: the place is the calling thread's own, and always writable. No reference to
            // it exists.
            unsafe { place.write(self.0) };
        }
    }
}

#[cfg(target_os = "linux")]
fn errno_place() -> Option<*mut libc::c_int> {
    // SAFETY: has no preconditions.
    Some(unsafe { libc::__errno_location() })
}

/// Only Linux names its place in a way that all targets of libc have.
#[cfg(not(target_os = "linux"))]
fn errno_place() -> Option<*mut libc::c_int> {
    None
}

/// This code stays in memory from now on, also if it is in a library that is closed with `dlclose`:
/// the kernel, libc or a thread will call it later. Called before a handler is installed, a
/// callback is left with libc, or a thread starts.
#[cfg(all(target_os = "linux", target_env = "gnu", not(target_feature = "crt-static")))]
pub(crate) fn stay_loaded() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: all-zero is a valid Dl_info: null pointers.
        let mut found: libc::Dl_info = unsafe { mem::zeroed() };
        // SAFETY: an address of this code; `found` is writable for one Dl_info.
        let is_found = unsafe { libc::dladdr(stay_loaded as fn() as *const libc::c_void, &raw mut found) } != 0;
        if is_found && !found.dli_fname.is_null() {
            // Not opened again, since it is loaded already: only marked. Of the program itself,
            // which cannot be closed, the loader finds no library of that name, or the program.
            // SAFETY: the name is the loader's own text, which ends and stays while this code is
            // loaded. What the library does when it is loaded was done before. The handle is never
            // closed.
            unsafe { libc::dlopen(found.dli_fname, libc::RTLD_LAZY | libc::RTLD_NOLOAD | libc::RTLD_NODELETE) };
        }
    });
}

/// A static program has no libraries; with musl, `dlclose` unloads nothing. Elsewhere it is not
/// known how to ask for it.
#[cfg(not(all(target_os = "linux", target_env = "gnu", not(target_feature = "crt-static"))))]
pub(crate) fn stay_loaded() {}

/// The calling thread is not chosen to handle a SIGABRT that comes from outside. Its own `abort`
/// unblocks it.
pub(crate) fn block_abort() {
    // SAFETY: sigemptyset makes `set` valid, which is all that the other two need.
    unsafe {
        let mut set: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGABRT);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut());
    }
}

/// From now on a write beyond the limit of a file's size (RLIMIT_FSIZE) is an error (EFBIG) and
/// does not end the process, unless the program has decided otherwise. A handler and not SIG_IGN,
/// because programs that this one starts would inherit that.
pub(crate) fn survive_file_size_limit() {
    extern "C" fn nothing(_: libc::c_int) {}
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if super::inherit::is_handled(libc::SIGXFSZ) {
            return;
        }
        // SAFETY: an all-zero sigaction is a valid value, and its mask is writable. `action` is
        // complete when it is given to sigaction; the handler is a function of this program, which
        // stays valid, and does nothing.
        unsafe {
            let mut action: libc::sigaction = mem::zeroed();
            action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as usize;
            action.sa_flags = libc::SA_ONSTACK | libc::SA_RESTART;
            libc::sigemptyset(&raw mut action.sa_mask);
            libc::sigaction(libc::SIGXFSZ, &raw const action, ptr::null_mut());
        }
    });
}

/// Opens for appending. A FIFO without a reader is an error (ENXIO) instead of a wait without end.
pub(crate) fn open_for_log(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    if std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo()) {
        options.custom_flags(libc::O_NONBLOCK);
    }
    options.open(path)
}

/// Returns `true` for the error that a FIFO has no reader now.
pub(crate) fn is_without_reader(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENXIO)
}

/// The identity of the file, which does not depend on its name.
pub(crate) fn identity(metadata: &Metadata) -> Option<(u64, u64)> {
    Some((metadata.dev(), metadata.ino()))
}

/// A socket has a path, but cannot be opened by it.
pub(crate) fn is_socket(metadata: &Metadata) -> bool {
    metadata.file_type().is_socket()
}

/// Whether the file has no name any more: what is written to it is lost once it is closed.
pub(crate) fn is_deleted(metadata: &Metadata) -> bool {
    metadata.nlink() == 0
}

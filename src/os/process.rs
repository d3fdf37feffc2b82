//! Unix: what happens to the whole process: fork, exit, a limit of its files, and code that must
//! stay loaded.

use std::sync::Once;

/// From now on each `fork` calls `before` in the forking thread, then `parent` and `child` in the
/// two processes.
pub(crate) fn at_fork(before: extern "C" fn(), parent: extern "C" fn(), child: extern "C" fn()) {
    stay_loaded();
    // SAFETY: the three are functions of this program, which stay valid; libc keeps the pointers.
    // Without memory for that (ENOMEM) a fork is not prepared, which only a program that forks and
    // logs in the child could notice.
    unsafe { libc::pthread_atfork(Some(before), Some(parent), Some(child)) };
}

/// Registers `run` with `exit`, which `std::process::exit` and a return from `main` call.
pub(crate) fn at_exit(run: extern "C" fn()) {
    stay_loaded();
    // SAFETY: `run` is a function of this program, which stays valid; a function that cannot be
    // kept is not called.
    unsafe { libc::atexit(run) };
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
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as usize;
            action.sa_flags = libc::SA_ONSTACK | libc::SA_RESTART;
            libc::sigemptyset(&raw mut action.sa_mask);
            libc::sigaction(libc::SIGXFSZ, &raw const action, std::ptr::null_mut());
        }
    });
}

/// This code stays in memory from now on, also if it is in a library that is closed with `dlclose`:
/// the kernel, libc or a thread will call it later. Called before a handler is installed, a
/// callback is left with libc, or a thread starts.
#[cfg(all(target_os = "linux", target_env = "gnu", not(target_feature = "crt-static")))]
pub(crate) fn stay_loaded() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: all-zero is a valid Dl_info: null pointers.
        let mut found: libc::Dl_info = unsafe { std::mem::zeroed() };
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

/// The user that the process acts as.
#[cfg(feature = "inspect")]
pub(crate) fn user_id() -> u32 {
    // SAFETY: has no preconditions.
    unsafe { libc::geteuid() }
}

/// The CPU time that the process has used, user and system.
#[cfg(any(feature = "inspect", feature = "profiling"))]
pub(crate) fn cpu_time() -> std::time::Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is writable for one timespec. A sandbox that refuses the call leaves 0.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    std::time::Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

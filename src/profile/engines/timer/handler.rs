//! The signal handler, and which handler the process has. What it calls allocates nothing, locks
//! nothing, and knows no names.

use super::table;
use super::unwind::{Modules, Registers};
use crate::os::errno::Errno;
use crate::os::process::stay_loaded;
use crate::os::sigprof::{self, Handler};
use std::io;
use std::sync::atomic::{AtomicPtr, Ordering};

/// What handlers unwind with. Null: nothing was ever listed.
static UNWINDING: AtomicPtr<Modules> = AtomicPtr::new(std::ptr::null_mut());

/// Lets handlers unwind with `modules` from now on, and gives back what they used before. That may
/// still be in use: it must be kept until a grace of each entry has passed, all of them begun after
/// this call.
pub(super) fn publish(modules: Option<Box<Modules>>) -> Option<Box<Modules>> {
    let new = modules.map_or(std::ptr::null_mut(), Box::into_raw);
    // SeqCst: paired with the handler's `turns` and load, see `table::Claim::take`.
    let old = UNWINDING.swap(new, Ordering::SeqCst);
    // SAFETY: what is in there came from `Box::into_raw` above, and has just been taken out.
    (!old.is_null()).then(|| unsafe { Box::from_raw(old) })
}

/// Makes the handler the process's answer to SIGPROF, if it is not yet.
///
/// # Errors
/// The system refuses.
pub(super) fn install() -> io::Result<()> {
    stay_loaded();
    sigprof::install(handler)
}

/// The handler of SIGPROF, if it is a function of other code.
///
/// # Errors
/// The system would not tell.
pub(super) fn anothers() -> io::Result<Option<Handler>> {
    Ok(displaced()?.filter(|handler| matches!(handler, Handler::Function(_))))
}

/// What has taken the place of this handler; `None` if it is in its place.
///
/// # Errors
/// The system would not tell.
pub(super) fn displaced() -> io::Result<Option<Handler>> {
    let found = sigprof::handler()?;
    Ok(Some(found).filter(|found| *found != Handler::Function(handler as *const () as usize)))
}

/// Whether the handler is in place.
#[cfg(feature = "pprof-engine")]
pub(in crate::profile::engines) fn is_installed() -> bool {
    matches!(sigprof::handler(), Ok(Handler::Function(function)) if function == handler as *const () as usize)
}

/// The handler of SIGPROF: samples the thread that it interrupts, or answers where it is, if its
/// entry leads to a slot or a request.
///
/// # Safety
/// Called by the kernel, as the answer to a signal, with SA_SIGINFO and all signals blocked.
///
/// # Signal safety
/// Safe. No lock, no allocation, no thread-local of this crate, no panic that we know how to cause.
/// What it calls, besides code that only calculates and loads and stores memory:
///
/// | call | why it is safe |
/// |---|---|
/// | `__errno_location` | an address in memory that libc has for each thread from its start |
/// | `gettid`, `clock_gettime`, `process_vm_readv`, `rt_sigprocmask`, `getpid` | system calls, which write errno at most; the last but one changes no mask |
/// | `pthread_self` | POSIX's list; reads a register |
/// | `table::enter`, `StackRequest::reply`, `Slot::sample`, `Modules::walk`, `Copied::word`, `is_readable`, `Writer` | this crate's, each with a `# Signal safety` of its own |
/// | gimli's `UnwindContext` and `Evaluation` with storage of a fixed size | its promise; the context is the slot's or the request's |
unsafe extern "C" fn handler(_: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let errno = Errno::save();
    // SAFETY: has no preconditions.
    let id = unsafe { libc::syscall(libc::SYS_gettid) };
    let thread = crate::os::thread_handle();
    table::enter(id as i32, |found| {
        // SAFETY: the kernel's own, for this handler.
        let registers = unsafe { Registers::interrupted(context) };
        if let Some(request) = found.request.filter(|request| request.is_for(thread)) {
            // SAFETY: this is the handler of the thread that was asked, by its id and its
            // `pthread_t`. All signals wait while it runs, so it does not interrupt itself. The
            // kernel gave it the registers.
            unsafe { request.reply(&registers) };
        }
        let Some(slot) = found.slot.filter(|slot| slot.is_for(thread)) else { return };
        // SAFETY: the kernel's own, for this handler.
        if unsafe { sigprof::is_request(info) } {
            // No sample was due. A record would take time from the samples that were.
            return;
        }
        // SAFETY: null, or alive while this handler is within the thread's entry.
        let modules = unsafe { UNWINDING.load(Ordering::SeqCst).as_ref() };
        // SAFETY: this is the handler of the thread that the slot was given to, by its id and, if
        // it is the tree's, its `pthread_t`. All signals wait while it runs, so it does not
        // interrupt itself. The kernel gave it the registers.
        unsafe { slot.sample(modules, &registers) };
    });
    errno.restore();
}

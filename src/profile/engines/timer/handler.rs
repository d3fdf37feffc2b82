//! The signal handler of SIGPROF, and which handler the process has. The handler allocates nothing,
//! locks nothing and resolves no names; nor does a function that it calls.

use super::table;
use super::unwind::{Modules, Registers};
use crate::os::errno::Errno;
use crate::os::process::stay_loaded;
use crate::os::sigprof::{self, Handler};
use std::io;
use std::sync::atomic::{AtomicPtr, Ordering};

/// The module list that handlers unwind with. Null: none was published yet.
static UNWINDING: AtomicPtr<Modules> = AtomicPtr::new(std::ptr::null_mut());

/// Lets handlers unwind with `modules` from now on, and returns the list that they used before. A
/// handler may still be using that list: the caller must keep it until a grace of each entry is
/// over that began after this call.
pub(super) fn publish(modules: Option<Box<Modules>>) -> Option<Box<Modules>> {
    let new = modules.map_or(std::ptr::null_mut(), Box::into_raw);
    // SeqCst: paired with the handler's `turns` and load, see `table::Claim::take`.
    let old = UNWINDING.swap(new, Ordering::SeqCst);
    // SAFETY: what is in there came from `Box::into_raw` above, and has just been taken out.
    (!old.is_null()).then(|| unsafe { Box::from_raw(old) })
}

/// Makes this handler the process's handler of SIGPROF, if it is not yet.
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
/// The system refuses to say.
pub(super) fn anothers() -> io::Result<Option<Handler>> {
    Ok(displaced()?.filter(|handler| matches!(handler, Handler::Function(_))))
}

/// The handler that has replaced this one; `None` if this one is in its place.
///
/// # Errors
/// The system refuses to say.
pub(super) fn displaced() -> io::Result<Option<Handler>> {
    let found = sigprof::handler()?;
    Ok(Some(found).filter(|found| *found != Handler::Function(handler as *const () as usize)))
}

/// Returns `true` if this handler is in its place.
#[cfg(feature = "pprof-engine")]
pub(in crate::profile::engines) fn is_installed() -> bool {
    matches!(sigprof::handler(), Ok(Handler::Function(function)) if function == handler as *const () as usize)
}

/// The handler of SIGPROF. Finds the entry of the interrupted thread, replies to its stack request,
/// and takes a sample into its slot. Does nothing if the entry has neither, or if they were made
/// for a thread with another `pthread_t`.
///
/// # Safety
/// - Called by the kernel only, to deliver a signal.
/// - Installed with SA_SIGINFO, so `info` and `context` are the kernel's.
/// - All signals are blocked while it runs, so it does not interrupt itself.
///
/// # Signal safety
/// Safe. Saves errno first and restores it last. No lock, no allocation, no thread-local of this
/// crate, no panic that we know how to cause. It calls, besides code that only computes and
/// accesses memory:
///
/// | call | why it is safe |
/// |---|---|
/// | `__errno_location` | returns an address that libc has for each thread from its start |
/// | `gettid`, `clock_gettime`, `getpid`, `futex` to wake | system calls, which write at most errno |
/// | `process_vm_readv` | the same; copies memory of this process |
/// | `rt_sigprocmask` | the same; called with invalid arguments, so it changes no mask |
/// | `pthread_self` | in POSIX's list; reads a register |
/// | `table::enter`, `StackRequest::reply`, `Slot::sample`, `SampleFlag::raise` | see their `# Signal safety` |
/// | `Modules::walk`, `Copied::word`, `is_readable`, `Writer` | the same |
/// | gimli's `CallFrameInstructionIter`, and `Evaluation` of fixed size | gimli promises that they do not allocate |
unsafe extern "C" fn handler(_: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let errno = Errno::save();
    // SAFETY: has no preconditions.
    let id = unsafe { libc::syscall(libc::SYS_gettid) };
    let thread = crate::os::thread_handle();
    table::enter(id as i32, |found| {
        // SAFETY: `context` is what the kernel gave to this handler, which has not returned.
        let registers = unsafe { Registers::interrupted(context) };
        if let Some(request) = found.request.filter(|request| request.is_for(thread)) {
            // SAFETY: this is the handler of the thread whose entry names the request, and `is_for`
            // was `true`. All signals are blocked while it runs, so it does not interrupt itself.
            // The kernel gave it the registers.
            unsafe { request.reply(&registers) };
        }
        let Some(slot) = found.slot.filter(|slot| slot.is_for(thread)) else { return };
        // SAFETY: `info` is what the kernel gave to this handler, which has not returned.
        if unsafe { sigprof::is_request(info) } {
            // No sample is due. A record would take time from the samples that are.
            return;
        }
        // SAFETY: null, or a list that lives while this handler is within the thread's entry:
        // `publish` demands a grace.
        let modules = unsafe { UNWINDING.load(Ordering::SeqCst).as_ref() };
        // SAFETY: this is the handler of the thread whose entry names the slot, and `is_for` was
        // `true`. All signals are blocked while it runs, so it does not interrupt itself. The
        // kernel gave it the registers.
        unsafe { slot.sample(modules, &registers) };
    });
    errno.restore();
}

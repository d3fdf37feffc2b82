//! The signal handler, and who may be it. What it calls allocates nothing, locks nothing, and knows no names.

use super::table;
use super::unwind::{Modules, Registers};
use crate::os::sigprof::{self, Handler};
use std::io;
use std::sync::atomic::{AtomicPtr, Ordering};

/// What handlers unwind with. Null: nothing was ever listed.
static UNWINDING: AtomicPtr<Modules> = AtomicPtr::new(std::ptr::null_mut());

/// Lets handlers unwind with `modules` from now on, and gives back what they used before. That may still be in use: it
/// must be kept until a grace of each entry has passed, all of them begun after this call.
pub(super) fn publish(modules: Option<Box<Modules>>) -> Option<Box<Modules>> {
    let new = modules.map_or(std::ptr::null_mut(), Box::into_raw);
    // SeqCst: paired with the handler's `turns` and load, see `table::Entry::take`.
    let old = UNWINDING.swap(new, Ordering::SeqCst);
    // SAFETY: what is in there came from `Box::into_raw` above, and has just been taken out.
    (!old.is_null()).then(|| unsafe { Box::from_raw(old) })
}

/// Makes the handler the process's answer to SIGPROF, if it is not yet.
///
/// # Errors
/// The system refuses.
pub(super) fn install() -> io::Result<()> {
    sigprof::install(handler)
}

/// Whether somebody else answers SIGPROF.
///
/// # Errors
/// The system would not tell.
pub(super) fn is_anothers() -> io::Result<bool> {
    Ok(matches!(sigprof::handler()?, Handler::Function(function) if function != handler as *const () as usize))
}

/// Whether the handler is in place.
#[cfg(feature = "pprof-engine")]
pub(in crate::profile::engines) fn is_installed() -> bool {
    matches!(sigprof::handler(), Ok(Handler::Function(function)) if function == handler as *const () as usize)
}

unsafe extern "C" fn handler(_: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: each thread has an errno of its own, at an address that stays.
    let errno = unsafe { &mut *libc::__errno_location() };
    let saved = *errno;
    // SAFETY: has no preconditions.
    let thread = unsafe { libc::syscall(libc::SYS_gettid) };
    if let Some(entry) = table::entry(thread as i32) {
        entry.enter(|found| {
            // SAFETY: the kernel's own, for this handler.
            let registers = unsafe { Registers::interrupted(context) };
            if let Some(question) = found.question {
                // SAFETY: this is the handler of the thread that was asked, and all signals wait while it runs.
                unsafe { question.answer(&registers) };
            }
            let Some(slot) = found.slot else { return };
            // SAFETY: the kernel's own, for this handler.
            if unsafe { sigprof::is_question(info) } {
                // Nobody's sample was due: it would take time from those that were.
                return;
            }
            // SAFETY: null, or alive while this entry's `turns` is odd, which it is in here.
            let modules = unsafe { UNWINDING.load(Ordering::SeqCst).as_ref() };
            // SAFETY: this is the handler of the thread that the slot was given to, and all signals wait while it runs.
            unsafe { slot.sample(modules, &registers) };
        });
    }
    *errno = saved;
}

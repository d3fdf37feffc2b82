//! What the process timer and its signal, SIGPROF, can do on this system: handlers, stacks for
//! handlers, what another library has set. Unix only.

use std::io;
use std::mem::MaybeUninit;
use std::time::Duration;

/// What happens when a SIGPROF arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handler {
    /// It ends the process.
    Default,
    Ignored,
    /// The address of a function.
    Function(usize),
}

/// Reads what happens in this process when a SIGPROF arrives.
///
/// # Errors
/// The system would not tell.
pub(crate) fn handler() -> io::Result<Handler> {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: a null action asks only; `action` is writable for one sigaction.
    let failed = unsafe { libc::sigaction(libc::SIGPROF, std::ptr::null(), action.as_mut_ptr()) };
    if failed != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: written by the successful call.
    Ok(match unsafe { action.assume_init() }.sa_sigaction {
        libc::SIG_DFL => Handler::Default,
        libc::SIG_IGN => Handler::Ignored,
        function => Handler::Function(function),
    })
}

/// Removes the handler of SIGPROF. A SIGPROF that arrives later is ignored.
///
/// # Errors
/// The system refuses.
#[cfg(feature = "pprof-engine")]
pub(crate) fn uninstall() -> io::Result<()> {
    // SAFETY: SIG_IGN is a valid handler, and needs no function to stay.
    let failed = unsafe { libc::signal(libc::SIGPROF, libc::SIG_IGN) } == libc::SIG_ERR;
    if failed { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// While it lives, this process ignores SIGPROF, and its process timer is off.
pub(crate) struct Ignored {
    handler: libc::sigaction,
    timer: libc::itimerval,
}

/// Drops pending SIGPROF, and ignores later ones. A program that replaces this one inherits that.
///
/// # Errors
/// The system refuses.
pub(crate) fn ignore() -> io::Result<Ignored> {
    // SAFETY: all-zero is a valid value of each: a handler that is none, a timer that is off.
    let (mut ignored, off): (Ignored, libc::itimerval) = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: all-zero is a valid sigaction.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = libc::SIG_IGN;
    // SAFETY: `action` is whole, and needs no function to stay; the old one is written to a
    // writable place.
    if unsafe { libc::sigaction(libc::SIGPROF, &raw const action, &raw mut ignored.handler) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // It would go on in the new program.
    // SAFETY: `off` is whole, and the old one is written to a writable place.
    unsafe { libc::setitimer(libc::ITIMER_PROF, &raw const off, &raw mut ignored.timer) };
    Ok(ignored)
}

impl Drop for Ignored {
    fn drop(&mut self) {
        // SAFETY: both are what the system gave, and are whole; the old ones are not asked for.
        unsafe {
            libc::sigaction(libc::SIGPROF, &raw const self.handler, std::ptr::null_mut());
            libc::setitimer(libc::ITIMER_PROF, &raw const self.timer, std::ptr::null_mut());
        }
    }
}

/// Lets `function` handle SIGPROF: all other signals wait meanwhile, and system calls that it
/// interrupts are restarted where the kernel can do that.
///
/// # Errors
/// The system refuses.
#[cfg(target_os = "linux")]
pub(crate) fn install(
    function: unsafe extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void),
) -> io::Result<()> {
    // SAFETY: all-zero is a valid sigaction.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = function as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
    // SAFETY: the set is writable.
    unsafe { libc::sigfillset(&mut action.sa_mask) };
    // SAFETY: `action` is whole, its function has the form that SA_SIGINFO asks for; the old one is
    // not asked for.
    let failed = unsafe { libc::sigaction(libc::SIGPROF, &action, std::ptr::null_mut()) };
    if failed != 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Returns `true` if that error of [`send`] or [`send_request`] says that there is no such thread.
/// Any other error is a refusal: a sandbox answers with what it likes, EPERM, ENOSYS or EACCES
/// mostly.
#[cfg(target_os = "linux")]
pub(crate) fn is_no_thread(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ESRCH)
}

/// Lets SIGPROF reach the calling thread, which may have inherited it as blocked.
#[cfg(target_os = "linux")]
pub(crate) fn unblock() {
    super::inherit::unblock(&[libc::SIGPROF]);
}

/// Sends SIGPROF to a thread of this process, by its kernel id.
///
/// # Errors
/// There is no such thread ([`is_no_thread`]), or the system refuses.
#[cfg(target_os = "linux")]
pub(crate) fn send(thread: i32) -> io::Result<()> {
    // SAFETY: no memory is touched; without such a thread nothing happens.
    let failed = unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, libc::SIGPROF) };
    if failed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The value that a signal of [`send_request`] carries, and no other signal: an address in this
/// crate.
#[cfg(target_os = "linux")]
static REQUEST_MARK: u8 = 0;

/// A siginfo_t as `rt_tgsigqueueinfo` takes it, with the fields of a queued signal: as large and as
/// aligned as the kernel's.
#[cfg(target_os = "linux")]
#[repr(C, align(8))]
struct Queued {
    signal: i32,
    errno: i32,
    code: i32,
    _padding: i32,
    process: i32,
    user: u32,
    value: u64,
    _rest: [u64; 12],
}

/// Sends SIGPROF to a thread of this process, by its kernel id, in such a way that [`is_request`]
/// knows it. Where the system refuses that, without the mark.
///
/// # Errors
/// There is no such thread ([`is_no_thread`]), or the system refuses both.
#[cfg(target_os = "linux")]
pub(crate) fn send_request(thread: i32) -> io::Result<()> {
    // SAFETY: have no preconditions.
    let (process, user) = unsafe { (libc::getpid(), libc::getuid()) };
    let request = Queued {
        signal: libc::SIGPROF,
        errno: 0,
        code: libc::SI_QUEUE,
        _padding: 0,
        process,
        user,
        value: &raw const REQUEST_MARK as u64,
        _rest: [0; 12],
    };
    // SAFETY: the kernel reads one siginfo_t, which `request` is in size and form, and keeps no
    // pointer to it.
    let failed =
        unsafe { libc::syscall(libc::SYS_rt_tgsigqueueinfo, process, thread, libc::SIGPROF, &raw const request) };
    if failed == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    if is_no_thread(&error) { Err(error) } else { send(thread) }
}

/// Returns `true` if this signal was sent by [`send_request`]. If the kernel could not keep its
/// details, it looks like any other.
///
/// # Safety
/// `info` is what the kernel gave to a signal handler that has not returned.
///
/// # Signal safety
/// Safe.
#[cfg(target_os = "linux")]
pub(crate) unsafe fn is_request(info: *const libc::siginfo_t) -> bool {
    // SAFETY: the caller's word; a siginfo_t is as large as this and no less aligned.
    let info = unsafe { &*info.cast::<Queued>() };
    info.code == libc::SI_QUEUE && info.value == &raw const REQUEST_MARK as u64
}

/// The kernel's tick: it looks at the process timer no more often than this. `None` where it cannot
/// be read.
pub(crate) fn tick() -> Option<Duration> {
    #[cfg(target_os = "linux")]
    {
        let mut tick = MaybeUninit::<libc::timespec>::uninit();
        // SAFETY: `tick` is writable for one timespec.
        let failed = unsafe { libc::clock_getres(libc::CLOCK_MONOTONIC_COARSE, tick.as_mut_ptr()) };
        if failed != 0 {
            return None;
        }
        // SAFETY: written by the successful call.
        let tick = unsafe { tick.assume_init() };
        Some(Duration::new(tick.tv_sec as u64, tick.tv_nsec as u32)).filter(|tick| !tick.is_zero())
    }
    #[cfg(not(target_os = "linux"))]
    None
}

#[cfg(test)]
mod tests {
    #[cfg(target_os = "linux")]
    #[test]
    fn a_request_has_the_layout_of_siginfo() {
        use super::Queued;
        assert_eq!(size_of::<Queued>(), size_of::<libc::siginfo_t>());
        assert_eq!(align_of::<Queued>(), align_of::<libc::siginfo_t>());
        // As si_pid() and si_value() of libc's own find them.
        // SAFETY: all-zero is a valid siginfo_t.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        (info.si_signo, info.si_code) = (libc::SIGPROF, libc::SI_QUEUE);
        let request = (&raw mut info).cast::<Queued>();
        // SAFETY: as large and as aligned, as was asserted.
        unsafe {
            (*request).process = 77;
            (*request).value = 0x1234_5678_9abc;
            assert_eq!((info.si_pid(), info.si_value().sival_ptr as u64), (77, 0x1234_5678_9abc));
            assert!(!super::is_request(&raw const info));
            (*request).value = &raw const super::REQUEST_MARK as u64;
            assert!(super::is_request(&raw const info));
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_tick_is_one_that_kernels_have() {
        let tick = super::tick().expect("Linux has a coarse clock");
        assert!((1..=10).contains(&tick.as_millis()), "{tick:?}");
    }
}

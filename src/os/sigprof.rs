//! What the process timer and its signal, SIGPROF, can do here.

use std::io;
use std::mem::MaybeUninit;
use std::time::Duration;

/// Whether someone in this process handles SIGPROF.
///
/// # Errors
/// The system would not tell.
pub(crate) fn has_handler() -> io::Result<bool> {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: a null action asks only; `action` is writable for one sigaction.
    let failed = unsafe { libc::sigaction(libc::SIGPROF, std::ptr::null(), action.as_mut_ptr()) };
    if failed != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: written by the successful call.
    let handler = unsafe { action.assume_init() }.sa_sigaction;
    Ok(handler != libc::SIG_DFL && handler != libc::SIG_IGN)
}

/// The kernel's tick: it looks at the process timer no more often than this. `None` where it cannot be read.
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
    fn the_tick_is_one_that_kernels_have() {
        let tick = super::tick().expect("Linux has a coarse clock");
        assert!((1..=10).contains(&tick.as_millis()), "{tick:?}");
    }
}

//! Unix: the calling thread's errno, which a signal handler leaves as it has found it.

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

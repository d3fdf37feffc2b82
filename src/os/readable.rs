//! Whether memory of this process can be read, asked in a way that a sandbox hardly refuses, and
//! that a signal handler may use.

/// Returns `true` if the eight bytes from `address` on can be read now. Another thread may unmap
/// them at any time.
///
/// Asks the kernel to change the signal mask by a number that stands for no change. The kernel
/// reads the mask first, and says which of both is wrong.
///
/// # Signal safety
/// Safe: one system call (`rt_sigprocmask`). It changes `errno`.
pub(crate) fn is_readable(address: u64) -> bool {
    const NO_CHANGE: libc::c_int = -1;
    let nothing = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: the kernel copies eight bytes from `address` if it can, and then refuses the call: it
    // writes nowhere.
    let result = unsafe { libc::syscall(libc::SYS_rt_sigprocmask, NO_CHANGE, address, nothing, 8_usize) };
    // SAFETY: the address of a thread's `errno` is always valid.
    result == -1 && unsafe { *libc::__errno_location() } == libc::EINVAL
}

#[cfg(test)]
mod tests {
    use super::is_readable;

    #[test]
    fn only_mapped_memory_can_be_read() {
        let local = 7_u64;
        assert!(is_readable(&raw const local as u64) && is_readable(is_readable as fn(u64) -> bool as usize as u64));
        for address in [0, 8, 4096, 0x7fff_ffff_ffff_fff8, 0x8000_0000_0000_0000, u64::MAX - 7, u64::MAX] {
            assert!(!is_readable(address), "{address:x}");
        }
        // Two pages, of which the second cannot be read.
        // SAFETY: a new mapping, at an address of the kernel's choice, that is given back below.
        unsafe {
            let (kind, access) = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, libc::PROT_READ | libc::PROT_WRITE);
            let pages = libc::mmap(std::ptr::null_mut(), 8192, access, kind, -1, 0);
            assert_ne!(pages, libc::MAP_FAILED);
            assert_eq!(libc::mprotect(pages.byte_add(4096), 4096, libc::PROT_NONE), 0);
            let start = pages as u64;
            assert!(is_readable(start) && is_readable(start + 4088) && !is_readable(start + 4090));
            assert!(!is_readable(start + 4096));
            assert_eq!(libc::munmap(pages, 8192), 0);
            assert!(!is_readable(start));
        }
    }
}

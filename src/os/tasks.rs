//! The threads of this process as the kernel lists them, with the threads that this crate has not
//! started. Linux only.

use std::io;
use std::ops::Range;

pub(crate) use super::task::{list, name};

/// Nanoseconds of CPU time that all threads of the process have used so far, ended ones included.
pub(crate) fn cpu_nanos_of_all() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is writable for one timespec. Linux always has this clock: the call cannot
    // fail.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// What a stack that grows by itself may grow by, beyond what is mapped of it already.
const GROWTH: u64 = 256 * 1024;

/// The writable parts of memory, by address. Each is mapped without a gap at this moment.
pub(crate) fn mappings() -> Vec<Range<u64>> {
    let maps = std::fs::read("/proc/self/maps").unwrap_or_default();
    String::from_utf8_lossy(&maps).lines().filter_map(writable).collect()
}

/// The part in which `address` lies; `None` if there is none.
pub(crate) fn around(mappings: &[Range<u64>], address: u64) -> Option<Range<u64>> {
    let after = mappings.partition_point(|range| range.start <= address);
    mappings[..after].last().filter(|range| range.contains(&address)).cloned()
}

/// From a line like `7ffc1000-7ffc3000 rw-p 00000000 00:00 0    [stack]`.
fn writable(line: &str) -> Option<Range<u64>> {
    let (range, rest) = line.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    let hex = |digits| u64::from_str_radix(digits, 16).ok();
    let (start, end) = (hex(start)?, hex(end)?);
    let start = if rest.ends_with("[stack]") { start.saturating_sub(GROWTH) } else { start };
    rest.starts_with("rw").then_some(start..end)
}

/// A copy of this process's memory at that address, made by the kernel. `None`: not all of it is
/// mapped, or the system refuses the call (`process_vm_readv`).
pub(crate) fn copy_of<const COUNT: usize>(address: u64) -> Option<[u8; COUNT]> {
    let mut copy = [0; COUNT];
    let local = libc::iovec { iov_base: copy.as_mut_ptr().cast(), iov_len: COUNT };
    let remote = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: COUNT };
    // SAFETY: `local` is writable and ours; of `remote` the kernel reads what is mapped, and says
    // how much that was.
    let read = unsafe { libc::process_vm_readv(libc::getpid(), &local, 1, &remote, 1, 0) };
    (read == COUNT as isize).then_some(copy)
}

/// Bytes that [`Copied`] asks for at once: a part of one page, so that they are there together or
/// not.
const BLOCK: u64 = 2048;

/// Memory of this process, read by the kernel: what is not mapped is an error, and no fault.
pub(crate) struct Copied {
    /// The address of the block that was read last.
    from: u64,
    words: [u64; BLOCK as usize / 8],
}

impl Copied {
    pub(crate) fn new() -> Copied {
        // No block begins there.
        Copied { from: u64::MAX, words: [0; BLOCK as usize / 8] }
    }

    /// Tries to read this process's memory as [`word`](Self::word) does.
    ///
    /// # Errors
    /// The system refuses it to this process: a sandbox, or Yama.
    pub(crate) fn probe() -> io::Result<()> {
        let (known, mut read) = (7_u64, 0_u64);
        let local = libc::iovec { iov_base: (&raw mut read).cast(), iov_len: 8 };
        let remote = libc::iovec { iov_base: (&raw const known).cast_mut().cast(), iov_len: 8 };
        // SAFETY: `local` is writable and ours; `remote` is only read.
        let count = unsafe { libc::process_vm_readv(libc::getpid(), &local, 1, &remote, 1, 0) };
        if count < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Forgets what was read, which may be out of date.
    pub(crate) fn forget(&mut self) {
        self.from = u64::MAX;
    }

    /// The eight bytes at that address, which must be a multiple of 8. One system call
    /// (`process_vm_readv`) for each block.
    ///
    /// # Errors
    /// Nothing is mapped there, the address is none for a word, or the kernel does not permit the
    /// call.
    ///
    /// # Signal safety
    /// Safe.
    pub(crate) fn word(&mut self, address: u64) -> Result<u64, ()> {
        if !address.is_multiple_of(8) {
            return Err(());
        }
        let block = address - address % BLOCK;
        if self.from != block {
            self.from = u64::MAX;
            let local = libc::iovec { iov_base: self.words.as_mut_ptr().cast(), iov_len: BLOCK as usize };
            let remote = libc::iovec { iov_base: block as *mut libc::c_void, iov_len: BLOCK as usize };
            // SAFETY: `local` is writable and ours; of `remote` the kernel reads what is mapped,
            // and says how much that was.
            let read = unsafe { libc::process_vm_readv(libc::getpid(), &local, 1, &remote, 1, 0) };
            if read != BLOCK as isize {
                return Err(());
            }
            self.from = block;
        }
        Ok(self.words[(address % BLOCK / 8) as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_thread_is_listed_with_its_stack() {
        // SAFETY: gettid has no preconditions.
        let me = unsafe { libc::syscall(libc::SYS_gettid) } as i32;
        assert!(list().unwrap().contains(&me));
        assert!(!name(me).is_empty() && name(i32::MAX).is_empty());
        let local = 7u64;
        let address = &raw const local as u64;
        let mappings = mappings();
        assert!(around(&mappings, address).unwrap().contains(&address) && around(&mappings, 0).is_none());
        assert_eq!(around(&mappings, this_thread_is_listed_with_its_stack as fn() as usize as u64), None);
        assert!(cpu_nanos_of_all() > 0);
    }

    #[test]
    fn lines_of_maps_give_what_can_be_written() {
        assert_eq!(writable("7f00-7f80 rw-p 00000000 00:00 0"), Some(0x7f00..0x7f80));
        let stack = writable("7ffffff01000-7ffffff03000 rw-p 00000000 00:00 0      [stack]");
        assert_eq!(stack, Some(0x7ffffff01000 - GROWTH..0x7ffffff03000));
        for line in ["7f00-7f80 r-xp 00000000 00:00 0", "7f00-7f80 ---p 00000000 00:00 0", "7f00 rw-p", ""] {
            assert_eq!(writable(line), None, "{line}");
        }
    }

    #[test]
    fn mapped_memory_is_copied_other_is_an_error() {
        let words: Vec<u64> = (0..2000).collect();
        Copied::probe().unwrap();
        let mut copied = Copied::new();
        for (index, word) in words.iter().enumerate() {
            assert_eq!(copied.word(word as *const u64 as u64), Ok(index as u64));
        }
        for address in [0, 8, 4096, words.as_ptr() as u64 + 1, u64::MAX, u64::MAX - 7, 0x8000_0000_0000_0000] {
            assert_eq!(copied.word(address), Err(()), "{address:x}");
        }
        // A page that was there and is gone.
        // SAFETY: a new mapping, at an address of the kernel's choice.
        let page = unsafe {
            let (kind, access) = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, libc::PROT_READ | libc::PROT_WRITE);
            libc::mmap(std::ptr::null_mut(), 4096, access, kind, -1, 0)
        };
        assert_ne!(page, libc::MAP_FAILED);
        assert_eq!(copied.word(page as u64), Ok(0));
        // SAFETY: mapped above, and not used.
        assert_eq!(unsafe { libc::munmap(page, 4096) }, 0);
        assert_eq!(copied.word(page as u64), Ok(0), "what was read stays until it is forgotten");
        copied.forget();
        assert_eq!(copied.word(page as u64), Err(()));
    }
}

//! A file's bytes, read by the kernel as they are looked at. Linux only.

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::os::fd::AsRawFd;
use std::path::Path;

/// A file in memory, until it is dropped. Whoever cuts the file short meanwhile ends the process, as with any program or
/// library that runs.
#[derive(Debug)]
pub(crate) struct Mapped {
    start: *const u8,
    length: usize,
}

// SAFETY: bytes that nobody in this process writes, at an address that stays until the drop.
unsafe impl Send for Mapped {}

impl Mapped {
    /// # Errors
    /// The file cannot be opened or mapped, or is empty.
    pub(crate) fn open(path: &Path) -> io::Result<Mapped> {
        // Before it is opened: a FIFO would be waited for.
        if !std::fs::metadata(path)?.is_file() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let file = File::open(path)?;
        let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        // SAFETY: a new mapping, at an address of the kernel's choice: nothing that exists is touched. A length of 0 is refused.
        let start = unsafe {
            libc::mmap(std::ptr::null_mut(), length, libc::PROT_READ, libc::MAP_PRIVATE, file.as_raw_fd(), 0)
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Mapped { start: start.cast(), length })
    }
}

impl Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: mapped, readable, of that length, until the drop; private and never written to. Files of programs are not
        // changed in place while they run; if one is all the same, what is read is nonsense, and the parsers reckon with that.
        unsafe { std::slice::from_raw_parts(self.start, self.length) }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: mapped by `open`, of that length; the borrows that `deref` gave have ended.
        unsafe { libc::munmap(self.start.cast_mut().cast(), self.length) };
    }
}

/// Asks the allocator of the C library to return what it keeps for later. Nothing happens with another allocator.
pub(crate) fn give_memory_back() {
    // SAFETY: has no preconditions.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0)
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_reads_as_it_is_and_an_empty_one_is_refused() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        assert_eq!(*Mapped::open(&path).unwrap(), *std::fs::read(&path).unwrap());
        assert!(Mapped::open(Path::new("/dev/null")).is_err());
        assert!(Mapped::open(Path::new("/no/such/file")).is_err());
    }

    #[test]
    fn a_fifo_is_refused_and_not_waited_for() {
        let path = std::env::temp_dir().join(format!("selvedge-mapped-{}", std::process::id()));
        let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
        // SAFETY: a text that ends.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        let opened = Mapped::open(&path);
        std::fs::remove_file(&path).unwrap();
        assert!(opened.is_err());
    }
}

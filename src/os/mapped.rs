//! The bytes of a file, mapped into memory, so that the kernel reads a part when it is looked at.
//! Linux only.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;

/// Parts of a file in memory, each from when it is asked for until all are dropped. If another
/// process cuts the file short meanwhile, this process ends, as with any program or library that
/// runs.
#[derive(Debug)]
pub(crate) struct MappedFile<'f> {
    file: &'f File,
    length: u64,
    parts: RefCell<Vec<Part>>,
    /// The system's error when it last refused to map a part.
    refused: Cell<Option<i32>>,
    /// The number of bytes that were looked at since pages were last given back.
    seen: Cell<u64>,
}

#[derive(Debug)]
struct Part {
    start: *const u8,
    range: Range<u64>,
}

/// Parts begin and end at multiples of this, which is one of the largest page that Linux has on
/// these systems.
const GRAIN: u64 = 64 * 1024;

/// The number of bytes of a file that are looked at before their pages are given back.
const MOST_RESIDENT: u64 = 1 << 20;

impl<'f> MappedFile<'f> {
    /// # Errors
    /// The system does not tell how long the file is.
    pub(crate) fn new(file: &'f File) -> io::Result<MappedFile<'f>> {
        let length = file.metadata()?.len();
        Ok(MappedFile { file, length, parts: RefCell::default(), refused: Cell::new(None), seen: Cell::new(0) })
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Why the system has refused to map a part, if it has since the last call: parsers keep no
    /// cause.
    pub(crate) fn take_refusal(&self) -> Option<io::Error> {
        self.refused.take().map(io::Error::from_raw_os_error)
    }

    /// The bytes of the file in this range.
    ///
    /// # Errors
    /// The file is shorter, or the system refuses to map it: a limit, for example.
    pub(crate) fn part(&self, from: u64, length: u64) -> io::Result<&[u8]> {
        let till = from.checked_add(length).filter(|&till| till <= self.length).ok_or(io::ErrorKind::UnexpectedEof)?;
        if length == 0 {
            return Ok(&[]);
        }
        let mut parts = self.parts.borrow_mut();
        // The last first: what was read just now is near.
        let known = parts.iter().rposition(|part| part.range.start <= from && till <= part.range.end);
        let index = match known {
            Some(known) => known,
            None => {
                parts.push(self.map(from / GRAIN * GRAIN..till.next_multiple_of(GRAIN).min(self.length))?);
                parts.len() - 1
            }
        };
        let part = &parts[index];
        // SAFETY: mapped, readable, of that length; private and never written to. It stays where it
        // is until the drop of `self`, which is borrowed: no part is ever taken out. Files of
        // programs are not changed in place while they run; if one is all the same, what is read is
        // nonsense, and the parsers reckon with that.
        Ok(unsafe { std::slice::from_raw_parts(part.start.add((from - part.range.start) as usize), length as usize) })
    }

    /// Notes that so many bytes were looked at. When there are `MOST_RESIDENT`, their pages are given
    /// back to the kernel, which keeps them in its cache of files while it has room: a page that is
    /// looked at again is mapped again.
    pub(crate) fn looked_at(&self, count: u64) {
        let seen = self.seen.get().saturating_add(count);
        self.seen.set(if seen < MOST_RESIDENT { seen } else { 0 });
        if seen < MOST_RESIDENT {
            return;
        }
        for part in self.parts.borrow().iter() {
            let length = (part.range.end - part.range.start) as usize;
            // SAFETY: mapped by `map`, of that length, private and never written to: what is read
            // there later is what the file has there, as before.
            unsafe { libc::madvise(part.start.cast_mut().cast(), length, libc::MADV_DONTNEED) };
        }
    }

    fn map(&self, range: Range<u64>) -> io::Result<Part> {
        let length = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
        let offset = libc::off_t::try_from(range.start).map_err(io::Error::other)?;
        // SAFETY: a new mapping, at an address of the kernel's choice: nothing that exists is
        // touched. A length of 0 is refused.
        let start = unsafe {
            libc::mmap(std::ptr::null_mut(), length, libc::PROT_READ, libc::MAP_PRIVATE, self.file.as_raw_fd(), offset)
        };
        if start == libc::MAP_FAILED {
            let cause = io::Error::last_os_error();
            self.refused.set(cause.raw_os_error());
            return Err(cause);
        }
        Ok(Part { start: start.cast(), range })
    }
}

impl Drop for MappedFile<'_> {
    fn drop(&mut self) {
        for part in self.parts.get_mut() {
            // SAFETY: mapped by `map`, of that length; the borrows that `part` gave have ended.
            unsafe { libc::munmap(part.start.cast_mut().cast(), (part.range.end - part.range.start) as usize) };
        }
    }
}

/// Asks the allocator of the C library to return what it keeps for later. Nothing happens with
/// another allocator.
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
    fn parts_read_right_and_beyond_is_an_error() {
        let path = std::env::current_exe().unwrap();
        let (file, whole) = (File::open(&path).unwrap(), std::fs::read(&path).unwrap());
        let mapped = MappedFile::new(&file).unwrap();
        let length = whole.len() as u64;
        for (from, till) in [(0, 10), (65_530, 65_540), (3, 200_000), (70_000, 70_001), (length - 5, length), (9, 9)] {
            assert_eq!(mapped.part(from, till - from).unwrap(), &whole[from as usize..till as usize]);
        }
        assert!(mapped.part(length - 5, 6).is_err());
        assert!(mapped.part(u64::MAX, 2).is_err());
        let part = mapped.part(3, 200_000).unwrap();
        mapped.looked_at(MOST_RESIDENT);
        assert_eq!(part, &whole[3..200_003], "pages that were given back are read again");
    }
}

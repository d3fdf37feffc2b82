//! The memory budget for finding names.

use crate::os::memory;

/// The maximum number of bytes for finding names, without the names themselves and the pages of
/// mapped files, which the kernel takes back when it needs them. At most half of the memory that
/// the limits of the process leave free.
pub(super) const MOST: u64 = 512 << 20;

/// The bytes that are left.
pub(super) struct Budget(u64);

impl Budget {
    pub(super) fn of_now() -> Budget {
        Budget(memory::free().map_or(MOST, |free| MOST.min(free / 2)))
    }

    #[cfg(test)]
    pub(super) fn of(bytes: u64) -> Budget {
        Budget(bytes)
    }

    /// Takes `needed` bytes, for `what`.
    ///
    /// # Errors
    /// Fewer are left: a part of a sentence says so.
    pub(super) fn take(&mut self, needed: u64, what: &str) -> Result<(), String> {
        if needed > self.0 {
            let megabytes = |bytes: u64| bytes.div_ceil(1 << 20);
            let (needed, left) = (megabytes(needed), self.0 >> 20);
            return Err(format!("{what} takes {needed} MiB of memory, and {left} MiB are left for finding names"));
        }
        self.0 -= needed;
        Ok(())
    }

    pub(super) fn give_back(&mut self, taken: u64) {
        self.0 += taken;
    }

    pub(super) fn left(&self) -> u64 {
        self.0
    }
}

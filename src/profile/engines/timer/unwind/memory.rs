//! The stack that a walk reads, and nothing beside it.

use crate::os::tasks::Copied;
use std::ops::Range;

/// The part of a thread's stack that is in use.
pub(in super::super) struct Memory<'a> {
    /// From the lowest address that is still of interest to the stack's end.
    stack: Range<u64>,
    /// The thread's own stack, if it runs on another one just now.
    own: Range<u64>,
    words: Words<'a>,
}

enum Words<'a> {
    Mapped,
    /// Read by the kernel, as it may be unmapped by now.
    Copied(&'a mut Copied),
}

impl<'a> Memory<'a> {
    /// Read as it lies there. `own` is the thread's own stack if `stack` is not a part of it, or
    /// empty.
    ///
    /// # Safety
    /// - `stack` is mapped, and no thread writes there while this is used.
    /// - The thread that is walked runs on `stack`. The same is true of the part of `own` that it
    ///   used before it came there.
    pub(in super::super) unsafe fn of_this_thread(stack: Range<u64>, own: Range<u64>) -> Memory<'a> {
        Memory { stack, own, words: Words::Mapped }
    }

    /// Read by the kernel, which says if nothing is mapped there. `own` as above.
    pub(in super::super) fn copied(stack: Range<u64>, own: Range<u64>, copied: &'a mut Copied) -> Memory<'a> {
        copied.forget();
        Memory { stack, own, words: Words::Copied(copied) }
    }

    /// Whether the stack pointer of a function that is nearer to the root can be there. From then
    /// on all below it is passed.
    pub(super) fn rise_to(&mut self, pointer: u64) -> bool {
        let rises = (self.stack.start..=self.stack.end).contains(&pointer);
        if rises {
            self.stack.start = pointer;
        }
        rises
    }

    /// As [`rise_to`](Self::rise_to), where a signal has interrupted the thread at that stack
    /// pointer: it may have changed to an alternate stack.
    pub(super) fn leave_signal(&mut self, pointer: u64) -> bool {
        if self.own.contains(&pointer) {
            self.stack = pointer..std::mem::take(&mut self.own).end;
            return true;
        }
        self.rise_to(pointer)
    }

    /// The eight bytes at that address; `None` if they are not on the stack, or not mapped.
    pub(super) fn word(&mut self, address: u64) -> Option<u64> {
        if address < self.stack.start || address.checked_add(8)? > self.stack.end {
            return None;
        }
        match &mut self.words {
            // SAFETY: these eight bytes are in the part of the stack that is in use, which is
            // mapped, as the caller of `of_this_thread` has said. They need not be aligned.
            Words::Mapped => Some(unsafe { (address as *const u64).read_unaligned() }),
            Words::Copied(copied) => copied.word(address).ok(),
        }
    }
}

//! The stack memory that a walk reads: the stack itself, or a copy of its innermost part. Checks
//! the bounds of each read; knows no registers and no rules.

use crate::os::tasks::Copied;
use std::ops::Range;

/// The part of a thread's stack that is in use.
pub(in super::super) struct Memory<'a> {
    /// From the lowest address that the walk may still read to the stack's end.
    stack: Range<u64>,
    /// The thread's own stack, if it runs on another one now.
    own: Range<u64>,
    words: Words<'a>,
    /// A word of the stack was wanted that the part does not have.
    is_cut: bool,
}

enum Words<'a> {
    Mapped,
    /// Read by the kernel, as it may be unmapped by now.
    Copied(&'a mut Copied),
    /// A copy of the part of the stack that begins at `from`.
    Part {
        from: u64,
        bytes: &'a [u8],
    },
}

impl<'a> Memory<'a> {
    /// Reads the stack directly. `own` is the thread's own stack if `stack` is not a part of it,
    /// and empty otherwise.
    ///
    /// # Safety
    /// - `stack` is mapped, and no thread writes there while this is used.
    /// - The walked thread runs on `stack`.
    /// - The part of `own` that the thread used before it switched to `stack` is mapped too, and no
    ///   thread writes there.
    pub(in super::super) unsafe fn of_this_thread(stack: Range<u64>, own: Range<u64>) -> Memory<'a> {
        Memory { stack, own, words: Words::Mapped, is_cut: false }
    }

    /// Lets the kernel read the stack, which reports an error if nothing is mapped there. `own`: as
    /// above.
    pub(in super::super) fn copied(stack: Range<u64>, own: Range<u64>, copied: &'a mut Copied) -> Memory<'a> {
        copied.forget();
        Memory { stack, own, words: Words::Copied(copied), is_cut: false }
    }

    /// Reads a copy of the innermost part of the stack. `stack` begins where the copy does. `own`:
    /// as above.
    pub(in super::super) fn of_part(bytes: &'a [u8], stack: Range<u64>, own: Range<u64>) -> Memory<'a> {
        Memory { words: Words::Part { from: stack.start, bytes }, stack, own, is_cut: false }
    }

    /// Returns `true` if the walk wanted a word of the stack that was not copied.
    pub(super) fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Returns `true` if the stack pointer of a function nearer to the root can be `pointer`. From
    /// then on the walk does not read below it.
    pub(super) fn rise_to(&mut self, pointer: u64) -> bool {
        let rises = (self.stack.start..=self.stack.end).contains(&pointer);
        if rises {
            self.stack.start = pointer;
        }
        rises
    }

    /// Like [`rise_to`](Self::rise_to), where a signal has interrupted the thread at that stack
    /// pointer: the thread may have switched to an alternate stack.
    pub(super) fn leave_signal(&mut self, pointer: u64) -> bool {
        if self.own.contains(&pointer) {
            self.stack = pointer..std::mem::take(&mut self.own).end;
            return true;
        }
        self.rise_to(pointer)
    }

    /// The eight bytes at that address. `None`: they are not on the stack, or not mapped.
    pub(super) fn word(&mut self, address: u64) -> Option<u64> {
        if address < self.stack.start || address.checked_add(8)? > self.stack.end {
            return None;
        }
        match &mut self.words {
            // SAFETY: these eight bytes are in the part of the stack in use, which is mapped, as
            // the caller of `of_this_thread` has promised. They need not be aligned.
            Words::Mapped => Some(unsafe { (address as *const u64).read_unaligned() }),
            Words::Copied(copied) => copied.word(address).ok(),
            Words::Part { from, bytes } => {
                let place = address.checked_sub(*from).and_then(|place| usize::try_from(place).ok());
                let word = place.and_then(|place| bytes.get(place..)?.first_chunk());
                self.is_cut |= word.is_none();
                word.map(|word| u64::from_ne_bytes(*word))
            }
        }
    }
}

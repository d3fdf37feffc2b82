//! What one thread's signal handler works with: its ring, its unwinder's cache, the bounds of its stack.

use super::ring::Ring;
use super::unwind::{Cache, Modules, Registers};
use crate::os::CpuClock;
use crate::profile::engines::Ending;
use std::cell::UnsafeCell;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// The deepest stack that is kept: its innermost functions.
pub(super) const DEEPEST: u64 = 200;

/// With less of the stack left than this, nothing is unwound, to need no room. What is needed all the same is the kernel's own
/// frame, some kilobytes, and the handler's first. Unoptimized, the unwinder takes several times as much.
pub(super) const RESERVE: u64 = if cfg!(debug_assertions) { 96 * 1024 } else { 24 * 1024 };

pub(super) struct Slot {
    arena: Arena,
    stack: Range<u64>,
    /// Records for which there was no room.
    pub(super) lost: AtomicU64,
}

/// What is worth handing on from one thread to the next: the memory, and the rules that the cache knows.
#[derive(Default)]
pub(super) struct Arena {
    ring: Ring,
    /// The handler's alone.
    cache: UnsafeCell<Cache>,
}

// SAFETY: of its parts only `cache` is not Sync. It is reached in `sample` only, whose callers promise to be the one handler
// of the one thread that the slot was given to.
unsafe impl Sync for Slot {}
// SAFETY: nothing in it belongs to a thread: memory and numbers.
unsafe impl Send for Slot {}

impl Slot {
    pub(super) fn new(arena: Arena, stack: Range<u64>) -> Slot {
        Slot { arena, stack, lost: AtomicU64::new(0) }
    }

    pub(super) fn stack_end(&self) -> u64 {
        self.stack.end
    }

    /// For the next thread. What is left in the ring was read, or is not wanted.
    pub(super) fn into_arena(self) -> Arena {
        self.arena.ring.read(&mut Vec::new(), |_, _, _| ());
        self.arena
    }

    /// Whether there is nothing to read. For the one reader.
    pub(super) fn is_empty(&self) -> bool {
        self.arena.ring.is_empty()
    }

    /// Calls `each` with clock, ending and addresses of each record. For the one reader.
    pub(super) fn read(&self, addresses: &mut Vec<u64>, each: impl FnMut(u64, Ending, &[u64])) {
        self.arena.ring.read(addresses, each);
    }

    /// Takes one sample: where the thread was interrupted, and how far its CPU clock is.
    ///
    /// # Safety
    /// Called by the signal handler of the thread that this slot was given to, which does not interrupt itself; `registers`
    /// are those that it interrupted.
    ///
    /// # Signal safety
    /// Safe: no lock, no allocation, no panic that we know how to cause.
    pub(super) unsafe fn sample(&self, modules: Option<&Modules>, registers: &Registers) {
        let Some(mut record) = self.arena.ring.writer() else { return self.lose() };
        let pointer = registers.stack_pointer();
        let own_stack = self.stack.contains(&pointer) && pointer - self.stack.start >= RESERVE;
        let ending = match modules {
            Some(modules) if own_stack => {
                // SAFETY: the caller's word: nobody else is here, nor will be before this returns.
                let cache = unsafe { &mut *self.arena.cache.get() };
                let mut room = true;
                // SAFETY: the stack from its pointer to its end is this thread's, mapped, and not written meanwhile.
                let ending = unsafe {
                    modules.walk(registers, pointer..self.stack.end, cache, |address| {
                        room = record.push(address);
                        room && record.len() < DEEPEST
                    })
                };
                if !room {
                    return self.lose();
                }
                ending
            }
            _ => {
                if !record.push(registers.instruction()) {
                    return self.lose();
                }
                Ending::Leaf
            }
        };
        record.publish(CpuClock::nanos_of_this_thread(), ending);
    }

    /// # Signal safety
    /// Safe.
    fn lose(&self) {
        // Relaxed: a count, read by whoever makes the books.
        self.lost.fetch_add(1, Ordering::Relaxed);
    }
}

//! What one thread's signal handler works with: its ring, its unwinder's cache, the bounds of its
//! stack.

use super::ring::{Record, Ring};
use super::unwind::{Cache, Memory, Modules, Registers};
use crate::os::CpuClock;
use crate::os::tasks::Copied;
use crate::profile::raw::Ending;
use crate::wait::{self, Shown};
use std::cell::UnsafeCell;
use std::ops::Range;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

/// The deepest stack that is kept: its innermost functions.
pub(super) const DEEPEST: u64 = 200;

/// With less of the stack left than this, nothing is unwound, to need no room. What is needed all
/// the same is the kernel's own frame, some kilobytes, and the handler's first. Unoptimized, the
/// unwinder takes several times as much.
pub(super) const RESERVE: u64 = if cfg!(debug_assertions) { 96 * 1024 } else { 24 * 1024 };

pub(super) struct Slot {
    arena: Arena,
    /// The `pthread_t` of its thread; 0 for an unregistered thread, of which only the id is known.
    owner: u64,
    stack: StackBounds,
    /// Where its thread publishes what it waits for; null: nothing is wanted of that. Changed under
    /// the engine's lock; read by the handler. SeqCst in both, as for a slot in the table: the old
    /// one lives until a grace is over that began after the change.
    waits: AtomicPtr<wait::Slot>,
    /// Records for which there was no room.
    pub(super) lost: AtomicU64,
}

/// Where the thread's stack lies.
pub(super) enum StackBounds {
    /// As the thread library says, for as long as the thread lives: what is in use of it can be
    /// read.
    Known(Range<u64>),
    /// The stack of an unregistered thread, as far as it was found. The kernel reads it, since it
    /// may have changed.
    Found(Box<Mapping>),
}

/// A part of memory that is found when a thread is met on it.
pub(super) struct Mapping {
    /// Its first page, above 19 bits that count its pages: one word, so that no handler sees half
    /// of a change.
    pages: AtomicU64,
    /// A stack pointer outside of it; 0: none was met. Stored by the handler, taken by the sampler.
    missed_pointer: AtomicU64,
    /// The handler's alone.
    copied: UnsafeCell<Copied>,
}

const PAGE: u64 = 4096;
const MOST_PAGES: u64 = (1 << 19) - 1;

impl Mapping {
    pub(super) fn unknown() -> Box<Mapping> {
        let copied = UnsafeCell::new(Copied::new());
        Box::new(Mapping { pages: AtomicU64::new(0), missed_pointer: AtomicU64::new(0), copied })
    }

    fn range(&self) -> Range<u64> {
        // Relaxed: numbers that only tell what to try; the kernel checks each read.
        let pages = self.pages.load(Ordering::Relaxed);
        let start = (pages >> 19) * PAGE;
        start..start + (pages & MOST_PAGES) * PAGE
    }

    /// A stack pointer that the thread was met with, and that is not in what was found so far.
    pub(super) fn take_missed_pointer(&self) -> Option<u64> {
        Some(self.missed_pointer.swap(0, Ordering::Relaxed)).filter(|pointer| *pointer != 0)
    }

    /// That pointer lies in `range`.
    pub(super) fn set_range(&self, range: Range<u64>, pointer: u64) {
        // Of a very large one, the part around the pointer.
        let start = range.start.max(pointer.saturating_sub(MOST_PAGES / 2 * PAGE)) / PAGE;
        let pages = (range.end / PAGE - start).min(MOST_PAGES);
        self.pages.store(start << 19 | pages, Ordering::Relaxed);
    }
}

/// What is worth handing on from one thread to the next: the memory, and the rules that the cache
/// knows.
#[derive(Default)]
pub(super) struct Arena {
    ring: Ring,
    /// The handler's alone.
    cache: UnsafeCell<Cache>,
}

// SAFETY: of its parts only `cache` and `copied` are not Sync. They are reached in `sample` only,
// whose callers promise to be the one handler of the one thread that the slot was given to.
unsafe impl Sync for Slot {}
// SAFETY: nothing in it belongs to a thread: memory and numbers.
unsafe impl Send for Slot {}

impl Slot {
    /// For the thread with that `pthread_t`; 0 if it is not known.
    pub(super) fn new(arena: Arena, owner: u64, stack: StackBounds) -> Slot {
        let waits = AtomicPtr::new(std::ptr::null_mut());
        Slot { arena, owner, stack, waits, lost: AtomicU64::new(0) }
    }

    /// From now on samples tell what the thread waits for, as published at `waits`.
    ///
    /// # Safety
    /// `waits` must live until this was called with another one and a grace after that is over, or
    /// until the slot was taken from its thread's entry.
    pub(super) unsafe fn set_wait_slot(&self, waits: *const wait::Slot) {
        self.waits.store(waits.cast_mut(), Ordering::SeqCst);
    }

    /// Returns `true` if the thread with that `pthread_t` is not another one than the slot was made
    /// for, as far as is known.
    ///
    /// # Signal safety
    /// Safe: a comparison.
    pub(super) fn is_for(&self, thread: u64) -> bool {
        self.owner == thread || self.owner == 0
    }

    pub(super) fn stack(&self) -> &StackBounds {
        &self.stack
    }

    /// For the next thread. What is left in the ring was read, or is not wanted.
    pub(super) fn into_arena(self) -> Arena {
        self.arena.ring.read(&mut Vec::new(), |_| ());
        self.arena
    }

    /// Whether there is nothing to read. For the one reader.
    pub(super) fn is_empty(&self) -> bool {
        self.arena.ring.is_empty()
    }

    /// Calls `each` with each record. For the one reader.
    pub(super) fn read(&self, addresses: &mut Vec<u64>, each: impl FnMut(Record<'_>)) {
        self.arena.ring.read(addresses, each);
    }

    /// Takes one sample: where the thread was interrupted, and how far its CPU clock is.
    ///
    /// # Safety
    /// - The caller is the signal handler of the thread that this slot was given to, and
    ///   [`is_for`](Self::is_for) it is `true`.
    /// - That handler does not interrupt itself.
    /// - `registers` are the registers that it interrupted.
    ///
    /// # Signal safety
    /// Safe: no lock, no allocation, no thread-local, no panic that we know how to cause. Calls
    /// `Modules::walk`, the system calls by which that reads memory, `wait::Slot::shown`, and
    /// `clock_gettime`.
    pub(super) unsafe fn sample(&self, modules: Option<&Modules>, registers: &Registers) {
        let Some(mut record) = self.arena.ring.writer() else { return self.count_lost() };
        let pointer = registers.stack_pointer();
        let stack = match &self.stack {
            StackBounds::Known(range) => range.clone(),
            StackBounds::Found(mapping) => mapping.range(),
        };
        let (part, own) = part_in_use(registers, &stack);
        let ending = match modules.zip(part) {
            Some((modules, part)) => {
                // SAFETY: only `sample` reaches it, and the caller's word is that no other call of
                // it runs before this one returns: this is the only reference.
                let cache = unsafe { &mut *self.arena.cache.get() };
                let mut room = true;
                let push = |address| {
                    room = record.push(address);
                    room && record.len() < DEEPEST
                };
                let memory = match &self.stack {
                    // SAFETY: the range is the stack of the thread with `owner`'s `pthread_t`,
                    // which is the caller's: so what the thread uses of it is mapped; and of its
                    // alternate stack, if it runs there, what lies above the stack pointer. The
                    // thread writes to neither while its handler runs.
                    StackBounds::Known(_) => unsafe { Memory::of_this_thread(part, own) },
                    // SAFETY: as with the cache.
                    StackBounds::Found(mapping) => Memory::copied(part, own, unsafe { &mut *mapping.copied.get() }),
                };
                let ending = modules.walk(registers, memory, cache, push);
                if !room {
                    return self.count_lost();
                }
                ending
            }
            None => {
                if let StackBounds::Found(mapping) = &self.stack {
                    mapping.missed_pointer.store(pointer, Ordering::Relaxed);
                }
                if !record.push(registers.instruction()) {
                    return self.count_lost();
                }
                Ending::Leaf
            }
        };
        // SAFETY: null, or alive: `set_wait_slot` was promised so, and this handler is within the
        // thread's entry.
        let waits = unsafe { self.waits.load(Ordering::SeqCst).as_ref() };
        let shown = waits.map_or(Shown::default(), wait::Slot::shown);
        record.publish(CpuClock::nanos_of_this_thread(), ending, shown);
    }

    /// # Signal safety
    /// Safe.
    fn count_lost(&self) {
        // Relaxed: a count, which the accounting reads.
        self.lost.fetch_add(1, Ordering::Relaxed);
    }
}

/// Where a walk begins that was interrupted with these registers, and the thread's `own` stack if
/// it begins on another one. `None`: not on a stack that is known, or with too little room left for
/// the handler.
///
/// # Signal safety
/// Safe: comparisons.
pub(super) fn part_in_use(registers: &Registers, own: &Range<u64>) -> (Option<Range<u64>>, Range<u64>) {
    let pointer = registers.stack_pointer();
    let part = |stack: &Range<u64>| {
        let has_room = stack.contains(&pointer) && pointer - stack.start >= RESERVE;
        has_room.then_some(pointer..stack.end)
    };
    if own.contains(&pointer) {
        return (part(own), 0..0);
    }
    // In a signal handler of the program's, which has asked to run there.
    (part(&registers.alternate_stack()), own.clone())
}

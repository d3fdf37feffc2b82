//! The slot of one sampled thread: what its signal handler samples into and with. It has a ring, an
//! unwinder's cache and the bounds of the thread's stack. Knows no table and no accounting.

use super::ring::{Record, Ring};
use super::sample_flags::SampleFlag;
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

/// With less of the stack left than this, the handler does not unwind, since that needs room on the
/// stack. The kernel's own frame, of some kilobytes, and the handler's first frame are needed in
/// any case. Unoptimized, the unwinder takes several times as much.
pub(super) const RESERVE: u64 = if cfg!(debug_assertions) { 96 * 1024 } else { 24 * 1024 };

pub(super) struct Slot {
    arena: Arena,
    /// The `pthread_t` of its thread; 0 for an unregistered thread, of which only the id is known.
    owner: u64,
    stack: StackBounds,
    /// Where its thread publishes its waits and its context. Null: an unregistered thread. Changed
    /// under the engine's lock, read by the handler. SeqCst in both, as for a slot in the table:
    /// the old wait slot lives until a grace is over that began after the change.
    waits: AtomicPtr<wait::Slot>,
    /// Its samples have the time.
    is_timed: bool,
    /// Records for which there was no room.
    pub(super) lost: AtomicU64,
    /// Raised after each sample, written or lost.
    flag: SampleFlag,
}

/// Where the thread's stack lies.
pub(super) enum StackBounds {
    /// Known from the thread library, for as long as the thread lives. The part in use can be read.
    Known(Range<u64>),
    /// The mapping around an unregistered thread's stack pointer, as far as it was found. The
    /// kernel reads it, since it may have changed.
    Found(Box<Mapping>),
}

/// A part of memory. It is found after a handler has reported a stack pointer in it.
pub(super) struct Mapping {
    /// The number of its first page, above 19 bits with its number of pages. In one word, so that
    /// no handler sees half of a change.
    pages: AtomicU64,
    /// A stack pointer that was outside of it; 0: none. Stored by the handler, taken by the
    /// sampler.
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
        // Relaxed: the numbers only bound the reads; the kernel checks each read.
        let pages = self.pages.load(Ordering::Relaxed);
        let start = (pages >> 19) * PAGE;
        start..start + (pages & MOST_PAGES) * PAGE
    }

    /// Takes the last stack pointer of the thread that was outside of the mapping.
    pub(super) fn take_missed_pointer(&self) -> Option<u64> {
        Some(self.missed_pointer.swap(0, Ordering::Relaxed)).filter(|pointer| *pointer != 0)
    }

    /// Sets the mapping to `range`, which contains `pointer`.
    pub(super) fn set_range(&self, range: Range<u64>, pointer: u64) {
        // Of a very large mapping, the part around the pointer.
        let start = range.start.max(pointer.saturating_sub(MOST_PAGES / 2 * PAGE)) / PAGE;
        let pages = (range.end / PAGE - start).min(MOST_PAGES);
        self.pages.store(start << 19 | pages, Ordering::Relaxed);
    }
}

/// The part of a slot that the next thread can use again: the memory, and the rules in the cache.
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
    /// For the thread with that `pthread_t`; 0 if it is not known. `is_timed`: its samples have the
    /// time. `flag`: of that thread.
    pub(super) fn new(arena: Arena, owner: u64, stack: StackBounds, is_timed: bool, flag: SampleFlag) -> Slot {
        let waits = AtomicPtr::new(std::ptr::null_mut());
        Slot { arena, owner, stack, waits, is_timed, lost: AtomicU64::new(0), flag }
    }

    /// From now on samples record the thread's present wait and context, as published at `waits`.
    /// Returns `true` if another place was known before.
    ///
    /// # Safety
    /// `waits` must live until this function was called with another wait slot and a grace after
    /// that is over, or until the slot was cleared from its thread's entry.
    pub(super) unsafe fn set_wait_slot(&self, waits: *const wait::Slot) -> bool {
        !self.waits.swap(waits.cast_mut(), Ordering::SeqCst).is_null()
    }

    /// Returns `true` if the slot is for the thread with that `pthread_t`, as far as is known.
    ///
    /// # Signal safety
    /// Safe: a comparison.
    pub(super) fn is_for(&self, thread: u64) -> bool {
        self.owner == thread || self.owner == 0
    }

    pub(super) fn stack(&self) -> &StackBounds {
        &self.stack
    }

    /// The arena, for the next thread. Drops the records that are left in the ring.
    pub(super) fn into_arena(self) -> Arena {
        self.arena.ring.read(&mut Vec::new(), |_| ());
        self.arena
    }

    /// Returns `true` if there is nothing to read. For the one reader.
    pub(super) fn is_empty(&self) -> bool {
        self.arena.ring.is_empty()
    }

    /// Calls `each` with each record. For the one reader.
    pub(super) fn read(&self, addresses: &mut Vec<u64>, each: impl FnMut(Record<'_>)) {
        self.arena.ring.read(addresses, each);
    }

    /// Takes one sample: the interrupted stack, the thread's CPU clock, its present wait and its
    /// context.
    ///
    /// # Safety
    /// - The caller is the signal handler of the thread that this slot was given to, and
    ///   [`is_for`](Self::is_for) it is `true`.
    /// - That handler does not interrupt itself.
    /// - `registers` are the registers that it interrupted.
    ///
    /// # Signal safety
    /// Safe: no lock, no allocation, no thread-local, no panic that we know how to cause. Calls
    /// `Modules::walk`, the system calls by which that reads memory, `wait::Slot::shown` and
    /// `context_number`, `wait::nanos_in_handler`, `SampleFlag::raise`, and `clock_gettime`.
    pub(super) unsafe fn sample(&self, modules: Option<&Modules>, registers: &Registers) {
        // SAFETY: null, or alive: `set_wait_slot` was promised so, and this handler is within the
        // thread's entry.
        let waits = unsafe { self.waits.load(Ordering::SeqCst).as_ref() };
        let shown = waits.map_or(Shown::default(), wait::Slot::shown);
        let context = waits.map_or(0, wait::Slot::context_number);
        let Some(mut record) = self.arena.ring.writer(self.is_timed, context) else { return self.count_lost() };
        let pointer = registers.stack_pointer();
        let stack = match &self.stack {
            StackBounds::Known(range) => range.clone(),
            StackBounds::Found(mapping) => mapping.range(),
        };
        let (part, own) = part_in_use(registers, &stack);
        let ending = match modules.zip(part) {
            Some((modules, part)) => {
                // SAFETY: only `sample` reaches it, and the caller promises that no other call of
                // `sample` runs before this one returns: this is the only reference.
                let cache = unsafe { &mut *self.arena.cache.get() };
                let mut room = true;
                let push = |address| {
                    room = record.push(address);
                    room && record.len() < DEEPEST
                };
                let memory = match &self.stack {
                    // SAFETY: the range is the stack of the thread with `owner`'s `pthread_t`,
                    // which is the calling thread: so the part of it in use is mapped, and so is
                    // the part of its alternate stack above the stack pointer, if it runs there.
                    // The thread writes to neither while its handler runs.
                    StackBounds::Known(_) => unsafe { Memory::of_this_thread(part, own) },
                    // SAFETY: as for the cache.
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
        let at = if self.is_timed { wait::nanos_in_handler() } else { 0 };
        record.publish(CpuClock::nanos_of_this_thread(), at, ending, shown);
        self.flag.raise();
    }

    /// # Signal safety
    /// Safe.
    fn count_lost(&self) {
        // Relaxed: a count, which the accounting reads.
        self.lost.fetch_add(1, Ordering::Relaxed);
        self.flag.raise();
    }
}

/// The part of the stack that a walk from these registers reads, and the thread's `own` stack if
/// the walk begins on another one. `None`: the stack pointer is on no known stack, or leaves too
/// little room for the handler.
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
    // In a signal handler of the program, which was installed to run there.
    (part(&registers.alternate_stack()), own.clone())
}

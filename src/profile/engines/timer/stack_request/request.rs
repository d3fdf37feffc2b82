//! One stack request: what a thread's signal handler needs to reply with its stack, and the reply.
//! Uses no table, no lock and no list of threads, so that the handler and the table may know it.

use super::replies;
use crate::os::tasks::Copied;
use crate::profile::engines::timer::slot::{DEEPEST, part_in_use};
use crate::profile::engines::timer::unwind::{Cache, Memory, Modules, Registers};
use crate::profile::raw::{Ending, Reply};
use std::cell::UnsafeCell;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

const OPEN: u8 = 0;
const REPLIED: u8 = 1;

/// Made by the requesting thread, and replied to by the handler of the target thread.
pub(in super::super) struct StackRequest {
    /// | value | meaning | stored by |
    /// |---|---|---|
    /// | `OPEN` | `cache`, `copied` and `found` are the handler's | the requesting thread, before `set_request` |
    /// | `REPLIED` | `found` is whole; the handler touches nothing any more | the handler |
    state: AtomicU8,
    /// The `pthread_t` of the target thread: no other thread replies. 0 for an unregistered thread,
    /// of which only the id is known.
    owner: u64,
    /// The bounds of the target's stack. Of an unregistered thread: the mapping around the stack
    /// pointer of its first reply, which may have changed since; empty before that.
    stack: Range<u64>,
    modules: Arc<Modules>,
    cache: UnsafeCell<Cache>,
    copied: UnsafeCell<Copied>,
    found: UnsafeCell<FoundStack>,
}

struct FoundStack {
    addresses: [u64; DEEPEST as usize],
    length: usize,
    ending: Ending,
    stack_pointer: u64,
}

// SAFETY: `cache`, `copied` and `found` are not Sync. `reply` reaches them only while `OPEN`, in
// the one handler of the one thread whose entry names this. `read_reply` reaches `found` only once
// `REPLIED`, after which that handler does not touch it.
unsafe impl Sync for StackRequest {}
// SAFETY: nothing in it belongs to a thread: memory and numbers.
unsafe impl Send for StackRequest {}

impl StackRequest {
    /// For no thread yet.
    pub(super) fn new(modules: Arc<Modules>) -> StackRequest {
        let found = FoundStack { addresses: [0; DEEPEST as usize], length: 0, ending: Ending::Leaf, stack_pointer: 0 };
        StackRequest {
            state: AtomicU8::new(OPEN),
            owner: 0,
            stack: 0..0,
            modules,
            cache: UnsafeCell::default(),
            copied: UnsafeCell::new(Copied::new()),
            found: UnsafeCell::new(found),
        }
    }

    /// Opens the request, for the thread with that `pthread_t` and stack.
    pub(super) fn open(&mut self, owner: u64, stack: Range<u64>) {
        (self.owner, self.stack) = (owner, stack);
        *self.state.get_mut() = OPEN;
    }

    /// Returns `true` if the request is for the thread with that `pthread_t`, as far as is known.
    ///
    /// # Signal safety
    /// Safe: a comparison.
    pub(in super::super) fn is_for(&self, thread: u64) -> bool {
        self.owner == thread || self.owner == 0
    }

    /// Writes down the stack of the interrupted thread, once.
    ///
    /// # Safety
    /// - The caller is the signal handler of the thread whose entry names this, and
    ///   [`is_for`](Self::is_for) it is `true`.
    /// - That handler does not interrupt itself.
    /// - `registers` are the registers that it interrupted.
    ///
    /// # Signal safety
    /// Safe: no lock, no allocation, no thread-local, no panic that we know how to cause. Calls
    /// `Modules::walk`, which reads memory by itself or by `process_vm_readv`, and asks the kernel
    /// whether code can be read; and `replies::add`.
    pub(in super::super) unsafe fn reply(&self, registers: &Registers) {
        // Relaxed: what was stored before the entry named this is seen by the load that found it
        // there; since then only this handler stores.
        if self.state.load(Ordering::Relaxed) != OPEN {
            return;
        }
        // SAFETY: `OPEN`: only this handler uses them, and the caller promises that it does not
        // interrupt itself. So each reference is the only one to its cell.
        let (cache, copied, found) =
            unsafe { (&mut *self.cache.get(), &mut *self.copied.get(), &mut *self.found.get()) };
        let (mut length, pointer) = (0, registers.stack_pointer());
        let mut push = |address| {
            if let Some(place) = found.addresses.get_mut(length) {
                *place = address;
                length += 1;
            }
            length < DEEPEST as usize
        };
        let ending = match part_in_use(registers, &self.stack) {
            (Some(part), own) => {
                let memory = if self.owner == 0 {
                    Memory::copied(part, own, copied)
                } else {
                    // SAFETY: `stack` is the stack of the thread with that `pthread_t`, which is
                    // the calling thread: so the part of it in use is mapped, and so is the part of
                    // its alternate stack above the stack pointer, if it runs there. The thread
                    // writes to neither while its handler runs.
                    unsafe { Memory::of_this_thread(part, own) }
                };
                self.modules.walk(registers, memory, cache, push)
            }
            (None, _) => {
                push(registers.instruction());
                Ending::Leaf
            }
        };
        (found.length, found.ending, found.stack_pointer) = (length, ending, pointer);
        // Release: a thread that sees this sees the whole reply.
        self.state.store(REPLIED, Ordering::Release);
        replies::add();
    }

    /// The reply, and the thread's stack pointer. `None`: it has not come yet.
    pub(super) fn read_reply(&self) -> Option<(Reply, u64)> {
        // Acquire: with the Release in `reply`.
        if self.state.load(Ordering::Acquire) != REPLIED {
            return None;
        }
        // SAFETY: `REPLIED`: the handler does not touch it any more, and only `&mut` makes it
        // `OPEN` again.
        let found = unsafe { &*self.found.get() };
        let addresses = found.addresses[..found.length].to_vec();
        Some((Reply::Stack { addresses, ending: found.ending }, found.stack_pointer))
    }
}

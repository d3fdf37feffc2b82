//! Threads take their own stacks, in the open: where a blocking call ends, for a recording that
//! counts waits. Uses the unwinder of the samples, and the engine's module list. Knows no waits.
//!
//! A walk takes some microseconds. So that it does not need an unwinder's cache for each thread, a
//! few caches are shared. Each stack is stored once, in bounded memory.

use super::slot::DEEPEST;
use super::stacks::{KeptStack, Stacks};
use super::unwind::{Cache, Memory, Modules, Registers};
use crate::model::locks::Mutex;
use crate::os::stack;
use crate::profile::engines::sampler::TakeOwnStack;
use crate::profile::raw::{Ending, OwnStack, OwnStacksTaken};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Threads that walk at the same time without waiting for each other.
const WALKERS: usize = 8;

/// Addresses of all stacks that are kept: 4 MB.
const MAX_ADDRESSES: usize = if cfg!(test) { 1 << 12 } else { 1 << 19 };

#[derive(Default)]
pub(super) struct OwnStacks {
    /// The loaded code, and its generation; `None` before it was first listed.
    code: Mutex<Option<(Arc<Modules>, u32)>>,
    walkers: [Mutex<Walker>; WALKERS],
    known: Mutex<Known>,
    /// Calls on a stack that is not the thread's own, or whose bounds are not known.
    elsewhere: AtomicU64,
}

/// What a walk needs.
#[derive(Default)]
struct Walker {
    cache: Cache,
    addresses: Vec<u64>,
}

#[derive(Default)]
struct Known {
    stacks: Stacks,
    /// By number.
    endings: Vec<Ending>,
    addresses: usize,
    /// Stacks for which there was no room.
    too_many: u64,
}

impl OwnStacks {
    /// The code that is loaded from now on.
    pub(super) fn set_code(&self, modules: &Modules, generation: u32) {
        let before = self.code.lock().replace((Arc::new(modules.clone()), generation));
        drop(before);
        let mut known = self.known.lock();
        if known.stacks.generation() != generation {
            known.stacks.begin_generation(generation);
        }
    }

    /// All stacks so far, by number.
    pub(super) fn taken(&self) -> OwnStacksTaken {
        let known = self.known.lock();
        // None is ever dropped, so the list is in the order of the numbers.
        let stacks = known.stacks.list().iter().zip(&known.endings);
        let stack = |(stack, &ending): (&KeptStack, _)| {
            let (addresses, generation) = (stack.addresses.clone(), stack.generation);
            OwnStack { addresses, ending, generation }
        };
        OwnStacksTaken {
            stacks: stacks.map(stack).collect(),
            too_many: known.too_many,
            elsewhere: self.elsewhere.load(Ordering::Relaxed),
        }
    }
}

/// Called from `profile/wait_stacks`: on the waiting thread, and for waits that go on.
impl TakeOwnStack for OwnStacks {
    fn take(&self) -> Option<u32> {
        let own = stack::own();
        let (modules, generation) = self.code.lock().clone()?;
        Registers::here(|registers| {
            let pointer = registers.stack_pointer();
            let Some(own) = own.filter(|own| own.contains(&pointer)) else {
                // Relaxed: a count.
                self.elsewhere.fetch_add(1, Ordering::Relaxed);
                return None;
            };
            // Threads' stacks lie apart, so their threads mostly have walkers of their own.
            let mut walker = self.walkers[(own.end >> 12) as usize % WALKERS].lock();
            let Walker { cache, addresses } = &mut *walker;
            addresses.clear();
            // SAFETY: the calling thread's own stack, from its stack pointer on, which it runs on.
            // It is mapped. The calls from here on write below that pointer only. There is no other
            // stack to switch to.
            let memory = unsafe { Memory::of_this_thread(pointer..own.end, 0..0) };
            let ending = modules.walk(registers, memory, cache, |address| {
                addresses.push(address);
                addresses.len() < DEEPEST as usize
            });
            self.known.lock().number(addresses, ending, generation)
        })
    }

    fn keep(&self, addresses: &[u64], ending: Ending) -> Option<u32> {
        let mut known = self.known.lock();
        let generation = known.stacks.generation();
        known.number(addresses, ending, generation)
    }
}

impl Known {
    /// The number of that stack. `None`: there is no room for it, or the loaded code has changed
    /// while the stack was walked.
    fn number(&mut self, addresses: &[u64], ending: Ending, generation: u32) -> Option<u32> {
        let is_present = generation == self.stacks.generation();
        let known = self.stacks.known(addresses).filter(|_| is_present);
        if known.is_some() {
            return known;
        }
        if !is_present || self.addresses + addresses.len() > MAX_ADDRESSES {
            self.too_many += 1;
            return None;
        }
        self.addresses += addresses.len();
        self.endings.push(ending);
        Some(self.stacks.number(addresses))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::engines::timer::modules::ModuleList;

    fn own_stacks() -> OwnStacks {
        let (own, mut list) = (OwnStacks::default(), ModuleList::default());
        let modules = list.renew().unwrap();
        own.set_code(&modules, list.history().generation());
        own
    }

    #[inline(never)]
    fn first(own: &OwnStacks) -> Option<u32> {
        std::hint::black_box(own.take())
    }

    #[inline(never)]
    fn second(own: &OwnStacks) -> Option<u32> {
        std::hint::black_box(own.take())
    }

    #[test]
    fn a_thread_finds_the_calls_that_led_to_it() {
        let own = own_stacks();
        let twice: Vec<_> = (0..2).map(|_| first(&own)).collect();
        assert_eq!(twice, [Some(0), Some(0)]);
        assert_eq!(second(&own), Some(1));
        let taken = own.taken();
        assert_eq!((taken.stacks.len(), taken.too_many, taken.elsewhere), (2, 0, 0));
        let of = |function: fn(&OwnStacks) -> Option<u32>| function as usize as u64;
        let length = of(first).abs_diff(of(second)).min(400);
        let calls = |stack: usize, function: u64| {
            taken.stacks[stack].addresses.iter().any(|address| (function..function + length).contains(address))
        };
        assert!(calls(0, of(first)) && calls(1, of(second)) && !calls(1, of(first)));
        // A test's thread ends where the C library starts threads, which may not be known here.
        assert!(taken.stacks.iter().all(|stack| stack.addresses.len() > 5), "{:?}", taken.stacks);
    }

    #[test]
    fn too_many_stacks_are_counted_and_known_ones_stay() {
        let mut known = Known::default();
        let numbers: Vec<_> = (0..2_000u64).map(|n| known.number(&[n, n, n, n], Ending::Root, 0)).collect();
        let kept = MAX_ADDRESSES / 4;
        assert_eq!(numbers.iter().flatten().count(), kept);
        assert_eq!((known.too_many, known.addresses), (2_000 - kept as u64, MAX_ADDRESSES));
        assert_eq!(known.number(&[7, 7, 7, 7], Ending::Root, 0), Some(7));
        assert_eq!(known.number(&[7, 7, 7, 7], Ending::Root, 1), None, "of other code");
    }
}

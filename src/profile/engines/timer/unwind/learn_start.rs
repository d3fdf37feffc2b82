//! Finds out where the C library starts threads, by a walk on a new thread.

use super::cache::Cache;
use super::memory::Memory;
use super::registers::Registers;
use super::start::set_start_of_threads;
use super::walk::Modules;
use crate::os::stack;

impl Modules {
    /// Finds out where the C library starts threads: a new thread walks its own stack to its root.
    /// The name of that function is not known where the library has no symbols. Blocks until that
    /// thread has ended.
    pub(in super::super) fn learn_start_of_threads(&self) {
        let modules = self.clone();
        let find = move || set_start_of_threads(modules.outermost_of_this_thread());
        if let Ok(thread) = std::thread::Builder::new().name("selvedge-start".into()).spawn(find) {
            // It does not panic; if it did, nothing would be known.
            let _ = thread.join();
        }
    }

    /// The last return address that can be found; 0 if there is none.
    fn outermost_of_this_thread(&self) -> u64 {
        let Some(own) = stack::own() else { return 0 };
        let without_starts = self.without_starts();
        Registers::here(|registers| {
            let (mut last, mut cache) = (0, Cache::default());
            // SAFETY: the calling thread's own stack, from its stack pointer on; this call does not
            // write to the part that is in use by the functions that called it.
            let memory = unsafe { Memory::of_this_thread(registers.stack_pointer..own.end, 0..0) };
            without_starts.walk(registers, memory, &mut cache, |address| {
                last = if address == registers.instruction { 0 } else { address };
                true
            });
            last
        })
    }
}

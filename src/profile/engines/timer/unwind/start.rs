//! The functions that threads start with: a walk that has come to one is whole.

use super::module::Code;
use super::rule::{self, Rule};
use super::{Cache, Memory, Modules, Registers};
use crate::os::stack;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where the C library's function for new threads calls their own: a return address. 0: not known
/// yet. Stored by `learn`, always the same address.
static OF_THREADS: AtomicU64 = AtomicU64::new(0);

/// The code of `_start` is not longer, where no table tells.
const LENGTH: u64 = 64;

#[derive(Clone, Default)]
pub(super) struct Starts {
    functions: Vec<Range<u64>>,
    /// As long as it is not known where threads start: the C library. What its tables call
    /// outermost is a start then.
    library: Option<Range<u64>>,
}

impl Starts {
    /// In these modules.
    pub(super) fn find(code: &Code) -> Starts {
        let function = |address: u64| {
            let known = code.module(address).and_then(|module| rule::function(module, address));
            known.unwrap_or(address..address.saturating_add(LENGTH))
        };
        // SAFETY: has no preconditions.
        let entry = unsafe { libc::getauxval(libc::AT_ENTRY) };
        let mut functions = Vec::new();
        if entry != 0 {
            // Of the program, whatever its name is. Started by `ld.so program`, this is the
            // program's too.
            functions.push(function(entry));
        }
        let library = code.module(libc::pthread_create as *const () as u64);
        // The C library's own, if no function of the program takes its place.
        let clone = libc::clone as *const () as u64;
        functions.extend(library.filter(|module| module.range.contains(&clone)).map(|_| function(clone)));
        // Relaxed: a number, always the same.
        let of_threads = OF_THREADS.load(Ordering::Relaxed);
        if of_threads == 0 {
            return Starts { functions, library: library.map(|module| module.range.clone()) };
        }
        functions.push(function(of_threads - 1));
        Starts { functions, library: None }
    }

    /// This function, for tests.
    #[cfg(test)]
    pub(super) fn of(function: Range<u64>) -> Starts {
        Starts { functions: std::iter::once(function).collect(), library: None }
    }

    /// # Signal safety
    /// Safe.
    pub(super) fn contains(&self, address: u64, rule: Rule) -> bool {
        let is_known = self.functions.iter().any(|function| function.contains(&address));
        let is_outermost =
            || rule == Rule::Outermost && self.library.as_ref().is_some_and(|all| all.contains(&address));
        is_known || is_outermost()
    }
}

pub(in super::super) fn is_start_of_threads_known() -> bool {
    // Relaxed: as above.
    OF_THREADS.load(Ordering::Relaxed) != 0
}

impl Modules {
    /// Finds out where the C library starts threads: a new thread looks for its own root. The name
    /// of that function is not known where the library has no symbols. Blocks until that thread has
    /// ended.
    pub(in super::super) fn learn_start_of_threads(&self) {
        let modules = self.clone();
        let look = move || OF_THREADS.store(modules.outermost_of_this_thread(), Ordering::Relaxed);
        if let Ok(thread) = std::thread::Builder::new().name("selvedge-start".into()).spawn(look) {
            // It does not panic; if it did, nothing would be known.
            let _ = thread.join();
        }
    }

    /// The last return address that can be found; 0 if there is none.
    fn outermost_of_this_thread(&self) -> u64 {
        let Some(own) = stack::own() else { return 0 };
        let nothing_is_a_start = Modules { starts: Starts::default(), ..self.clone() };
        Registers::here(|registers| {
            let (mut last, mut cache) = (0, Cache::default());
            // SAFETY: the calling thread's own stack, from its stack pointer on; this call does not
            // write to the part that is in use by the functions that called it.
            let memory = unsafe { Memory::of_this_thread(registers.stack_pointer..own.end, 0..0) };
            nothing_is_a_start.walk(registers, memory, &mut cache, |address| {
                last = if address == registers.instruction { 0 } else { address };
                true
            });
            last
        })
    }
}

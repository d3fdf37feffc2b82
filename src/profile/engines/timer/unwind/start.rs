//! The functions that threads start with: a walk that has reached one is complete. Knows code and
//! rules, no walks.

use super::module::Code;
use super::rule::{self, Rule};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where the C library's function for new threads calls their own: a return address. 0: not known
/// yet. Stored by `set_start_of_threads`, always the same address.
static OF_THREADS: AtomicU64 = AtomicU64::new(0);

/// The assumed length of a function that no table covers: `_start` is not longer.
const LENGTH: u64 = 64;

#[derive(Clone, Default)]
pub(super) struct Starts {
    functions: Vec<Range<u64>>,
    /// As long as it is not known where threads start: the C library. What its tables call
    /// outermost is a start then.
    library: Option<Range<u64>>,
}

impl Starts {
    /// Finds them in these modules.
    pub(super) fn find(code: &Code) -> Starts {
        let function = |address: u64| {
            let known = code.module(address).and_then(|module| rule::function(module, address));
            known.unwrap_or(address..address.saturating_add(LENGTH))
        };
        // SAFETY: has no preconditions.
        let entry = unsafe { libc::getauxval(libc::AT_ENTRY) };
        let mut functions = Vec::new();
        if entry != 0 {
            // The program's first function, by any name. If the program was started by `ld.so
            // program`, this is still the program's.
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

    /// This function alone.
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

/// Stores where the C library calls the functions of new threads: a return address, or 0.
pub(super) fn set_start_of_threads(address: u64) {
    // Relaxed: a number, always the same.
    OF_THREADS.store(address, Ordering::Relaxed);
}

/// Returns `true` if it was stored.
pub(in super::super) fn is_start_of_threads_known() -> bool {
    // Relaxed: as above.
    OF_THREADS.load(Ordering::Relaxed) != 0
}

//! Unwinding: finds a stack's return addresses from the registers of its leaf. Uses the rules that
//! the compiler wrote into the program (`.eh_frame`) and, where there are none, the frame pointer.
//! Allocates nothing while it walks, and reads nothing but its tables, the stack it is given, and
//! code: so a signal handler may call it.

mod cache;
mod call;
mod learn_start;
mod memory;
mod module;
mod registers;
mod row;
mod rule;
mod start;
#[cfg(all(test, target_arch = "x86_64"))]
mod tests;
mod walk;

pub(super) use cache::Cache;
pub(super) use memory::Memory;
pub(super) use module::{Module, Table};
pub(super) use registers::Registers;
pub(super) use start::is_start_of_threads_known;
pub(super) use walk::Modules;

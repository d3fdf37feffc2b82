//! The state of a timer recording: which threads are sampled, and everything that is done to them
//! from outside the signal handler. All of it under one lock, which the handler never takes.
//!
//! `data.rs` has what every clock needs. `cpu.rs` and `wall.rs` have what one clock needs besides;
//! `by_cpu.rs` and `by_wall.rs` are the sampler's visits by that clock. `ring.rs` and `by_ring.rs`
//! are the same for sampling without signals. Each other file is one task.
//!
//! Invariants
//! 1. A slot that the table names is in `State::sampled`, so it lives. It leaves `sampled` after
//!    its timer is deleted, its entry is null, and a grace is over.
//! 2. A thread of the tree in `sampled` has not got past its `ended` call: its id, clock and stack
//!    are its own. Unregistered threads make no such call: see `scan.rs`.
//! 3. After `stop`, `sampled` is empty and stays so.

mod blocked_looks;
mod blocking;
mod by_cpu;
mod by_ring;
mod by_wall;
mod close;
mod cpu;
mod data;
mod deferred;
mod module_lists;
mod obstacles;
mod ring;
mod scan;
mod stacks;
#[cfg(test)]
mod tests;
mod threads;
mod traced;
mod unregistered;
mod wall;

pub(super) use blocked_looks::APART;
pub(super) use data::State;

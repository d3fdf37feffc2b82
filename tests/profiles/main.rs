//! Profiles: one file for each promise. One recording at a time: the sampler and its signal belong
//! to the process.
#![cfg(feature = "profiling")]

#[path = "../support/random.rs"]
mod random;
#[path = "../support/split.rs"]
mod split;
#[path = "../support/mod.rs"]
mod support;

mod accounts;
mod block_bias;
mod callers;
mod contexts;
mod ender_names;
mod forked_names;
mod handler;
mod lost_time;
mod measure;
mod process;
mod ring;
mod spans;
mod stack_ends;
mod storm;
mod symbols;
mod totals;
mod tree;
mod truth;
mod unregistered;
mod wait_stacks;
mod wait_sums;
mod waits;

/// Held by each test that records.
static ONE_AT_A_TIME: parking_lot::Mutex<()> = parking_lot::Mutex::new(());

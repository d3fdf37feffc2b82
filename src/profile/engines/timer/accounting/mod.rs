//! Accounting: how much time each thread used, and where. Knows clocks and addresses, no signals,
//! no locks and no operating system, so that it is tested with made-up numbers.
//!
//! Invariants
//! 1. For each thread, the weights of its stacks and its `[unsampled]` remainder add up to the time
//!    by which its clock advanced, to the nanosecond, even if samples were lost.
//! 2. By the CPU clock, a thread's samples and its lost samples are together no fewer than the
//!    whole periods of its clock. This holds for each cause of a loss: a timer that merged
//!    expirations, a clock that was attached late, a full ring.
//! 3. What is kept of stacks is bounded. Time whose stack is not kept goes to the stack `[others]` of the
//!    same account: invariants 1 and 2 hold.

mod accounts;
mod cpu;
mod others;
#[cfg(test)]
mod others_tests;
mod pools;
mod room;
#[cfg(test)]
mod tests;
mod wait_names;
mod wall;
mod wall_state;
#[cfg(test)]
mod wall_tests;

pub(super) use accounts::Accounting;
pub(super) use cpu::ThreadClock;
pub(super) use wall_state::{Still, ThreadSnapshot, WallState};

#[cfg(test)]
impl Accounting {
    /// Accounts a record of a thread without a context.
    fn record(
        &mut self,
        thread_clock: &mut ThreadClock,
        clock: u64,
        ending: crate::profile::raw::Ending,
        addresses: &[u64],
    ) -> u32 {
        let shown = crate::wait::Shown::default();
        let record = super::ring::Record { clock, at: 0, ending, shown, context: 0, addresses };
        self.account_record(thread_clock, record)
    }
}

//! Where each thread's lifetime went. The ledger opens and closes an account for each thread while a
//! recording runs; `fold` adds up those of ended threads; the table prints them for people.

mod account;
mod fold;
mod ledger;
#[cfg(feature = "inspect")]
mod since;
mod table;
#[cfg(feature = "inspect")]
mod wait_counters;

pub use self::account::{Account, WaitTotal};
pub(super) use self::ledger::Ledger;
#[cfg(feature = "inspect")]
pub(super) use self::ledger::former_wait_counters;
#[cfg(feature = "inspect")]
pub(super) use self::since::{since, take};
pub(super) use self::table::{Table, is_runtimes_own, sums, time};
#[cfg(feature = "inspect")]
pub(crate) use self::wait_counters::WaitCounter;

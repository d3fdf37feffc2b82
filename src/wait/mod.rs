//! What the calling thread waits for, which thread holds that, and the identity of the calling
//! thread. Below `signal`, because every blocking call publishes its wait here. The tree, the dump
//! and the wall-clock profile read it.
//!
//! | file | what it is |
//! |---|---|
//! | `description` | what a blocking call waits for, and which threads can end the wait |
//! | `holder` | the thread that holds a thing, and the threads that use a side of a queue |
//! | `context` | what a thread works on: the pairs that others see, and their numbers in samples |
//! | `context_history` | which context a thread had at which time |
//! | `slot` | where one thread publishes its waits |
//! | `slot_lock` | the lock of a slot, under which its holder publishes nothing |
//! | `identity` | the calling thread: its path, its slot, its number |
//! | `leaving` | the threads whose thread-locals are being destroyed |
//! | `ended_names` | the paths of threads that have ended while waits are counted |
//! | `outside` | the paths of threads that are not in the tree |
//! | `holding` | the calling thread as a holder; the paths of holders |
//! | `publish` | a wait is published while its guard lives |
//! | `ender` | which thread ended a wait, and when |
//! | `slept` | how long a thread sleeps in its blocking calls |
//! | `sleep` | the calling thread sleeps, and stamps the waits that it ends |
//! | `stacks` | the stack of a blocking call, and of a call that lets go |
//! | `sampling` | which waits get a stack |
//! | `stack_sums` | the waits of one name by their stacks |
//! | `totals` | how long a thread has waited in all, for what, and which threads ended that |
//! | `times` | how long a thread has waited for what |
//! | `counting` | a recording begins and ends to count a thread's waits, and reads them |
//! | `change_flags` | the sampler learns which threads' waits have changed |

#[cfg(feature = "profiling")]
mod change_flags;
mod context;
#[cfg(feature = "profiling")]
mod context_history;
#[cfg(feature = "profiling")]
mod counting;
mod description;
#[cfg(feature = "profiling")]
mod ended_names;
#[cfg(feature = "profiling")]
mod ender;
#[cfg(not(feature = "profiling"))]
#[path = "no_ender.rs"]
mod ender;
mod holder;
mod holding;
mod identity;
mod leaving;
#[cfg(all(test, feature = "profiling", selvedge_loom))]
mod loom_tests;
mod outside;
mod publish;
#[cfg(feature = "profiling")]
mod sampling;
mod sleep;
#[cfg(feature = "profiling")]
mod slept;
mod slot;
mod slot_lock;
#[cfg(feature = "profiling")]
mod stack_sums;
#[cfg(feature = "profiling")]
mod stacks;
#[cfg(not(feature = "profiling"))]
#[path = "no_stacks.rs"]
mod stacks;
#[cfg(all(test, not(selvedge_model)))]
mod tests;
#[cfg(feature = "profiling")]
mod times;
#[cfg(feature = "profiling")]
mod totals;

#[cfg(feature = "profiling")]
pub(crate) use self::change_flags::ChangeFlags;
pub(crate) use self::context::{Context, Pair};
#[cfg(feature = "profiling")]
pub(crate) use self::context::{ContextNumbers, number_contexts};
pub use self::description::Wait;
pub(crate) use self::description::{Handles, Shared, Unblocker, WaitDescription, lend};
pub(crate) use self::ender::Ender;
#[cfg(feature = "profiling")]
pub(crate) use self::ender::is_on as is_counted;
#[cfg(feature = "profiling")]
pub(crate) use self::ender::{Cause, nanos, nanos_in_handler};
pub(crate) use self::holder::{Holder, Users};
#[cfg(any(feature = "log4rs", test))]
pub(crate) use self::identity::is_tree_path;
pub(crate) use self::identity::{
    Before, become_thread, become_thread_for_good, is_alive, leave_tree, my_path, publish_context, tree_path,
    with_my_context,
};
#[cfg(feature = "profiling")]
pub(crate) use self::identity::{name_of_thread, number, path_changes};
#[cfg(feature = "profiling")]
pub(crate) use self::outside::is_path_outside;
pub(crate) use self::outside::path_outside;
pub(crate) use self::publish::{Published, publish, publish_with};
#[cfg(feature = "profiling")]
pub(crate) use self::sampling::Weight;
#[cfg(all(test, feature = "profiling"))]
pub(crate) use self::sleep::count_alone;
#[cfg(all(feature = "profiling", any(feature = "log4rs", test)))]
pub(crate) use self::sleep::note_log;
pub(crate) use self::sleep::{Stamp, begin_sleep, ended_by};
#[cfg(feature = "profiling")]
pub(crate) use self::sleep::{count_waits, note_span};
#[cfg(feature = "profiling")]
pub(crate) use self::slot::Shown;
pub(crate) use self::slot::Slot;
#[cfg(feature = "profiling")]
pub(crate) use self::stack_sums::{StackNumber, StackSums};
#[cfg(feature = "profiling")]
pub(crate) use self::stacks::{TakeStacks, set_taker};
pub(crate) use self::stacks::{counted_now, counted_since, let_go};
#[cfg(feature = "profiling")]
pub(crate) use self::times::{Label, Waited};
#[cfg(feature = "profiling")]
pub(crate) use self::totals::{WaitEntry, WaitLabel, WaitTotals};

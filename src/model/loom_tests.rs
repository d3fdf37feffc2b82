//! What the loom models share. Each protocol whose memory orders are weaker than SeqCst has its
//! models beside it:
//!
//! | protocol                          | code                                   | models                                   |
//! |-----------------------------------|----------------------------------------|------------------------------------------|
//! | queue: wake-up, room, close       | `queue/{wake_up,store}.rs`             | `queue/loom_tests.rs`                    |
//! | permits, and what is made of them | `sync/{permits,owned,binary_semaphore}.rs` | `sync/loom_tests.rs`                    |
//! | monitor, progress, promise        | `sync/{monitor,progress,promise}.rs`   | `sync/loom_tests.rs`                     |
//! | signals: core, targets, lazy, batch | `signal/{core,on_go,targets,lazy,batch_wake,compose}.rs` | `signal/loom_tests.rs`      |
//! | change flags at published waits   | `wait/{change_flags,slot,publish}.rs`  | `wait/loom_tests.rs`                     |
//! | the event rings of a thread       | `record/{ring,rings,store}.rs`         | `record/loom_tests.rs`                   |
//! | the profiler's rings, flags and table | `record/ring.rs`, `profile/engines/timer/{ring,sample_flags,entry}.rs` | `profile/engines/timer/loom_tests.rs` |
//! | spans of one thread, and a copy    | `profile/spans/thread_spans.rs`        | `profile/spans/loom_tests.rs`            |
//! | the log's queue, and room in it   | `log/{channel,drain_lock,room}.rs`     | `log/loom_tests.rs`                      |
//!
//! All run the real code, with the types of `model/mod.rs`. A wake-up that is lost is a deadlock
//! there, and a failure; an access of a [`Word`](super::Word) that nothing orders is a failure.
//!
//! `.ci/models loom`; `docs/checking.md` says which orders were weakened to see the models fail.

use super::reordered::set_fence_after;
use std::sync::Arc;

/// Runs `model` in each order of its steps with at most so many preemptions; twice, see
/// `reordered.rs`.
pub(crate) fn check(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let model = Arc::new(model);
    for after in [false, true] {
        set_fence_after(after);
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(preemptions);
        builder.max_branches = 20_000;
        let model = model.clone();
        builder.check(move || model());
    }
}

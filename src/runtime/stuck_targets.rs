//! Reports the targets of `on_go` that block on threads that the stop watch does not judge: `main`
//! after its function has returned, or a thread that was not asked to stop and stops another one.

use super::config::OnStuck;
use super::exit;
use super::report_plan::Plan;
use crate::signal::{RunningTarget, running_targets};
use std::collections::HashMap;
use std::time::{Duration, Instant};

pub(super) struct StuckTargets {
    patience: Duration,
    on_stuck: OnStuck,
    /// By the target's number.
    plans: HashMap<u64, Plan>,
}

impl StuckTargets {
    pub(super) fn new(patience: Duration, on_stuck: OnStuck) -> StuckTargets {
        StuckTargets { patience, on_stuck, plans: HashMap::new() }
    }

    /// Reports the targets whose time has come. Returns when the next one's will have come, `None` if
    /// none runs. `program`: when the program was asked to stop. `is_judged`: the stop watch has a
    /// plan for the thread of that path.
    pub(super) fn check(&mut self, program: Option<Instant>, is_judged: impl Fn(&str) -> bool) -> Option<Instant> {
        let (now, mut due, mut plans) = (Instant::now(), Vec::new(), HashMap::new());
        for target in running_targets() {
            if holds_up_no_end(&target) || is_judged(&target.thread) {
                continue;
            }
            // A target that runs longer than that has a whole patience from then on.
            let since = program.map_or(target.since, |program| program.max(target.since));
            let known = self.plans.remove(&target.number).filter(|plan| plan.since == since);
            let mut plan = known.unwrap_or_else(|| Plan::new(since, self.patience)).at_look();
            if plan.next().is_some_and(|next| next <= now) {
                due.push(text(&target));
                plan.advance();
            }
            plans.insert(target.number, plan);
        }
        self.plans = plans;
        if let (Some(first), OnStuck::Abort, Some(_)) = (due.first(), self.on_stuck, program) {
            exit::abort_target(first);
        }
        exit::report_stuck(due);
        self.plans.values().filter_map(Plan::next).min()
    }
}

/// The timer tells of its targets itself, and leaves the tree. Unregistered threads are in no tree.
fn holds_up_no_end(target: &RunningTarget) -> bool {
    ["main/selvedge/timer", "other/"].iter().any(|path| target.thread.starts_with(path))
}

fn text(target: &RunningTarget) -> String {
    format!("{target}, has run for {:.1?} on {} and holds that thread up", target.since.elapsed(), target.thread)
}

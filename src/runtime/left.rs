//! What the end of a program reports of values that no thread has popped. The counts come from
//! `queue`.

use crate::queue::{LeftInQueue, left_in_queues, still_in_queues};

/// How many queues are named.
const MOST_NAMED: usize = 20;

/// One line for each kind of loss; empty if there is none.
pub(super) fn lines() -> String {
    let dropped = line("values were dropped with their queues", &left_in_queues());
    let held = line("values are still in queues", &still_in_queues());
    [dropped, held].into_iter().flatten().collect::<Vec<_>>().join("\n")
}

fn line(what: &str, left: &[LeftInQueue]) -> Option<String> {
    let values: u64 = left.iter().map(LeftInQueue::values).sum();
    let mut named: Vec<_> = left.iter().take(MOST_NAMED).map(LeftInQueue::to_string).collect();
    let more = left.len().saturating_sub(MOST_NAMED);
    if more > 0 {
        named.push(format!("and {more} queues more"));
    }
    (values > 0).then(|| format!("{values} {what}: {}", named.join(", ")))
}

/// Reports the values that are left in queues at the end, which is `what`: to the log, and to
/// stderr if that does not show the log.
pub(super) fn report(what: &str) {
    let lines = lines();
    if lines.is_empty() {
        return;
    }
    let text = format!("{what}, and nothing has popped all values:\n{lines}");
    crate::log::tell_log_and_stderr(log::Level::Warn, module_path!(), &text);
}

//! The end of a parent: its children are asked to stop and joined, in the order that was promised.

use super::ask::request_stops;
use super::stop_clock::{self, DEFAULT_PATIENCE};
use super::tree::{Node, Role};
use super::{Failure, StopOrder, Thread};
use crate::error::ignore_panic;
use crate::os::tell::tell;
use crate::signal::Reason;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Stops all children of `node`: first the user's, then the runtime's own. Refuses new children
/// from then on. Afterwards `node` has their failures. If `node` has failed, returns what became of
/// the children without a failure.
pub(crate) fn stop_children(node: &Arc<Node>, failure: Option<&Failure>) -> Vec<String> {
    // Most threads have no children left.
    if node.close() {
        return Vec::new();
    }
    let how = match failure {
        None => "ended",
        Some(failure) if failure.is_panic() => "panicked",
        Some(_) => "failed",
    };
    let why = Reason::of(format!("its parent {} {how}", node.path), None, node.please_stop.reason());
    node.begin_end(why.clone());
    let left = if failure.is_some() { node.children() } else { Vec::new() };
    loop {
        stop_all(node, Role::User, &why);
        stop_all(node, Role::Runtime, &why);
        // One may have been added meanwhile, by a thread that names `node` as the parent.
        if node.close() {
            break;
        }
    }
    survivors(left)
}

/// The same, when `node` is going to run again and may then have children.
pub(super) fn end_run(node: &Arc<Node>, failed: bool) -> Vec<String> {
    if node.begin_again() {
        return Vec::new();
    }
    let why = Reason::of(format!("its parent {} has ended a run", node.path), None, node.please_stop.reason());
    node.begin_end(why.clone());
    let left = if failed { node.children() } else { Vec::new() };
    loop {
        stop_all(node, Role::User, &why);
        if node.begin_again() {
            return survivors(left);
        }
    }
}

/// Of how many children that were well a failure tells.
const MOST_SURVIVORS: usize = 20;

fn survivors(mut left: Vec<Arc<Node>>) -> Vec<String> {
    left.retain(|child| child.settings.role == Role::User && !child.has_failed());
    let more = left.len().saturating_sub(MOST_SURVIVORS);
    left.truncate(MOST_SURVIVORS);
    let line = |child: Arc<Node>| match Thread(child.clone()).stop_latency() {
        Some(took) => format!("{} stopped {took:.1?} after it was asked", child.path),
        None => format!("{} had ended", child.path),
    };
    let mut lines: Vec<_> = left.into_iter().map(line).collect();
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    lines
}

/// Stops the children of the user, and leaves the runtime's own. If `node` has failed, returns what
/// became of the children without a failure.
pub(crate) fn stop_user_children(node: &Arc<Node>, why: &Reason, failed: bool) -> Vec<String> {
    let left = if failed { node.children() } else { Vec::new() };
    stop_all(node, Role::User, why);
    survivors(left)
}

/// Stops the runtime's own children of `node`, but for these.
pub(crate) fn stop_runtimes_own(node: &Arc<Node>, but: &[u64], why: &Reason) {
    let is_meant = |child: &Arc<Node>| child.settings.role == Role::Runtime && !but.contains(&child.id);
    stop_in_order(node, node.children().into_iter().filter(is_meant).collect(), false, why);
}

fn stop_all(node: &Arc<Node>, role: Role, why: &Reason) {
    loop {
        let children: Vec<_> = node.children().into_iter().filter(|child| child.settings.role == role).collect();
        if children.is_empty() {
            return;
        }
        // The runtime's own always go one by one: the log writer must outlive the others.
        let together = node.settings.stop_order == StopOrder::Together && role == Role::User;
        stop_in_order(node, children, together, why);
    }
}

/// Stops some of the children of `node`, given in the order in which they are to be asked.
pub(crate) fn stop_these(node: &Arc<Node>, children: Vec<Arc<Node>>, why: &Reason) {
    stop_in_order(node, children, node.settings.stop_order == StopOrder::Together, why);
}

fn stop_in_order(node: &Arc<Node>, children: Vec<Arc<Node>>, together: bool, why: &Reason) {
    if together {
        request_stops(&children, why);
    }
    for child in children {
        if !together {
            child.request_stop(&why.again());
        }
        wait_for_end(node, &child);
        child.collect();
    }
}

/// Joins a child that was asked to stop. Where no runtime watches the clock of its stop, says so
/// when that takes long.
fn wait_for_end(parent: &Arc<Node>, child: &Arc<Node>) {
    // One wait, however often it is reported: only the child's end ends it.
    let _published = (!child.stopped.is_go()).then(|| child.as_waited_for().publish());
    let asked = Instant::now();
    let patience = child.settings.patience.unwrap_or(DEFAULT_PATIENCE);
    let mut next = patience;
    // A time beyond what the clock can express is none.
    while !child.stopped().wait_unpublished(None, asked.checked_add(next)) {
        if !stop_clock::is_watched() {
            ignore_panic(|| report(parent, child, asked));
        }
        next = next.saturating_mul(2).max(Duration::from_millis(1));
    }
    if let Some(os) = child.take_os_handle() {
        child.join_os(os);
    }
}

fn report(parent: &Node, child: &Node, asked: Instant) {
    let waited = asked.elapsed();
    let doing = child.waits.get().map_or_else(|| "in no blocking call of selvedge".to_owned(), |wait| wait.to_string());
    let text = format!("{} has waited {waited:.1?} for {} to stop; it is {doing}", parent.path, child.path);
    tell(log::Level::Warn, module_path!(), &text);
}

//! How a stop travels through the tree. A request goes to a thread and to all below it; a thread
//! that joins another one forwards the request to it; a thread that fails may have its siblings
//! asked; a parent that ends asks its children and joins them, in the order that was promised.
//!
//! Invariants
//! 1. No walk here is recursive, since trees may be deeper than a stack: a request that is
//!    forwarded while its thread makes requests is queued behind them (`REQUESTS`).
//! 2. A request is made before the parent waits, and a child that is born later finds the parent's
//!    `ending` (`tree/birth.rs`). So no child of an ending parent is missed.
//! 3. No sibling of a failed child is missed, however late it is born (`tree/siblings.rs`).
//! 4. No target of the program runs within a walk (`signal/targets.rs`). A target may wait for any
//!    thread that the request asks, and a stop that it makes is forwarded at once.

use super::failure::Failure;
use super::latency;
use super::policy::{OnChildFailure, Role, StopOrder};
use super::stop_clock::{self, DEFAULT_PATIENCE};
use super::tree::{Node, walk};
use crate::error::ignore_panic;
use crate::os::tell::tell;
use crate::signal::{BatchWake, Reason};
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Threads that are to be asked to stop, and why.
type Requests = Vec<(Arc<Node>, Reason)>;

thread_local! {
    /// While the calling thread makes requests: the threads to which they are forwarded.
    static REQUESTS: RefCell<Option<Requests>> = const { RefCell::new(None) };
}

/// Asks these to stop, in this order, and after each one all below it, the youngest first. A
/// `OneByOne` parent asks its children itself, when it ends. The targets run in the same order, when
/// all have been asked and woken.
pub(super) fn request_stops(nodes: &[Arc<Node>], reason: &Reason) {
    set_stops(&mut BatchWake::default(), nodes, reason);
}

/// The same. The threads are woken, and the targets run, when `batch` drops.
fn set_stops(batch: &mut BatchWake, nodes: &[Arc<Node>], reason: &Reason) {
    let outer = REQUESTS.try_with(|requests| requests.replace(Some(Vec::new()))).ok().flatten();
    let requests = nodes.iter().map(|node| (node.clone(), reason.clone())).collect();
    walk(requests, |(node, reason)| {
        batch.go_for(&node.please_stop, reason);
        let mut next = Requests::new();
        if node.settings.stop_order == StopOrder::Together {
            let users = node.children().into_iter().filter(|child| child.settings.role == Role::User);
            next.extend(users.map(|child| (child, reason.clone())));
        }
        let forwarded = REQUESTS.try_with(|requests| requests.borrow_mut().as_mut().map(std::mem::take));
        next.extend(forwarded.ok().flatten().unwrap_or_default().into_iter().rev());
        next
    });
    let _ = REQUESTS.try_with(|requests| requests.replace(outer));
}

impl Node {
    /// Asks it to stop, and all below it.
    pub(crate) fn request_stop(self: &Arc<Node>, reason: &Reason) {
        request_stops(std::slice::from_ref(self), reason);
    }

    /// [`request_stop`](Self::request_stop), from a target of another thread's `please_stop`.
    pub(crate) fn forward_stop(self: &Arc<Node>, reason: &Reason) {
        let later = REQUESTS.try_with(|requests| match &mut *requests.borrow_mut() {
            Some(requests) => {
                requests.push((self.clone(), reason.clone()));
                true
            }
            None => false,
        });
        if later != Ok(true) {
            self.request_stop(reason);
        }
    }

    /// A child has failed: acts as the thread's policy says. The targets run when `batch` drops.
    pub(super) fn child_failed(self: &Arc<Node>, failed: &Node, batch: &mut BatchWake) {
        self.child_failed.go_in(batch);
        if self.settings.on_child_failure == OnChildFailure::StopSiblings {
            let mut siblings = self.note_failed_child(failed.id);
            siblings.retain(|sibling| sibling.settings.role == Role::User);
            set_stops(batch, &siblings, &sibling_failed(&failed.path));
        }
        batch.wake();
    }
}

/// Why a thread is asked whose sibling, at this path, has failed.
pub(super) fn sibling_failed(path: &str) -> Reason {
    Reason::of(format!("its sibling {path} failed"), None, None)
}

/// While the guard lives, a stop of `me` is forwarded to `target`, if that is below it.
pub(super) fn forward_stops_to(me: Arc<Node>, target: &Arc<Node>) -> Option<StopForwarding> {
    // A thread that has stopped needs no request. Of many that are joined, most have stopped.
    if target.stopped.is_go() || !target.is_below(&me) {
        return None;
    }
    me.begin_join(target.clone());
    // One target for all joins of this thread. Weak, or it would keep the signal that it is
    // attached to.
    if !me.forwards_stops.swap(true, Ordering::Relaxed) {
        let joiner = Arc::downgrade(&me);
        me.please_stop.on_go_first(move || {
            let Some(joiner) = joiner.upgrade() else { return };
            joiner.joins().iter().for_each(|target| forward_stop(&joiner, target));
        });
    }
    // If that target has run already, it may not have seen this one.
    if me.please_stop.is_go() {
        forward_stop(&me, target);
    }
    Some(StopForwarding { joiner: me, target: target.id })
}

fn forward_stop(joiner: &Node, target: &Arc<Node>) {
    target.forward_stop(&Reason::of("the thread that joins it was asked to stop", None, joiner.please_stop.reason()));
}

pub(super) struct StopForwarding {
    joiner: Arc<Node>,
    target: u64,
}

impl Drop for StopForwarding {
    fn drop(&mut self) {
        self.joiner.end_join(self.target);
    }
}

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
        stop_all(BatchWake::default(), node, Role::User, &why);
        stop_all(BatchWake::default(), node, Role::Runtime, &why);
        // One may have been added meanwhile, by a thread that names `node` as the parent.
        if node.close() {
            break;
        }
    }
    survivors(left)
}

/// [`stop_children`] for a node that is going to run again, and may then have children.
pub(super) fn end_run(node: &Arc<Node>, failed: bool) -> Vec<String> {
    if node.begin_again() {
        return Vec::new();
    }
    let why = Reason::of(format!("its parent {} has ended a run", node.path), None, node.please_stop.reason());
    node.begin_end(why.clone());
    let left = if failed { node.children() } else { Vec::new() };
    loop {
        stop_all(BatchWake::default(), node, Role::User, &why);
        if node.begin_again() {
            return survivors(left);
        }
    }
}

/// A failure names at most this many children that did not fail.
const MOST_SURVIVORS: usize = 20;

fn survivors(mut left: Vec<Arc<Node>>) -> Vec<String> {
    left.retain(|child| child.settings.role == Role::User && !child.has_failed());
    let more = left.len().saturating_sub(MOST_SURVIVORS);
    left.truncate(MOST_SURVIVORS);
    let line = |child: Arc<Node>| match latency::of(&child) {
        _ if child.settings.is_lent && child.ended.get().is_none() => {
            format!("{} was asked to stop and may go on: nothing waits for its end", child.path)
        }
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
/// became of the children without a failure. `asked`: the signal of `node` went by the same call, so
/// its targets run when the children have been asked.
pub(crate) fn stop_user_children(asked: BatchWake, node: &Arc<Node>, why: &Reason, failed: bool) -> Vec<String> {
    let left = if failed { node.children() } else { Vec::new() };
    stop_all(asked, node, Role::User, why);
    survivors(left)
}

/// Stops the runtime's own children of `node`, except these.
pub(crate) fn stop_runtimes_own(node: &Arc<Node>, but: &[u64], why: &Reason) {
    let is_meant = |child: &Arc<Node>| child.settings.role == Role::Runtime && !but.contains(&child.id);
    let children = node.children().into_iter().filter(is_meant).collect();
    stop_in_order(BatchWake::default(), node, children, false, why);
}

fn stop_all(mut asked: BatchWake, node: &Arc<Node>, role: Role, why: &Reason) {
    loop {
        let children: Vec<_> = node.children().into_iter().filter(|child| child.settings.role == role).collect();
        if children.is_empty() {
            return;
        }
        // The runtime's own always go one by one: the log writer and the stop watch must outlive
        // the others.
        let together = node.settings.stop_order == StopOrder::Together && role == Role::User;
        stop_in_order(std::mem::take(&mut asked), node, children, together, why);
    }
}

/// Stops some of the children of `node`, given in the order in which they are to be asked.
pub(crate) fn stop_these(node: &Arc<Node>, children: Vec<Arc<Node>>, why: &Reason) {
    stop_in_order(BatchWake::default(), node, children, node.settings.stop_order == StopOrder::Together, why);
}

fn stop_in_order(mut asked: BatchWake, node: &Arc<Node>, children: Vec<Arc<Node>>, together: bool, why: &Reason) {
    if together {
        set_stops(&mut asked, &children, why);
    }
    drop(asked);
    // A thread that is lent leaves first. Otherwise it would seem to wait for its siblings.
    let (lent, others): (Vec<_>, Vec<_>) = children.into_iter().partition(|child| child.settings.is_lent);
    for child in lent.into_iter().chain(others) {
        if !together {
            child.request_stop(&why.again());
        }
        if child.settings.is_lent && child.claim_end() {
            let_go(&child);
        } else {
            wait_for_end(node, &child);
        }
        child.collect();
    }
}

/// Ends a child whose OS thread belongs to another library, which may keep it. The parent does not
/// wait for that OS thread. It waits for the threads that the child has spawned.
fn let_go(child: &Arc<Node>) {
    stop_children(child, None);
    child.finish_node(Failure::merge(child, None, child.take_failures()));
}

/// Joins a child that was asked to stop. Logs a warning when that takes long, unless a runtime
/// watches the clock of the stop and reports the child.
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

//! Tells others in this crate when a thread of the tree starts and ends; one load per spawn while nobody asks.

use super::Thread;
use super::tree::{self, Node, Role};
use parking_lot::RwLock;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Both calls come on the thread itself.
#[cfg_attr(not(feature = "profiling"), allow(dead_code))]
pub(crate) trait Observer: Send + Sync {
    fn started(&self, thread: &Thread);
    fn ended(&self, thread: &Thread);
}

/// Set while there is an observer. SeqCst on both sides, against "observer lists the living" and "thread says it lives":
/// a thread first stores that it has started and then loads this; an observer first stores this and then looks at who has
/// started. One of the two sees the other, perhaps both.
static ACTIVE: AtomicBool = AtomicBool::new(false);
static NEXT: AtomicU64 = AtomicU64::new(0);
static OBSERVERS: RwLock<Vec<(u64, Arc<dyn Observer>)>> = RwLock::new(Vec::new());

/// Registers it, then calls `seen` for each thread alive at that moment: each is told of at least once, by `seen`, by
/// `started`, or by both.
#[cfg_attr(not(feature = "profiling"), allow(dead_code))]
pub(crate) fn add(observer: Arc<dyn Observer>, seen: &mut dyn FnMut(&Thread)) -> u64 {
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    OBSERVERS.write().push((id, observer));
    ACTIVE.store(true, Ordering::SeqCst);
    tree::roots().iter().for_each(|root| visit(root, seen));
    id
}

#[cfg_attr(not(feature = "profiling"), allow(dead_code))]
pub(crate) fn remove(id: u64) {
    let mut observers = OBSERVERS.write();
    observers.retain(|(known, _)| *known != id);
    ACTIVE.store(!observers.is_empty(), Ordering::SeqCst);
}

/// Registers an observer that knows already whom it watches, if that can be done within `patience`. Whoever it finds not ended
/// after this call will tell it.
#[cfg_attr(not(feature = "profiling"), allow(dead_code))]
pub(crate) fn listen(observer: Arc<dyn Observer>, patience: Duration) -> Option<u64> {
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    OBSERVERS.try_write_for(patience)?.push((id, observer));
    ACTIVE.store(true, Ordering::SeqCst);
    std::sync::atomic::fence(Ordering::SeqCst);
    Some(id)
}

/// [`remove`], if that can be done within `patience`. Otherwise it is told of things to the end.
#[cfg_attr(not(feature = "profiling"), allow(dead_code))]
pub(crate) fn unlisten(id: u64, patience: Duration) {
    if let Some(mut observers) = OBSERVERS.try_write_for(patience) {
        observers.retain(|(known, _)| *known != id);
        ACTIVE.store(!observers.is_empty(), Ordering::SeqCst);
    }
}

#[cfg_attr(not(feature = "profiling"), allow(dead_code))]
fn visit(node: &Arc<Node>, seen: &mut dyn FnMut(&Thread)) {
    std::sync::atomic::fence(Ordering::SeqCst);
    if node.started.get().is_some() && node.ended.get().is_none() {
        seen(&Thread(node.clone()));
    }
    for child in node.children() {
        visit(&child, seen);
    }
}

pub(super) fn started(node: &Arc<Node>) {
    std::sync::atomic::fence(Ordering::SeqCst);
    tell(node, |observer, thread| observer.started(thread));
}

pub(super) fn ended(node: &Arc<Node>) {
    // As in `started`: a thread that sees no observer has been seen as ended by one that comes.
    std::sync::atomic::fence(Ordering::SeqCst);
    tell(node, |observer, thread| observer.ended(thread));
}

fn tell(node: &Arc<Node>, what: impl Fn(&dyn Observer, &Thread)) {
    if ACTIVE.load(Ordering::SeqCst) && node.terms.role != Role::Foreign {
        let thread = Thread(node.clone());
        for (_, observer) in OBSERVERS.read().iter() {
            what(observer.as_ref(), &thread);
        }
    }
}

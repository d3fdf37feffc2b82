//! Tells observers in this crate when a thread of the tree starts and ends. Costs one load per
//! spawn without an observer.

use super::handle::Thread;
use super::policy::Role;
use super::roots::roots;
use super::tree::{Node, walk};
use crate::model::locks::RwLock;
use crate::os::fork::PerProcess;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Both calls come on the thread itself.
#[cfg_attr(not(feature = "profiling"), allow(dead_code))]
pub(crate) trait Observer: Send + Sync {
    fn started(&self, thread: &Thread);
    fn ended(&self, thread: &Thread);
}

/// Set while there is an observer. SeqCst on both sides: a thread first stores that it has started
/// and then loads this. An observer first stores this and then looks which threads have started. At
/// least one of the two sees the other.
static ACTIVE: PerProcess<AtomicBool> = PerProcess::new(AtomicBool::new(false), AtomicBool::default);
static NEXT: AtomicU64 = AtomicU64::new(0);
/// The next call that gets the lock for writing takes out observers that are gone.
static OBSERVERS: PerProcess<RwLock<Observers>> = PerProcess::new(RwLock::new(Vec::new()), RwLock::default);

/// Each with its number.
type Observers = Vec<(u64, Weak<dyn Observer>)>;

/// Registers it, then calls `seen` for each thread alive at that moment: each is told of at least
/// once, by `seen`, by `started`, or by both. The caller keeps the observer alive as long as it is
/// to be told.
#[cfg_attr(not(feature = "profiling"), allow(dead_code))]
pub(crate) fn add(observer: Weak<dyn Observer>, seen: &mut dyn FnMut(&Thread)) -> u64 {
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    {
        let mut observers = OBSERVERS.write();
        observers.push((id, observer));
        sweep(&mut observers, None);
    }
    walk(roots(), |node| {
        std::sync::atomic::fence(Ordering::SeqCst);
        if node.started.get().is_some() && node.ended.get().is_none() {
            seen(&Thread(node.clone()));
        }
        node.children_by_age()
    });
    id
}

#[cfg_attr(not(feature = "profiling"), allow(dead_code))]
pub(crate) fn remove(id: u64) {
    sweep(&mut OBSERVERS.write(), Some(id));
}

/// Takes out that observer, and all observers that are gone.
fn sweep(observers: &mut Observers, id: Option<u64>) {
    observers.retain(|(known, observer)| Some(*known) != id && observer.strong_count() > 0);
    ACTIVE.store(!observers.is_empty(), Ordering::SeqCst);
}

/// Registers an observer that knows already which threads it watches, if that can be done within
/// `patience`. A thread that it finds not ended after this call will tell it.
#[cfg_attr(not(feature = "profiling"), allow(dead_code))]
pub(crate) fn listen(observer: Weak<dyn Observer>, patience: Duration) -> Option<u64> {
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    {
        let mut observers = OBSERVERS.try_write_for(patience)?;
        observers.push((id, observer));
        sweep(&mut observers, None);
    }
    std::sync::atomic::fence(Ordering::SeqCst);
    Some(id)
}

/// [`remove`], if that can be done within `patience`. Otherwise it is told of things until the
/// caller drops it, and its place in the list is given back when a thread starts or ends.
#[cfg_attr(not(feature = "profiling"), allow(dead_code))]
pub(crate) fn unlisten(id: u64, patience: Duration) {
    if let Some(mut observers) = OBSERVERS.try_write_for(patience) {
        sweep(&mut observers, Some(id));
    }
}

/// Called on the thread itself, by `tree/leave.rs`.
pub(super) fn started(node: &Arc<Node>) {
    std::sync::atomic::fence(Ordering::SeqCst);
    tell(node, |observer, thread| observer.started(thread));
}

/// Called on the thread itself, by `tree/leave.rs`.
pub(super) fn ended(node: &Arc<Node>) {
    // As in `started`: an observer that the thread does not see will find the thread ended.
    std::sync::atomic::fence(Ordering::SeqCst);
    tell(node, |observer, thread| observer.ended(thread));
}

fn tell(node: &Arc<Node>, what: impl Fn(&dyn Observer, &Thread)) {
    if ACTIVE.load(Ordering::SeqCst) && node.settings.role != Role::Unregistered {
        let thread = Thread(node.clone());
        let mut some_are_gone = false;
        for (_, observer) in OBSERVERS.read().iter() {
            match observer.upgrade() {
                Some(observer) => what(observer.as_ref(), &thread),
                None => some_are_gone = true,
            }
        }
        // Without waiting: the next thread comes by as well.
        if some_are_gone && let Some(mut observers) = OBSERVERS.try_write() {
            sweep(&mut observers, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Deaf;

    impl Observer for Deaf {
        fn started(&self, _: &Thread) {}
        fn ended(&self, _: &Thread) {}
    }

    #[test]
    fn an_observer_not_removed_in_time_is_freed() {
        let observer = Arc::new(Deaf);
        let watched = Arc::downgrade(&observer);
        let id = listen(watched.clone(), Duration::from_secs(100)).unwrap();
        let reading = OBSERVERS.read();
        unlisten(id, Duration::from_millis(1));
        drop(reading);
        drop(observer);
        let deadline = std::time::Instant::now() + Duration::from_secs(100);
        // Another test's thread may tell it something just then.
        while watched.upgrade().is_some() {
            assert!(std::time::Instant::now() < deadline, "the list keeps the observer alive");
            std::thread::sleep(Duration::from_millis(1));
        }
        let is_listed = || OBSERVERS.read().iter().any(|(known, _)| *known == id);
        // Another test's thread may hold the list just then.
        while is_listed() && std::time::Instant::now() < deadline {
            crate::spawn("passer-by", |_| ()).join().unwrap();
        }
        assert!(!is_listed(), "its place in the list stays");
    }
}

//! One permit with a name and an owner: how threads get into Lock and Monitor. Guards no
//! value itself.
//!
//! Models: `loom_permits_*` and `loom_monitor_*` in `sync/loom_tests.rs`.

use super::GaveUp;
use super::limit::Limit;
use super::permits::Permits;
use crate::model::AtomicBool;
use crate::signal::Signal;
use crate::wait::{Holder, Unblocker, WaitDescription};
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

pub(super) struct Owned {
    permits: Permits,
    /// Written by the owner only. Relaxed: the permit orders it.
    left_by_panic: AtomicBool,
    /// In an Arc because a published wait refers to it.
    holder: Arc<Holder>,
    kind: &'static str,
    name: Arc<str>,
}

impl Owned {
    pub(super) fn new(kind: &'static str, name: &str) -> Owned {
        Owned {
            permits: Permits::new(1),
            left_by_panic: AtomicBool::new(false),
            holder: Arc::default(),
            kind,
            name: Arc::from(name),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The path of the owner, if there is one now.
    pub(super) fn owner(&self) -> Option<Arc<str>> {
        self.holder.path()
    }

    #[inline]
    #[track_caller]
    pub(super) fn enter(&self) {
        if !self.permits.try_acquire_only() {
            // Without a limit it cannot give up.
            while self.enter_slow(Limit::NONE).is_err() {}
        }
        self.holder.take();
    }

    #[inline]
    #[track_caller]
    pub(super) fn enter_till(&self, till: &Signal) -> Result<(), GaveUp> {
        let limit = Limit::till(till);
        limit.check()?;
        if !self.permits.try_acquire_only() {
            self.enter_slow(limit)?;
        }
        self.holder.take();
        Ok(())
    }

    #[track_caller]
    pub(super) fn enter_timeout(&self, timeout: Duration) -> Result<(), GaveUp> {
        if !self.permits.try_acquire_only() {
            self.enter_slow(Limit::timeout(timeout))?;
        }
        self.holder.take();
        Ok(())
    }

    #[inline]
    #[track_caller]
    pub(super) fn try_enter(&self) -> bool {
        let entered = self.permits.try_acquire();
        if entered {
            self.holder.take();
        }
        entered
    }

    #[cold]
    #[track_caller]
    fn enter_slow(&self, limit: Limit<'_>) -> Result<(), GaveUp> {
        if self.holder.is_me() {
            let owner = crate::wait::my_path();
            panic!("{owner} is in {} \"{}\" already, and would wait for itself forever", self.kind, self.name);
        }
        let place = Location::caller();
        let publish = |since| {
            let what =
                WaitDescription::new(self.kind, self.name.clone()).unblocker(Unblocker::Holder(self.holder.clone()));
            what.limited(limit.is_any()).at(place).publish_since(since)
        };
        self.permits.acquire_slow(limit, publish)
    }

    /// For the owner.
    #[inline]
    pub(super) fn leave(&self) {
        self.holder.leave();
        self.permits.release_only();
    }

    /// For the owner: keeps for the next owner whether it leaves by a panic. `panicking_before` is
    /// what `std::thread::panicking` returned when the owner entered.
    ///
    /// An owner that leaves in order during a panic changes nothing. It is a destructor, which
    /// mostly does not look at the value, and the same panic may have left the value half changed.
    #[inline]
    pub(super) fn note_panic(&self, panicking_before: bool) {
        if std::thread::panicking() {
            if !panicking_before {
                self.left_by_panic.store(true, Ordering::Relaxed);
            }
        } else if self.left_by_panic() {
            self.left_by_panic.store(false, Ordering::Relaxed);
        }
    }

    /// For the owner: returns `true` if an owner left by a panic, and none has left outside of a
    /// panic since.
    #[inline]
    pub(super) fn left_by_panic(&self) -> bool {
        self.left_by_panic.load(Ordering::Relaxed)
    }
}

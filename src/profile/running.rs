//! The recording that runs, for a second reader of its findings up to now. The recording owns
//! the engine, and takes it along when it ends.

use super::counted_waits::Waits;
use super::engines::{Sampler, Start};
use super::raw::RawProfile;
use crate::model::locks::RwLock;
use crate::os::fork;
use std::sync::Arc;
use std::time::Duration;
#[cfg(any(feature = "inspect", feature = "push"))]
use {
    super::raw::Effective,
    crate::model::locks::Mutex,
    crate::os::fork::PerProcess,
    std::sync::Weak,
    std::time::{Instant, SystemTime},
};

/// The last recording that was started.
#[cfg(any(feature = "inspect", feature = "push"))]
static LAST: PerProcess<Mutex<Weak<Running>>> = PerProcess::new(Mutex::new(Weak::new()), Mutex::default);

/// How long a forked child waits for a thread that it may not have.
const IN_CHILD: Duration = Duration::from_millis(100);

/// An engine that runs, and what it does.
pub(super) struct Running {
    /// `None` once the recording has ended.
    sampler: RwLock<Option<Box<dyn Sampler>>>,
    generation: u32,
    #[cfg(any(feature = "inspect", feature = "push"))]
    waits: Weak<Waits>,
    #[cfg(any(feature = "inspect", feature = "push"))]
    pub(super) effective: Effective,
    #[cfg(any(feature = "inspect", feature = "push"))]
    pub(super) began: Instant,
    #[cfg(any(feature = "inspect", feature = "push"))]
    pub(super) epoch: SystemTime,
}

/// The recording's own end of it: the engine stops when this is dropped.
pub(super) struct Owned(Arc<Running>);

impl Owned {
    /// From now on others can read it.
    #[cfg_attr(not(any(feature = "inspect", feature = "push")), allow(unused_variables))]
    pub(super) fn share(start: Start, waits: Option<&Arc<Waits>>) -> Owned {
        let running = Arc::new(Running {
            sampler: RwLock::new(Some(start.sampler)),
            generation: fork::generation(),
            #[cfg(any(feature = "inspect", feature = "push"))]
            waits: waits.map(Arc::downgrade).unwrap_or_default(),
            #[cfg(any(feature = "inspect", feature = "push"))]
            effective: start.effective,
            #[cfg(any(feature = "inspect", feature = "push"))]
            began: start.began,
            #[cfg(any(feature = "inspect", feature = "push"))]
            epoch: start.epoch,
        });
        #[cfg(any(feature = "inspect", feature = "push"))]
        {
            *LAST.lock() = Arc::downgrade(&running);
        }
        Owned(running)
    }

    pub(super) fn snapshot(&self) -> RawProfile {
        self.0.snapshot().unwrap_or_default()
    }

    /// Stops it. A second reader that is just reading comes first.
    pub(super) fn finish(self) -> RawProfile {
        let sampler = self.0.sampler.write().take();
        sampler.map(Sampler::finish).unwrap_or_default()
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        let sampler = if self.0.generation == fork::generation() {
            self.0.sampler.write().take()
        } else {
            // A thread that was reading is not in the child.
            self.0.sampler.try_write_for(IN_CHILD).and_then(|mut sampler| sampler.take())
        };
        drop(sampler);
    }
}

impl Running {
    /// `None`: it has ended.
    pub(super) fn snapshot(&self) -> Option<RawProfile> {
        self.sampler.read().as_ref().map(|sampler| sampler.snapshot())
    }

    /// What counts the waits; `None` if they are not counted.
    #[cfg(any(feature = "inspect", feature = "push"))]
    pub(super) fn waits(&self) -> Option<Arc<Waits>> {
        self.waits.upgrade()
    }
}

/// The recording that runs now.
#[cfg(any(feature = "inspect", feature = "push"))]
pub(super) fn running() -> Option<Arc<Running>> {
    let running = LAST.lock().upgrade()?;
    let runs = running.sampler.read().is_some();
    runs.then_some(running)
}

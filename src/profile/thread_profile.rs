//! One thread's part of a profile: its times, and how many samples it has. Plain data.

use std::sync::Arc;
use std::time::Duration;

/// One thread's account in a [`Profile`](crate::profile::Profile).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadProfile {
    pub(super) path: Arc<str>,
    pub(super) cpu: Duration,
    pub(super) sampled: Duration,
    pub(super) wall: Duration,
    pub(super) samples: u64,
    pub(super) lost: u64,
    pub(super) merged: u64,
    pub(super) truncated: u64,
    pub(super) unsampled: Duration,
    pub(super) broken: u64,
    /// The number of threads that this stands for.
    pub(super) members: u64,
}

impl ThreadProfile {
    pub(super) fn new(path: Arc<str>) -> ThreadProfile {
        let zero = Duration::ZERO;
        ThreadProfile {
            path,
            cpu: zero,
            sampled: zero,
            wall: zero,
            samples: 0,
            lost: 0,
            merged: 0,
            truncated: 0,
            unsampled: zero,
            broken: 0,
            members: 1,
        }
    }

    /// The thread's path, `main/crawler/fetcher-3`. An unregistered thread has
    /// `other/<name in the system>`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The number of threads that this stands for: 1, or more for a pool of threads that have all
    /// ended.
    ///
    /// When more than 4096 threads have ended during a recording, ended threads that were spawned at
    /// the same place and whose paths differ in numbers only are one entry,
    /// `main/listener/connection-*`. All its times and counts are sums. If that is not enough, `*`
    /// takes the place of the whole name, and then of the whole path: `main/*`.
    ///
    /// ```
    /// # #[cfg(target_os = "linux")] {
    /// let recording = selvedge::profile::start(selvedge::profile::Options::new())?;
    /// selvedge::spawn("worker", |_| ()).join().unwrap();
    /// assert!(recording.finish().threads().iter().all(|thread| thread.members() == 1));
    /// # }
    /// # Ok::<(), selvedge::Error>(())
    /// ```
    pub fn members(&self) -> u64 {
        self.members
    }

    /// The CPU time of the thread during the recording. Zero where the system has no such clock,
    /// and with [`Engine::Process`] for unregistered threads.
    ///
    /// [`Engine::Process`]: super::Engine::Process
    pub fn cpu_time(&self) -> Duration {
        self.cpu
    }

    /// The time that the thread's samples stand for. Near [`cpu_time`](Self::cpu_time) if there are
    /// enough samples.
    pub fn sampled_time(&self) -> Duration {
        self.sampled
    }

    /// How long the thread lived during the recording; for an unregistered thread, since it was
    /// found. With [`Engine::Process`] zero for unregistered threads.
    ///
    /// [`Engine::Process`]: super::Engine::Process
    pub fn wall_time(&self) -> Duration {
        self.wall
    }

    /// The number of samples of this thread.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// The number of samples that were due and are missing. With [`Engine::Timer`] the ring was
    /// full, or several samples were merged into one; their time goes to the next sample. With
    /// [`Engine::Process`] the number is computed from the thread's CPU time. Chance decides there
    /// which of the running threads is sampled, so a few may be due to chance alone.
    ///
    /// [`Engine::Timer`]: super::Engine::Timer
    /// [`Engine::Process`]: super::Engine::Process
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// The number of [lost](Self::lost) samples that were merged into the next one. That sample has
    /// their time, so the sums are right, and only the stacks between are missing. 0 with
    /// [`Engine::Process`].
    ///
    /// [`Engine::Process`]: super::Engine::Process
    pub fn merged(&self) -> u64 {
        self.merged
    }

    /// The number of samples whose stack was deeper than the engine keeps. `[truncated]` stands for
    /// the missing callers.
    pub fn truncated(&self) -> u64 {
        self.truncated
    }

    /// The number of samples whose callers were not found. `[broken]`: the unwinder found no
    /// caller. `[other stack]`: the thread did not run on its own stack, or was near to its end.
    pub fn broken(&self) -> u64 {
        self.broken
    }

    /// The CPU time without a sample: after the thread's last sample, or all of it if there was
    /// none. `[unsampled]` in the flamegraph. With [`Engine::Timer`], this and
    /// [`sampled_time`](Self::sampled_time) are [`cpu_time`](Self::cpu_time) exactly.
    ///
    /// [`Engine::Timer`]: super::Engine::Timer
    pub fn unsampled_time(&self) -> Duration {
        self.unsampled
    }
}

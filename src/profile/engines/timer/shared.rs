//! What the threads, the sampler and the recording share: the state, and its lock.
//!
//! A thread waits for the lock when it ends, and not when it starts: see `newcomers`. So each
//! thread that has the lock admits the newcomers when it gets the lock, and again before it gives
//! it back.

use super::handler;
use super::newcomers::Newcomers;
use super::state::State;
use crate::os::{fork, sigprof};
use crate::profile::describe_handler::describe_handler;
use crate::profile::raw::RawProfile;
use crate::thread::{Thread, observe};
use parking_lot::{Mutex, MutexGuard};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

pub(super) struct Shared {
    state: Mutex<State>,
    newcomers: Arc<Newcomers>,
    /// The generation of the recording process. A forked child has this in memory as well, and
    /// nothing that it describes.
    generation: u32,
    /// Threads are sampled by signals, and not by the kernel's rings.
    has_handler: bool,
}

/// The state, while its lock is held.
pub(super) struct Locked<'a>(MutexGuard<'a, State>);

impl Shared {
    pub(super) fn new(state: State, has_handler: bool) -> Shared {
        let newcomers = state.newcomers.clone();
        Shared { state: Mutex::new(state), newcomers, generation: fork::generation(), has_handler }
    }

    pub(super) fn lock(&self) -> Locked<'_> {
        Locked::new(self.state.lock())
    }

    /// The same, if no other thread has the lock.
    fn try_lock(&self) -> Option<Locked<'_>> {
        self.state.try_lock().map(Locked::new)
    }

    /// Returns `true` in a forked child, which has the recording in its memory only.
    pub(super) fn is_forked(&self) -> bool {
        fork::generation() != self.generation
    }

    /// Notes it if another handler of SIGPROF has replaced this engine's.
    pub(super) fn check_handler(&self) {
        if !self.has_handler {
            return;
        }
        let Ok(Some(other)) = handler::displaced() else { return };
        // Without the lock: the description may read debug information, which takes long.
        if self.lock().is_displaced_first() {
            let text = describe_handler(other);
            self.lock().note_displaced(text);
        }
    }

    /// What a forked child has of the recording.
    pub(super) fn nothing() -> RawProfile {
        RawProfile { trouble: Some("the recording is the parent process's".into()), ..RawProfile::default() }
    }
}

impl<'a> Locked<'a> {
    fn new(state: MutexGuard<'a, State>) -> Locked<'a> {
        let mut locked = Locked(state);
        locked.admit_newcomers();
        locked
    }

    /// Lets a thread that waits for the lock have it before this call returns.
    pub(super) fn give_way(&mut self) {
        MutexGuard::bump(&mut self.0);
        self.admit_newcomers();
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        // After a panic the state may be half changed.
        if !std::thread::panicking() {
            self.admit_newcomers();
        }
    }
}

impl Deref for Locked<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.0
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.0
    }
}

impl observe::Observer for Shared {
    fn started(&self, thread: &Thread) {
        if self.is_forked() {
            return;
        }
        if !thread.has_own_os_thread() {
            // Its clock and its waits may be under another name up to this line.
            return self.lock().attach(thread, false);
        }
        if self.has_handler {
            // It has its mask from the thread that spawned it, or from the program that started
            // this one. Its function has not begun, so it has blocked nothing itself.
            sigprof::unblock();
        }
        if let Some(mut state) = self.try_lock() {
            return state.attach(thread, true);
        }
        self.newcomers.add(thread);
        // The lock may have been given back meanwhile. If it is given back in the next moment, the
        // sampler's next round admits the thread.
        drop(self.try_lock());
    }

    fn ended(&self, thread: &Thread) {
        if !self.is_forked() {
            self.lock().detach(thread);
        }
    }
}

#[cfg(all(test, not(selvedge_model)))]
mod tests {
    use super::*;
    use crate::profile::engines::timer::accounting::Accounting;
    use crate::profile::engines::timer::triggers::{Rate, Source, Triggers};
    use crate::profile::raw::{Owner, Stack};
    use crate::{Signal, spawn};
    use std::time::{Duration, Instant};

    const DEADLINE: Duration = Duration::from_secs(60);

    /// The time that the newcomer with that place in the lifetimes was in its wait, and all other.
    fn in_wait_and_elsewhere(raw: &RawProfile, place: usize) -> (Duration, Duration) {
        let (mut in_wait, mut elsewhere) = (0, 0);
        for sample in raw.samples.iter().filter(|sample| matches!(sample.owner, Owner::Lifetime(of) if of == place)) {
            let waiting = match &sample.stack {
                Stack::Sampled { waiting, .. } | Stack::Others { waiting, .. } => waiting.clone(),
                Stack::Unsampled => None,
            };
            let is_in_wait = waiting.is_some_and(|label| label.contains("newcomer-go"));
            *if is_in_wait { &mut in_wait } else { &mut elsewhere } += sample.weight;
        }
        (Duration::from_nanos(in_wait), Duration::from_nanos(elsewhere))
    }

    /// What a recording has of a thread that started while the lock was held, and waited for 20 ms.
    /// The lock is given back when the thread waits, or, if `ends_before`, when it has ended and
    /// reports that. Returns the length of the account, the time in the wait, and all other time.
    fn newcomer(source: Source, ends_before: bool) -> (Duration, Duration, Duration) {
        handler::install().unwrap();
        let period = Duration::from_millis(10);
        let is_wall = source == Source::Wall;
        let accounting = Accounting::new(if is_wall { Duration::ZERO } else { period });
        let state = State::new(accounting, Triggers::new(period, source), Instant::now(), false, None);
        let shared = Arc::new(Shared::new(state, true));
        let locked = shared.lock();
        let observer = observe::add(Arc::downgrade(&shared) as _, &mut |_| ());
        let (go, until) = (Signal::new("newcomer-go"), Instant::now() + DEADLINE);
        let theirs = go.clone();
        // Tests run beside each other, and each recording of the process sees the threads of all.
        let newcomer = spawn(format!("newcomer-wall-{is_wall}-first-{ends_before}"), move |_| {
            let began = Instant::now();
            theirs.wait_for_go();
            began.elapsed()
        });
        let thread = newcomer.thread().clone();
        let reach = |is_reached: &dyn Fn() -> bool| {
            while !is_reached() {
                assert!(Instant::now() < until, "it waits for the lock");
                std::thread::sleep(Duration::from_millis(1));
            }
        };
        reach(&|| thread.waiting_for().is_some_and(|wait| wait.elapsed() >= Duration::from_millis(20)));
        let mut locked = Some(locked);
        if !ends_before {
            locked = None;
        }
        go.go();
        if ends_before {
            reach(&|| thread.ended_at().is_some());
        }
        drop(locked);
        let waited = newcomer.join().unwrap();
        let raw = shared.lock().closed_copy().into_raw_profile();
        observe::remove(observer);
        shared.lock().stop();
        let place = raw.lifetimes.iter().position(|lifetime| *lifetime.path == *thread.path()).expect("its account");
        let lifetime = &raw.lifetimes[place];
        assert!(waited >= Duration::from_millis(20));
        assert!(lifetime.cpu > Duration::ZERO);
        assert_eq!(Some(lifetime.cpu), thread.cpu_time());
        let length = lifetime.ended.expect("it has ended") - lifetime.started;
        let (in_wait, elsewhere) = in_wait_and_elsewhere(&raw, place);
        if is_wall {
            assert!(
                in_wait >= Duration::from_millis(20) && in_wait <= waited + Duration::from_millis(1),
                "{in_wait:?} of {waited:?}"
            );
        } else {
            assert_eq!(elsewhere, lifetime.cpu);
        }
        (Duration::from_nanos(length as u64), in_wait, elsewhere)
    }

    #[test]
    fn a_starting_thread_does_not_wait_for_the_lock() {
        for ends_before in [false, true] {
            let (length, in_wait, elsewhere) = newcomer(Source::Wall, ends_before);
            assert_eq!(in_wait + elsewhere, length, "ended before it was admitted: {ends_before}");
        }
    }

    #[test]
    fn a_newcomer_has_its_cpu_time() {
        let tick = Duration::from_millis(4);
        for ends_before in [false, true] {
            newcomer(Source::Cpu { rate: Rate::Below, tick }, ends_before);
        }
    }
}
